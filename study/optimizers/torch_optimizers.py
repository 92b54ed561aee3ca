"""SGD, Adam and AdamW: the update rules of torch.optim behind this package's `step(x, y) -> loss`."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from study.optimizers.optimizer import Optimizer


class TorchOptimizer(Optimizer):
    """Minimises the mean cross-entropy of the minibatch by the update rule of a torch optimizer."""

    def __init__(self, model: nn.Module, rule: torch.optim.Optimizer, *, learning_rate: float) -> None:
        super().__init__(model, learning_rate=learning_rate)
        self._rule = rule

    def step(self, x: Tensor, y: Tensor) -> Tensor:
        """One update with the gradient of the minibatch's mean loss; returns that loss."""
        loss = self.descend(x, y)
        self.count(len(y))
        return loss

    def descend(self, x: Tensor, y: Tensor) -> Tensor:
        """The part of a step that runs on the device; returns the minibatch's mean loss before it, without a graph."""
        loss = F.cross_entropy(self.model(x), y)
        self._differentiate(loss)
        self.apply_gradients()
        return loss.detach()

    def apply_gradients(self) -> None:
        """Update the weights with the gradient stored in the parameters."""
        for group in self._rule.param_groups:
            group["lr"] = self.learning_rate
        self._rule.step()

    def count(self, gradients: int) -> None:
        """Count one update, with the work of this many gradients of an image."""
        self.updates += 1
        self.gradient_equivalents += gradients

    def moments(self) -> list[Tensor]:
        """The tensors that the rule keeps for each parameter; none before the first step."""
        kept = self._rule.state.values()
        return [value for state in kept for value in state.values() if isinstance(value, Tensor)]

    def _differentiate(self, loss: Tensor) -> None:
        """Store the gradient of `loss` in the parameters."""
        self._rule.zero_grad()
        loss.backward()

    def state_dict(self) -> dict[str, Any]:
        """The counters and the torch optimizer's moments."""
        return {**super().state_dict(), "rule": self._rule.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore stored counters and moments."""
        super().load_state_dict(state)
        self._rule.load_state_dict(state["rule"])
        for parameter, kept in self._rule.state.items():
            for name, moment in kept.items():
                if isinstance(moment, Tensor) and moment.shape == parameter.shape:
                    # In the parameter's memory order: torch's fused rules pair elements by their place in memory.
                    kept[name] = torch.empty_like(parameter).copy_(moment)


class SGD(TorchOptimizer):
    """v <- momentum v + (gradient + weight_decay theta); theta <- theta - learning_rate v.

    These are torch's semantics. The papers print the update with errors: Algorithm 1 of the natural-training paper
    (2020) resets the velocity inside its loop, which would make momentum ineffective; eq. 2 of Choudhary (2020) lacks
    the momentum factor; and its penalty w ||theta||^2 (section 2.2.1) would give a decay of 2 w, while its eqs. 10 and
    11 decay by w.
    """

    def __init__(
        self, model: nn.Module, *, learning_rate: float, momentum: float = 0.0, weight_decay: float = 0.0
    ) -> None:
        rule = torch.optim.SGD(
            model.parameters(), lr=learning_rate, momentum=momentum, weight_decay=weight_decay, fused=True
        )
        super().__init__(model, rule, learning_rate=learning_rate)
        self.momentum, self.weight_decay = momentum, weight_decay

    def keep_velocity_in(self, place: Tensor, parameter: nn.Parameter) -> None:
        """Keep a parameter's velocity in this tensor of its shape from now on; it is 0 before the first step."""
        velocity = self._rule.state[parameter].get("momentum_buffer")
        place.zero_() if velocity is None else place.copy_(velocity)
        self._rule.state[parameter]["momentum_buffer"] = place


class Adam(TorchOptimizer):
    """Adam (Kingma and Ba 2015, arXiv:1412.6980) with torch's defaults; weight decay is added to the gradient.

    beta1 is .9, beta2 .999 and epsilon 1e-8. Choudhary (2020), eqs. 9 and 10, puts epsilon under the root and beta1 in
    the second moment; torch, followed here, has sqrt(v) + epsilon and beta2 as in the original.

    Raises:
        ValueError: a momentum other than 0.
    """

    _rule_class: type[torch.optim.Adam] = torch.optim.Adam

    def __init__(
        self, model: nn.Module, *, learning_rate: float, momentum: float = 0.0, weight_decay: float = 0.0
    ) -> None:
        if momentum != 0:
            raise ValueError(f"Adam and AdamW have moments of their own (beta1 .9): set momentum to 0, not {momentum}")
        rule = self._rule_class(model.parameters(), lr=learning_rate, weight_decay=weight_decay, fused=True)
        super().__init__(model, rule, learning_rate=learning_rate)


class AdamW(Adam):
    """AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101): theta also shrinks by learning_rate weight_decay theta.

    Without weight decay it equals Adam; torch's default decay of .01 is not set here. Source: Choudhary (2020), eq. 11.
    """

    _rule_class = torch.optim.AdamW
