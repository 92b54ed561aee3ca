"""The interface of an optimizer: a new one must provide `step`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

Batches = Callable[[], Iterable[tuple[Tensor, Tensor]]]
"""Yields the epoch's minibatches: images (B, C, H, W) in [0, 1] and labels (B,), the same bits at every call."""


class Optimizer(ABC):
    """Trains `model`, one minibatch at a time.

    It counts its work, so that optimizers can be compared by work as well as by epochs: `updates` of the weights, and
    `gradient_equivalents`, the number of gradients of one training image, where a forward pass alone counts 1/3 (our
    choice: the backward pass has twice as much arithmetic).
    """

    def __init__(self, model: nn.Module, *, learning_rate: float) -> None:
        self.model = model
        self.learning_rate = learning_rate
        self.updates = 0
        self.gradient_equivalents = 0.0

    @abstractmethod
    def step(self, x: Tensor, y: Tensor) -> Tensor:
        """Train on a minibatch, x (B, C, H, W) in [0, 1] and y (B,), with the model in training mode.

        Returns its mean loss before the step, without a graph. The method does the forward and the backward pass, and
        counts them in `updates` and `gradient_equivalents`.
        """

    def begin_epoch(self, batches: Batches, generator: torch.Generator) -> None:  # noqa: B027
        """Called before an epoch's steps, with the model in training mode; does nothing unless overridden.

        `batches()` yields the minibatches of the coming steps, for an optimizer that needs a pass over them first;
        dropout then draws the same masks as in the steps. `generator`, on the data's device, is the source of random
        numbers for this epoch.
        """

    def end_epoch(self) -> None:  # noqa: B027
        """Called after an epoch's steps, for work that is left; does nothing unless overridden."""

    def state_dict(self) -> dict[str, Any]:
        """Everything except the weights that the next epoch depends on: tensors and plain values."""
        return {"updates": self.updates, "gradient_equivalents": self.gradient_equivalents}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the `state_dict` of an epoch's end; KeyError or ValueError if it belongs to another optimizer."""
        self.updates = int(state["updates"])
        self.gradient_equivalents = float(state["gradient_equivalents"])
