"""The optimizers of torch.optim behind the room's seam."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from study.optimizers.optimizer import Optimizer


class TorchOptimizer(Optimizer):
    """Mean cross-entropy of the minibatch, its gradient, and the update rule of a torch optimizer."""

    def __init__(self, model: nn.Module, rule: torch.optim.Optimizer, *, learning_rate: float) -> None:
        super().__init__(model, learning_rate=learning_rate)
        self._rule = rule

    def step(self, x: Tensor, y: Tensor) -> Tensor:
        """One update with the gradient of the minibatch's mean loss; returns that loss."""
        loss = self.descend(x, y)
        self.count(len(y))
        return loss

    def descend(self, x: Tensor, y: Tensor) -> Tensor:
        """A step's work on the device; returns the minibatch's mean loss before it, without a graph."""
        loss = F.cross_entropy(self.model(x), y)
        self._differentiate(loss)
        self.apply_gradients()
        return loss.detach()

    def apply_gradients(self) -> None:
        """Change the weights by the gradient that the parameters hold."""
        for group in self._rule.param_groups:
            group["lr"] = self.learning_rate
        self._rule.step()

    def count(self, images: int) -> None:
        """Count an update by the gradient of so many images."""
        self.updates += 1
        self.gradient_equivalents += images

    def moments(self) -> list[Tensor]:
        """The tensors that the rule keeps beside the weights: none before the first step."""
        kept = self._rule.state.values()
        return [value for state in kept for value in state.values() if isinstance(value, Tensor)]

    def _differentiate(self, loss: Tensor) -> None:
        """Leave the gradient of `loss` in the parameters."""
        self._rule.zero_grad()
        loss.backward()

    def _update(self) -> None:
        """Change the weights by the gradient that the parameters hold, and count the update alone."""
        self.apply_gradients()
        self.updates += 1

    def state_dict(self) -> dict[str, Any]:
        """The counters and the torch optimizer's moments."""
        return {**super().state_dict(), "rule": self._rule.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from stored counters and moments."""
        super().load_state_dict(state)
        self._rule.load_state_dict(state["rule"])
        for parameter, kept in self._rule.state.items():
            for name, moment in kept.items():
                if isinstance(moment, Tensor) and moment.shape == parameter.shape:
                    # In the parameter's memory order: torch's fused rules walk both along memory and check nothing.
                    kept[name] = torch.empty_like(parameter).copy_(moment)
