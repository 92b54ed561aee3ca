"""SGD, its variants, and Adam, with one interface: `step(x, y) -> loss`.

To add an optimizer, write a subclass of `Optimizer` in a file of its own and add one line to OPTIMIZERS. The same
optimizer with other settings is another line, e.g. `"msgd_half": partial(MultiplicativeNoise, sigma=0.5)`.
"""

from __future__ import annotations

from typing import Protocol

from torch import nn

from study.optimizers.multiplicative_noise import MultiplicativeNoise
from study.optimizers.optimizer import Batches, Optimizer
from study.optimizers.selective_backprop import SelectiveBackprop
from study.optimizers.svrg import SVRG
from study.optimizers.torch_optimizers import SGD, Adam, AdamW

__all__ = ["OPTIMIZERS", "SGD", "Batches", "Builder", "Optimizer"]


class Builder(Protocol):
    """Builds an optimizer for a model's parameters; ValueError for settings that it does not support."""

    def __call__(self, model: nn.Module, *, learning_rate: float, momentum: float, weight_decay: float) -> Optimizer:
        """The optimizer before its first step."""
        ...


OPTIMIZERS: dict[str, Builder] = {
    "sgd": SGD,
    "svrg": SVRG,
    "msgd": MultiplicativeNoise,
    "selective_backprop": SelectiveBackprop,
    "adam": Adam,
    "adamw": AdamW,
}
