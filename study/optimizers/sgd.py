"""Minibatch SGD with momentum."""

from __future__ import annotations

import torch
from torch import nn

from study.optimizers.torch_optimizer import TorchOptimizer


class SGD(TorchOptimizer):
    """v <- momentum v + (gradient + weight_decay theta); theta <- theta - learning_rate v.

    These are torch's semantics. In print the update is garbled: Algorithm 1 of the natural-training paper (2020)
    resets the velocity inside its loop, which would make momentum a no-op; eq. 2 of Choudhary (2020) has no momentum
    factor; and its penalty w ||theta||^2 (section 2.2.1) would decay by 2 w, while its eqs. 10 and 11 decay by w.
    """

    def __init__(
        self, model: nn.Module, *, learning_rate: float, momentum: float = 0.0, weight_decay: float = 0.0
    ) -> None:
        rule = torch.optim.SGD(
            model.parameters(), lr=learning_rate, momentum=momentum, weight_decay=weight_decay, fused=True
        )
        super().__init__(model, rule, learning_rate=learning_rate)
