"""The optimizers room: SGD, its variants, and Adam, behind one seam, `step(x, y) -> loss`.

A newcomer adds an optimizer with a subclass of `Optimizer` in a file of its own and one line in OPTIMIZERS. Other
settings of the same optimizer are another line, e.g. `"msgd_half": partial(MultiplicativeNoise, sigma=0.5)`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Protocol

from torch import nn

from study.optimizers.adam import Adam, AdamW
from study.optimizers.multiplicative_noise import MultiplicativeNoise
from study.optimizers.optimizer import Batches, Optimizer
from study.optimizers.selective_backprop import SelectiveBackprop
from study.optimizers.sgd import SGD
from study.optimizers.svrg import SVRG

__all__ = ["OPTIMIZERS", "SGD", "Batches", "Builder", "Optimizer"]


class Builder(Protocol):
    """Makes an optimizer of a model's parameters; ValueError if it cannot have these settings."""

    def __call__(self, model: nn.Module, *, learning_rate: float, momentum: float, weight_decay: float) -> Optimizer:
        """The optimizer, at its beginning."""
        ...


OPTIMIZERS: Mapping[str, Builder] = {
    "sgd": SGD,
    "svrg": SVRG,
    "msgd": partial(MultiplicativeNoise, sigma=1.0),
    "selective_backprop": partial(SelectiveBackprop, beta=3.0),
    "adam": Adam,
    "adamw": AdamW,
}
