"""Networks from pixels in [0, 1] to logits, initialized from an explicit generator.

To add a model, write a builder in a file of its own and add one line to MODELS.
"""

from __future__ import annotations

from functools import cache, partial
from typing import Protocol

import torch
from torch import nn

from study.models.c1 import c1
from study.models.c2 import c2, c3
from study.models.dropout import Dropout, set_dropout_generator, use_masks
from study.models.fingerprint import of_network, same_function
from study.models.initialization import drawing_from
from study.models.m1 import m1, m1_8, m1_20, m1_lenet
from study.models.mlp import mlp_256
from study.models.randomness import check_network
from study.models.resnet import resnet18, resnet20
from study.models.stdcnn import stdcnn
from study.models.vgg11 import vgg11

__all__ = [
    "MODELS",
    "Builder",
    "Dropout",
    "build",
    "check_network",
    "fingerprint",
    "same_function",
    "set_dropout_generator",
    "use_masks",
]


class Builder(Protocol):
    """Builds a network for images of shape (C, H, W); ValueError if they are too small for it."""

    def __call__(self, *, image_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
        """The network, initialized from torch's global generator, to which `build` gives the state of its own."""
        ...


MODELS: dict[str, Builder] = {
    "m1": m1,
    "m1_20": m1_20,
    "m1_8": m1_8,
    "stdcnn": stdcnn,
    "m1_lenet": m1_lenet,
    "mlp_256": mlp_256,
    "c1": c1,
    "c2": c2,
    "c3": c3,
    "resnet18": resnet18,
    "vgg11": vgg11,
    "resnet20": resnet20,
    "resnet20_x4": partial(resnet20, width=4),
}


def build(name: str, *, image_shape: tuple[int, int, int], num_classes: int, generator: torch.Generator) -> nn.Module:
    """One of MODELS, on the CPU and in training mode, with weights drawn from `generator`.

    The same generator state gives the same bits; torch's global generator is neither used nor changed.

    Args:
        name: a key of MODELS.
        image_shape: (channels, height, width).
        num_classes: number of logits.
        generator: a generator on the CPU; it advances.

    Raises:
        ValueError: an unknown name, or images that are too small for the model.
    """
    if name not in MODELS:
        raise ValueError(f"unknown model {name!r}; choose one of {', '.join(MODELS)}")
    with drawing_from(generator):
        try:
            model = MODELS[name](image_shape=image_shape, num_classes=num_classes)
        except ValueError as error:
            raise ValueError(f"model {name}: {error}") from error
    return model


def fingerprint(name: str, *, image_shape: tuple[int, int, int], num_classes: int) -> str:
    """What a model's function computes, in a line (`study.models.fingerprint`); computed once in a process."""
    return _fingerprint(MODELS[name], name, image_shape, num_classes)  # type: ignore[arg-type]  # a function is hashable


@cache
def _fingerprint(builder: Builder, name: str, image_shape: tuple[int, int, int], num_classes: int) -> str:
    generator = torch.Generator().manual_seed(0)
    model = build(name, image_shape=image_shape, num_classes=num_classes, generator=generator)
    set_dropout_generator(model, generator)
    return of_network(model, image_shape)
