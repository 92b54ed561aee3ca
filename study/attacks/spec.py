"""What a table of attacks holds: the function and the settings that a result row states."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from study.attacks.ball import RADII
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
        norm: norm of the perturbation that epsilon bounds, a name in RADII: `linf` or `l2`.
        steps: number of gradient steps.
        step_size: epsilon -> length of one step, in the units of epsilon.
        random_start: whether it starts from a random point of the ball.
        settings: the further keywords that `run` takes, with their defaults; none for most.
    """

    run: Attack
    norm: str
    steps: int
    step_size: Callable[[float], float]
    random_start: bool
    settings: Mapping[str, float] = field(default_factory=dict)

    def radius(self, epsilon: float, n_pixels: int) -> float:
        """Radius of the ball in its norm, in pixel units: epsilon itself for `linf`, `l2_radius` for `l2`."""
        return RADII[self.norm](epsilon, n_pixels)

    def with_settings(self, settings: Mapping[str, float]) -> Attack:
        """`run` with some of its settings chosen and the others at their defaults.

        Raises:
            ValueError: a setting that this attack does not take.
        """
        unknown = [name for name in settings if name not in self.settings]
        if unknown:
            taken = f"only {', '.join(self.settings)}" if self.settings else "no settings"
            raise ValueError(f"this attack takes {taken}, not {', '.join(unknown)}: leave out what it does not take")
        chosen: dict[str, Any] = {**self.settings, **settings}
        return partial(self.run, **chosen)

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


def one_step(epsilon: float) -> float:
    """Step size of an attack that goes all the way in one step: epsilon."""
    return epsilon
