"""The models and data that a curvature measurement accepts, and the parameters that it differentiates."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from study.pixels import check_eval_mode


def check(model: nn.Module, x: Tensor, y: Tensor) -> None:
    """Raise `ValueError` for a model in training mode, and unless x (N, ...) has inputs and y (N,) their labels."""
    check_eval_mode(model)
    if len(x) == 0 or y.shape != (len(x),):
        raise ValueError(f"need at least one input and one label for each, got {tuple(x.shape)} and {tuple(y.shape)}")
    if x.dtype != torch.uint8 and not x.is_floating_point():
        raise ValueError(f"x must be uint8 or floating point, got {x.dtype}")
    if y.is_floating_point() or y.is_complex():
        raise ValueError(f"y must hold integer class labels, got {y.dtype}")


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """The trainable parameters by name, in the order of `model.parameters()`."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def pieces(vector: Tensor, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Views of a vector (dim,) in the shapes of the parameters, by name."""
    parts = vector.split([p.numel() for p in parameters.values()])
    return {name: part.view_as(p) for (name, p), part in zip(parameters.items(), parts, strict=True)}
