"""The arithmetic of training: float32, or by option TF32 or bfloat16 on tensor cores."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def check(precision: str, device: torch.device) -> None:
    """Raises ValueError where a device has no such arithmetic, so that no row claims one that was not used."""
    if precision == "tf32" and (device.type != "cuda" or torch.cuda.get_device_capability(device) < (8, 0)):
        raise ValueError("precision tf32 needs an NVIDIA GPU of 2020 (Ampere) or later; leave --precision out")


def prepare(model: nn.Module, precision: str) -> nn.Module:
    """The model with the memory order that tensor cores read: channels last. Its values are the same."""
    cuda = next(model.parameters()).device.type == "cuda"
    return model.to(memory_format=torch.channels_last) if cuda and precision != "float32" else model


@contextmanager
def training_in(precision: str, model: nn.Module) -> Iterator[None]:
    """Inside, the model in training mode computes convolutions and matrix products in `precision`.

    Weights, their gradients and updates, and the logits it returns stay float32; "bf16" leaves eval mode alone as well.
    "tf32" is a switch of the whole process, eval mode included; it is put back as it was.
    """
    if precision == "float32":
        yield
    elif precision == "tf32":
        matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
        before = matmul.allow_tf32, cudnn.allow_tf32
        try:
            matmul.allow_tf32 = cudnn.allow_tf32 = True
            yield
        finally:
            matmul.allow_tf32, cudnn.allow_tf32 = before
    else:
        whole: Callable[[Tensor], Tensor] = model.forward
        device = next(model.parameters()).device.type

        def half(x: Tensor) -> Tensor:
            if not model.training:
                return whole(x)
            with torch.autocast(device, torch.bfloat16):  # left after each pass: it keeps casted weights until then
                return whole(x).float()

        model.forward = half
        try:
            yield
        finally:
            del model.forward
