"""Dropout with masks from an explicit generator, which torch's own dropout does not support."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


class Dropout(nn.Module):
    """`torch.nn.Dropout` (same distribution, same scale 1 / (1 - p)) with masks drawn from `generator`.

    It is the identity in eval mode. The generator is not part of the state dict; its owner must save its state. Under
    `torch.vmap` over several networks, `generator` is a sequence with one for each network, and each network gets the
    same masks as when it is trained alone.

    Raises:
        ValueError: p outside [0, 1).
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"dropout probability must be in [0, 1), not {p}")
        self.p = p
        self.generator: torch.Generator | Sequence[torch.Generator] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """`x` of any shape; RuntimeError in training mode without a generator."""
        if not self.training:
            return x
        if self.generator is None:
            raise RuntimeError(
                "dropout in training mode has no generator: call set_dropout_generator(model, generator)"
            )
        if isinstance(self.generator, torch.Generator):
            return x * _mask(x, 1 - self.p, self.generator)
        masks: Tensor = _Masks.apply(x, 1 - self.p, self.generator)
        return x * masks

    def extra_repr(self) -> str:
        """What print(model) shows."""
        return f"p={self.p}"


def _mask(x: Tensor, keep: float, generator: torch.Generator) -> Tensor:
    """1 / keep with probability `keep`, else 0; shape, type and device of x."""
    mask = torch.empty(x.shape, dtype=x.dtype, device=generator.device)
    return mask.bernoulli_(keep, generator=generator).div_(keep).to(x.device)


class _Masks(torch.autograd.Function):
    """The masks of several networks under vmap, each from its own generator; vmap itself has one for all."""

    @staticmethod
    def forward(x: Tensor, keep: float, generators: Sequence[torch.Generator]) -> Tensor:
        raise RuntimeError("dropout has a generator for each of several networks, but was called for one")

    @staticmethod
    def setup_context(context: Any, inputs: Any, output: Tensor) -> None:
        context.mark_non_differentiable(output)

    @staticmethod
    def vmap(
        info: Any, dimensions: tuple[int, ...], x: Tensor, keep: float, generators: Sequence[torch.Generator]
    ) -> tuple[Tensor, int]:
        of_each = x.detach().unbind(dimensions[0])
        return torch.stack([_mask(one, keep, g) for one, g in zip(of_each, generators, strict=True)]), 0


def set_dropout_generator(model: nn.Module, generator: torch.Generator | Sequence[torch.Generator]) -> None:
    """Let every Dropout of the model draw its masks from `generator`. A model without dropout is not changed."""
    for module in model.modules():
        if isinstance(module, Dropout):
            module.generator = generator
