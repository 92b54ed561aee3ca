"""The arithmetic of training: float32, or by option TF32 or bfloat16 on tensor cores."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from study.arithmetic import full_precision, tf32


def check(precision: str, device: torch.device) -> None:
    """Refuse a precision that the device lacks, so that no row names one that was not used.

    Raises:
        ValueError: TF32 without an NVIDIA GPU of compute capability 8.0 or more.
    """
    if precision == "tf32" and (device.type != "cuda" or torch.cuda.get_device_capability(device) < (8, 0)):
        raise ValueError("precision tf32 needs an NVIDIA GPU of 2020 (Ampere) or later; leave --precision out")


def prepare(model: nn.Module, precision: str) -> nn.Module:
    """The same model, on a GPU in the memory order that its arithmetic reads: channels last for lower precision only.

    A CPU keeps the order that the model was built in.
    """
    if next(model.parameters()).device.type != "cuda":
        return model
    return model.to(memory_format=torch.contiguous_format if precision == "float32" else torch.channels_last)


@contextmanager
def computing_in(precision: str, model: nn.Module) -> Iterator[None]:
    """A context in which the model computes convolutions and matrix products in `precision`, whatever mode it is in.

    Weights, their gradients and updates and the returned logits stay float32. "float32" and "tf32" set all of torch's
    arithmetic, not only the model's.
    """
    with tf32() if precision == "tf32" else full_precision():
        if precision != "bf16":
            yield
            return
        float32_forward: Callable[[Tensor], Tensor] = model.forward
        device = next(model.parameters()).device.type

        def bf16_forward(x: Tensor) -> Tensor:
            with torch.autocast(device, torch.bfloat16):  # left after each pass: it keeps the cast weights until then
                return float32_forward(x).float()

        model.forward = bf16_forward
        try:
            yield
        finally:
            del model.forward
