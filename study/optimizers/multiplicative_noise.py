"""Multiplicative SGD: minibatch gradients with Gaussian noise of Fisher covariance."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from study.optimizers.optimizer import Batches
from study.optimizers.torch_optimizers import SGD


class MultiplicativeNoise(SGD):
    """SGD on mean(w_i l_i), where w_i ~ N(1, sigma^2) is drawn for every image of every step.

    The gradient has the same expectation as SGD's, and additional noise of covariance sigma^2 / B^2 sum g_i g_i', which
    is sigma^2 / B times the minibatch's empirical Fisher matrix (without dropout; g_i is the gradient of image i).
    Momentum and weight decay are SGD's. With sigma 0 it equals SGD.

    Source: Wu et al. 2020 (arXiv:1906.07405), MSGD-Fisher; Choudhary (2020), Algorithm 2, which gives no sigma. 1 is
    our choice: the noise is then as large as that of resampling the minibatch.
    """

    _generator: torch.Generator

    def __init__(
        self,
        model: nn.Module,
        *,
        learning_rate: float,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        sigma: float = 1.0,
    ) -> None:
        if not sigma >= 0:
            raise ValueError(f"sigma is a standard deviation: it must be at least 0, not {sigma}")
        super().__init__(model, learning_rate=learning_rate, momentum=momentum, weight_decay=weight_decay)
        self._sigma = sigma

    def begin_epoch(self, batches: Batches, generator: torch.Generator) -> None:
        """Draw the epoch's noise from `generator`."""
        self._generator = generator

    def step(self, x: Tensor, y: Tensor) -> Tensor:
        """One update with the noisy gradient; returns the mean loss without the noise."""
        losses = F.cross_entropy(self.model(x), y, reduction="none")
        noise = torch.randn(len(y), generator=self._generator, device=self._generator.device)
        self._differentiate((losses * noise.to(losses).mul(self._sigma).add(1)).mean())
        self.apply_gradients()
        self.count(len(y))
        return losses.detach().mean()
