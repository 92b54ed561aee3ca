"""Adam and AdamW with torch's defaults: beta1 .9, beta2 .999, epsilon 1e-8."""

from __future__ import annotations

import torch
from torch import nn

from study.optimizers.torch_optimizer import TorchOptimizer


class Adam(TorchOptimizer):
    """Adam (Kingma and Ba 2015, arXiv:1412.6980); weight decay is added to the gradient.

    Choudhary (2020), eqs. 9 and 10, puts epsilon under the root and beta1 in the second moment; torch, followed here,
    has the original's sqrt(v) + epsilon and beta2.

    Raises ValueError for a momentum other than 0.
    """

    def __init__(
        self, model: nn.Module, *, learning_rate: float, momentum: float = 0.0, weight_decay: float = 0.0
    ) -> None:
        _refuse(momentum)
        rule = torch.optim.Adam(model.parameters(), lr=learning_rate, weight_decay=weight_decay, fused=True)
        super().__init__(model, rule, learning_rate=learning_rate)


class AdamW(TorchOptimizer):
    """AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101): theta also shrinks by learning_rate weight_decay theta.

    Without weight decay it is Adam; torch's default of .01 is the caller's to pass. Source: Choudhary (2020), eq. 11.

    Raises ValueError for a momentum other than 0.
    """

    def __init__(
        self, model: nn.Module, *, learning_rate: float, momentum: float = 0.0, weight_decay: float = 0.0
    ) -> None:
        _refuse(momentum)
        rule = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=weight_decay, fused=True)
        super().__init__(model, rule, learning_rate=learning_rate)


def _refuse(momentum: float) -> None:
    if momentum != 0:
        raise ValueError(f"Adam and AdamW have moments of their own (beta1 .9): set momentum to 0, not {momentum}")
