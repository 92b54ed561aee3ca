"""The models and data that a curvature measurement accepts."""

import torch
from torch import Tensor, nn


def refuse_training_mode(model: nn.Module) -> None:
    """Raise `ValueError` if any module is in training mode."""
    training = [name or type(model).__name__ for name, module in model.named_modules() if module.training]
    if training:
        raise ValueError(f"the model is in training mode ({training[0]}): call model.eval() before measuring curvature")


def check_data(x: Tensor, y: Tensor) -> None:
    """Raise `ValueError` unless x (N, ...) contains inputs and y (N,) their integer labels, N at least 1."""
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
