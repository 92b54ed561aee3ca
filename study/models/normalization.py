"""Normalisation as a model's first layer, so that every epsilon stays in units of pixels in [0, 1]."""

from __future__ import annotations

from torch import Tensor, nn


class Normalize(nn.Module):
    """(x - mean) / std, the same for every pixel; fixed, without parameters."""

    def __init__(self, mean: float, std: float) -> None:
        super().__init__()
        self.mean, self.std = mean, std

    def forward(self, x: Tensor) -> Tensor:
        """Pixels in [0, 1] of any shape to the same shape."""
        return (x - self.mean) / self.std
