"""The models and data that a curvature measurement accepts, and the forms in which it reads them."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

CHUNK = 1000
"""Inputs in a forward pass, as many as in the evaluation."""


def check(model: nn.Module, x: Tensor, y: Tensor) -> None:
    """Raise `ValueError` for a model in training mode, and unless x (N, ...) has inputs and y (N,) their labels."""
    training = [name or type(model).__name__ for name, module in model.named_modules() if module.training]
    if training:
        raise ValueError(f"the model is in training mode ({training[0]}): call model.eval() before measuring curvature")
    if len(x) == 0 or y.shape != (len(x),):
        raise ValueError(f"need at least one input and one label for each, got {tuple(x.shape)} and {tuple(y.shape)}")
    if x.dtype != torch.uint8 and not x.is_floating_point():
        raise ValueError(f"x must be uint8 or floating point, got {x.dtype}")
    if y.is_floating_point() or y.is_complex():
        raise ValueError(f"y must hold integer class labels, got {y.dtype}")


def as_pixels(x: Tensor, like: Tensor) -> Tensor:
    """Inputs on the device and in the dtype of `like`; bytes are scaled to [0, 1]."""
    moved = x.detach().to(like.device)
    return moved.to(like.dtype).div_(255) if x.dtype == torch.uint8 else moved.to(like.dtype)


def batches(x: Tensor, y: Tensor, size: int, like: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """`size` inputs at a time as `as_pixels`, with their labels."""
    for start in range(0, len(x), size):
        yield as_pixels(x[start : start + size], like), y[start : start + size].to(like.device, torch.long)


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """The trainable parameters by name, in the order of `model.parameters()`."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def pieces(vector: Tensor, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Views of a vector (dim,) in the shapes of the parameters, by name."""
    parts = vector.split([p.numel() for p in parameters.values()])
    return {name: part.view_as(p) for (name, p), part in zip(parameters.items(), parts, strict=True)}
