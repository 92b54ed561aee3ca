"""Dropout with masks from an explicit generator, which torch's own dropout does not support."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Dropout(nn.Module):
    """`torch.nn.Dropout` (same distribution, same scale 1 / (1 - p)) with masks drawn from `generator`.

    It is the identity in eval mode. The generator is not part of the state dict; its owner must save its state. Masks
    that were drawn in advance (`use_masks`) come first.

    Raises:
        ValueError: p outside [0, 1).
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"dropout probability must be in [0, 1), not {p}")
        self.p = p
        self.generator: torch.Generator | None = None
        self.masks: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        """`x` of any shape; RuntimeError in training mode without a generator."""
        if not self.training:
            return x
        if self.masks:
            return x * self.masks.pop(0).to(x.dtype)
        if self.generator is None:
            raise RuntimeError(
                "dropout in training mode has no generator: call set_dropout_generator(model, generator)"
            )
        mask = torch.empty(x.shape, dtype=x.dtype, device=self.generator.device)
        keep = 1 - self.p
        return x * mask.bernoulli_(keep, generator=self.generator).div_(keep).to(x.device)

    def extra_repr(self) -> str:
        """What print(model) shows."""
        return f"p={self.p}"


def set_dropout_generator(model: nn.Module, generator: torch.Generator) -> None:
    """Let every Dropout of the model draw its masks from `generator`. A model without dropout is not changed."""
    for module in model.modules():
        if isinstance(module, Dropout):
            module.generator = generator


def use_masks(calls: Sequence[Dropout], masks: Sequence[Tensor]) -> None:
    """Give the next forward pass in training mode its masks, in the order in which the layers are called."""
    for layer in calls:
        layer.masks = []
    for layer, mask in zip(calls, masks, strict=True):
        layer.masks.append(mask)
