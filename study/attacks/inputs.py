"""The images, labels and models that an attack accepts.

Everything else is refused with a ValueError, because its result would look valid and mean something else.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from study.pixels import as_pixels, check_eval_mode

PROBE_SIZE = 32
"""Images in the two forward passes that detect randomness: enough to see dropout, few enough for any model."""


ROUNDING_ON_GPU = 1e-4, 1e-5
"""Relative and absolute difference of two passes on a GPU that counts as none."""


def check_split(model: nn.Module, x: Tensor, y: Tensor) -> None:
    """Refuse images, labels or a model for which an adversarial accuracy would be meaningless.

    Args:
        model: in eval mode, maps pixels in [0, 1] to logits (n, classes) and gives the same logits for the same input.
        x: images (n, ...), uint8, or floating point, finite and within [0, 1].
        y: true classes (n,), int64, in 0..classes-1.

    Raises:
        ValueError: one line that says which of these fails and what to do.
    """
    if x.dtype != torch.uint8 or x.numel() == 0:  # bytes divided by 255 are always in [0, 1]
        _check_pixels(x)
    n_classes = _check_model(model, as_pixels(model, x[:PROBE_SIZE]))
    _check_labels(y, n=len(x), n_classes=n_classes)


def check_epsilon(epsilon: float) -> None:
    """Refuse, with ValueError, an epsilon outside (0, 1] or not finite: it is a radius in pixel units."""
    if not (math.isfinite(epsilon) and 0 < epsilon <= 1):
        raise ValueError(f"epsilon must be in (0, 1], in units of a pixel's full range, not {epsilon!r} (8/255, not 8)")


def _check_pixels(x: Tensor) -> None:
    if x.numel() == 0:
        raise ValueError("there are no images to attack: x is empty")
    if not x.is_floating_point():
        raise ValueError(f"pixels must be floating point in [0, 1], not {x.dtype}: divide 8-bit pixels by 255")
    low, high = (float(bound) for bound in x.detach().aminmax())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError("pixels must be finite: x holds NaN or infinity")
    if low < 0 or high > 1:
        raise ValueError(
            f"pixels must be in [0, 1]; put normalisation inside the model (x spans {low:.4g} to {high:.4g})"
        )


def _check_model(model: nn.Module, x: Tensor) -> int:
    """The model's number of classes, from two forward passes on the few images x."""
    check_eval_mode(model)
    with torch.no_grad():
        first, second = model(x), model(x)
    if first.ndim != 2 or len(first) != len(x) or first.shape[1] < 2:
        raise ValueError(
            f"the model must return logits (n, classes) with at least two classes, not {tuple(first.shape)}"
        )
    if not bool(first.isfinite().all()):
        raise ValueError("the model's logits are not finite: its weights have diverged, there is nothing to attack")
    # The order in which a GPU adds may vary; what is random in a model changes more than that.
    same = torch.equal(first, second) if x.device.type == "cpu" else torch.allclose(first, second, *ROUNDING_ON_GPU)
    if not same:
        raise ValueError(
            "the model answers the same input differently: remove what is random in eval mode (F.dropout?)"
        )
    return int(first.shape[1])


def _check_labels(y: Tensor, *, n: int, n_classes: int) -> None:
    if y.dtype != torch.int64:
        raise ValueError(f"labels must be int64 class numbers, not {y.dtype}: use y.long()")
    if y.shape != (n,):
        raise ValueError(f"labels must have shape ({n},), one class number an image, not {tuple(y.shape)}")
    low, high = (int(bound) for bound in y.aminmax())
    if low < 0 or high >= n_classes:
        raise ValueError(f"labels must be in 0..{n_classes - 1}, the model's classes; y spans {low} to {high}")
