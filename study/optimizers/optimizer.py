"""What training needs of an optimizer, and all that a new one must provide: `step`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

Batches = Callable[[], Iterable[tuple[Tensor, Tensor]]]
"""Makes the epoch's minibatches: images (B, C, H, W) in [0, 1] and labels (B,), the same bits at every call."""


class Optimizer(ABC):
    """Trains `model`, one minibatch at a time.

    It counts what it does, so that optimizers can be compared by work as well as by epochs: `updates` are changes of
    the weights; `gradient_equivalents` are gradients of one training image, of which a forward pass alone is 1/3 (our
    choice: the backward pass has twice its arithmetic).
    """

    def __init__(self, model: nn.Module, *, learning_rate: float) -> None:
        self.model = model
        self.learning_rate = learning_rate
        self.updates = 0
        self.gradient_equivalents = 0.0

    @abstractmethod
    def step(self, x: Tensor, y: Tensor) -> Tensor:
        """Train on a minibatch, x (B, C, H, W) in [0, 1] and y (B,), the model being in training mode.

        Returns its mean loss before the step, without a graph. Forward and backward pass are the optimizer's own, and
        so is the count in `updates` and `gradient_equivalents`.
        """

    def begin_epoch(self, batches: Batches, generator: torch.Generator) -> None:  # noqa: B027
        """Called before an epoch's steps, the model being in training mode; does nothing unless overridden.

        `batches()` makes the minibatches that the steps will get, to pass over them before; dropout then draws the
        masks that the steps will draw. `generator`, on the data's device, is the epoch's own source of random numbers.
        """

    def end_epoch(self) -> None:  # noqa: B027
        """Called after an epoch's steps, for what is left to do; does nothing unless overridden."""

    def state_dict(self) -> dict[str, Any]:
        """Everything beside the weights that the next epoch depends on: tensors and plain values."""
        return {"updates": self.updates, "gradient_equivalents": self.gradient_equivalents}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave at an epoch's end; KeyError or ValueError if it is another's."""
        self.updates = int(state["updates"])
        self.gradient_equivalents = float(state["gradient_equivalents"])
