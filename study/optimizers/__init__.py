"""Optimizers behind one seam, `step(x, y) -> loss`: each owns its forward and backward pass.

A new one is one file and one line in OPTIMIZERS; it is built as `build(model, learning_rate=..., momentum=...,
weight_decay=...)` and must offer `step`, a settable `learning_rate`, `state_dict` and `load_state_dict`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from torch import Tensor

from study.optimizers.sgd import SGD


class Optimizer(Protocol):
    """What training needs of an optimizer."""

    learning_rate: float

    def step(self, x: Tensor, y: Tensor) -> Tensor:
        """Take one step on a minibatch; returns its mean loss before the step, detached."""

    def state_dict(self) -> dict[str, Any]:
        """Everything beside the weights that the next step depends on."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a stored state."""


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {"sgd": SGD}
