"""Dropout whose mask comes from an explicit generator: torch's own takes none."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Dropout(nn.Module):
    """torch.nn.Dropout (same distribution, same scale 1 / (1 - p)), with masks drawn from `generator`.

    In eval mode the identity. The generator is not part of the state dict: who owns it saves its state.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"dropout probability must be in [0, 1), not {p}")
        self.p = p
        self.generator: torch.Generator | None = None

    def forward(self, x: Tensor) -> Tensor:
        """`x` of any shape; RuntimeError in training mode without a generator."""
        if not self.training:
            return x
        if self.generator is None:
            raise RuntimeError(
                "dropout in training mode has no generator: call set_dropout_generator(model, generator)"
            )
        keep = 1 - self.p
        mask = torch.empty(x.shape, dtype=x.dtype, device=self.generator.device)
        mask.bernoulli_(keep, generator=self.generator).div_(keep)
        return x * mask.to(x.device)

    def extra_repr(self) -> str:
        """What print(model) shows."""
        return f"p={self.p}"


def set_dropout_generator(model: nn.Module, generator: torch.Generator) -> None:
    """Has every Dropout of the model draw its masks from `generator`; a model may have none."""
    for module in model.modules():
        if isinstance(module, Dropout):
            module.generator = generator
