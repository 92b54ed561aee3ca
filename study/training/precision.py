"""The arithmetic of training steps: float32, or by option TF32 or bfloat16 on tensor cores."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def check(precision: str, device: torch.device) -> None:
    """Refuse a precision that the device lacks, so that no row names one that was not used.

    Raises:
        ValueError: TF32 without an NVIDIA GPU of compute capability 8.0 or more.
    """
    if precision == "tf32" and (device.type != "cuda" or torch.cuda.get_device_capability(device) < (8, 0)):
        raise ValueError("precision tf32 needs an NVIDIA GPU of 2020 (Ampere) or later; leave --precision out")


def prepare(model: nn.Module, precision: str) -> nn.Module:
    """The same model, for lower precision on a GPU in the memory order that tensor cores read (channels last)."""
    cuda = next(model.parameters()).device.type == "cuda"
    return model.to(memory_format=torch.channels_last) if cuda and precision != "float32" else model


@contextmanager
def training_in(precision: str, model: nn.Module) -> Iterator[None]:
    """A context in which the model in training mode computes convolutions and matrix products in `precision`.

    Weights, their gradients and updates and the returned logits stay float32. "bf16" does not affect eval mode. "tf32"
    is a switch of the whole process, eval mode included, which is restored at the end.
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
        float32_forward: Callable[[Tensor], Tensor] = model.forward
        device = next(model.parameters()).device.type

        def bf16_forward(x: Tensor) -> Tensor:
            if not model.training:
                return float32_forward(x)
            with torch.autocast(device, torch.bfloat16):  # left after each pass: it keeps the cast weights until then
                return float32_forward(x).float()

        model.forward = bf16_forward
        try:
            yield
        finally:
            del model.forward
