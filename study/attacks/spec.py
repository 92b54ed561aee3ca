"""What the table of attacks holds: the function of each attack, and its settings as a result row states them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from study.attacks.l2 import l2_radius
from study.attacks.losses import Loss


class Attack(Protocol):
    """An attack: images x (n, ...) in [0, 1] and classes y (n,) -> adversarial images of x's shape in [0, 1]."""

    def __call__(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        /,
        *,
        epsilon: float,
        loss: Loss,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Perturb x within `epsilon` so as to increase the summed `loss`; random draws come from `generator`."""
        ...


@dataclass(frozen=True)
class AttackSpec:
    """An attack with its settings.

    Attributes:
        run: the attack. It checks nothing of its input: `study.attacks.inputs.check_split` does.
        norm: norm of the perturbation that epsilon bounds.
        steps: number of gradient steps, where the setting `steps` does not change it.
        step_size: (epsilon, steps) -> length of one step, in the units of epsilon.
        random_start: whether it starts from a random point of the ball.
        settings: the further keywords that `run` takes, with their defaults; most attacks have none.
        loss: the only loss that it follows, where it has one of its own.
    """

    run: Attack
    norm: Literal["linf", "l2"]
    steps: int
    step_size: Callable[[float, int], float]
    random_start: bool
    settings: Mapping[str, float] = field(default_factory=dict)
    loss: str = ""

    def radius(self, epsilon: float, n_pixels: int) -> float:
        """Radius of the ball in its norm, in pixel units: epsilon itself for `linf`, `l2_radius` for `l2`."""
        return l2_radius(epsilon, n_pixels) if self.norm == "l2" else epsilon


def straight(epsilon: float, steps: int) -> float:
    """Step size of an attack whose steps add up to the radius: epsilon / steps."""
    return epsilon / steps
