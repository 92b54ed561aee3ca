"""Minibatch SGD with momentum."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SGD:
    """v <- momentum v + (gradient + weight_decay theta); theta <- theta - learning_rate v.

    These are torch's semantics. Algorithm 1 of the natural-training paper (2020) resets the velocity inside its
    loop, which would make momentum a no-op: a misprint.
    """

    def __init__(
        self, model: nn.Module, *, learning_rate: float, momentum: float = 0.0, weight_decay: float = 0.0
    ) -> None:
        self._model = model
        self._sgd = torch.optim.SGD(
            model.parameters(), lr=learning_rate, momentum=momentum, weight_decay=weight_decay, fused=True
        )

    @property
    def learning_rate(self) -> float:
        """The rate of the next step."""
        return float(self._sgd.param_groups[0]["lr"])

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        self._sgd.param_groups[0]["lr"] = value

    def step(self, x: Tensor, y: Tensor) -> Tensor:
        """One step on the mean cross-entropy of a minibatch: x (B, C, H, W) in [0, 1], y (B,); returns the loss."""
        self._sgd.zero_grad()
        loss = F.cross_entropy(self._model(x), y)
        loss.backward()
        self._sgd.step()
        return loss.detach()

    def state_dict(self) -> dict[str, Any]:
        """The velocities."""
        return self._sgd.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from stored velocities."""
        self._sgd.load_state_dict(state)
