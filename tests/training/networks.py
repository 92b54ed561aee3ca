"""Networks to be trained as one program, and alone."""

from __future__ import annotations

import torch
from torch import nn

from study.models import build
from study.training import streams


def image_shape(model: str) -> tuple[int, int, int]:
    return (3, 32, 32) if model.startswith(("c", "res", "vgg")) else (1, 28, 28)


def model_of(name: str, seed: int, dtype: torch.dtype = torch.float32) -> nn.Module:
    stream = streams.generator(seed, "initialization")
    return build(name, image_shape=image_shape(name), num_classes=10, generator=stream).to(dtype)


def same_bits(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)
