"""What a table of attacks holds: the function and the settings that a result row states."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from study.attacks.guards import check_attackable, check_epsilon
from study.attacks.losses import Loss


class Attack(Protocol):
    """The seam: images x (n, ...) in [0, 1], classes y (n,) -> adversarial images of x's shape in [0, 1]."""

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
        """Perturb x within `epsilon` so as to raise the summed `loss`; random draws come from `generator`."""
        ...


@dataclass(frozen=True)
class AttackSpec:
    """An attack with the settings it runs with. Calling it checks its input first; `run` is the bare attack.

    Attributes:
        run: the attack.
        norm: norm of the perturbation that epsilon bounds, `linf` or `l2`.
        steps: number of gradient steps.
        step_size: epsilon -> length of one step, in the units of epsilon.
        random_start: whether it starts from a random point of the ball.
    """

    run: Attack
    norm: str
    steps: int
    step_size: Callable[[float], float]
    random_start: bool

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
        """Adversarial images for x, after the ValueErrors of `check_epsilon` and `check_attackable`."""
        check_epsilon(epsilon)
        check_attackable(model, x, y)
        return self.run(model, x, y, epsilon=epsilon, loss=loss, generator=generator)
