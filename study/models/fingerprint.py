"""What a model's function computes, in a line of text that a row keeps: a model that was changed is noticed.

It is not the source text, which may change without the function, and stay while what it imports changes. It holds

- a digest of the names, shapes and types of the weights, and of the layers' numbers (rates of dropout, slopes);
- the norm of newly drawn weights;
- what the network answers to fixed images when its weights are fixed numbers. Those come from numpy's raw bits, which
  are the same everywhere, and not from the initialization, under which a branch that starts at 0 would say nothing.

All of it is computed on the CPU. Processors round differently, so numbers are compared with a tolerance. A change that
shows neither in layer attributes nor in eval-mode outputs, such as the rate of `F.dropout` inside `forward`, goes
unnoticed.
"""

from __future__ import annotations

import hashlib
import math
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn

from study.arithmetic import one_thread

IMAGES, ANSWERS = 3, 6
"""Images that a network is tried on, and numbers that are kept of its logits."""

TOLERANCE = 1e-3
"""Of an answer, relative to the largest. Float32 on other processors differs by some 1e-6 a layer."""

NORM_TOLERANCE = 0.05
"""Relative, of the initial weights' norm: another version of torch may draw other weights of the same size."""


def of_network(model: nn.Module, image_shape: tuple[int, int, int]) -> str:
    """The fingerprint of a newly made network on the CPU; its weights are overwritten.

    Args:
        model: from images (B, C, H, W) to logits (B, classes).
        image_shape: (C, H, W).

    Returns:
        16 hexadecimal digits, the norm of the weights and ANSWERS numbers, separated by spaces; nan where an answer is
        not finite.
    """
    layers = [
        f"{name} {type(layer).__name__} {key} {value:.6g}"
        for name, layer in model.named_modules()
        for key, value in sorted(vars(layer).items())
        if isinstance(value, float) and not key.startswith("_")
    ]
    tensors = [f"{name} {value.dtype} {tuple(value.shape)}" for name, value in model.state_dict().items()]
    digest = hashlib.sha256("\n".join([*tensors, *layers]).encode()).hexdigest()[:16]
    with torch.no_grad(), one_thread():
        parameters = list(model.parameters())
        norm = math.sqrt(sum(float(p.double().square().sum()) for p in parameters if p.is_floating_point()))
        for place, parameter in enumerate(parameters, 1):
            if parameter.is_floating_point():
                parameter.copy_(_fixed(place, parameter) * _scale(parameter))
        images = _fixed(0, torch.empty(IMAGES, *image_shape)).add(1).div(2)
        answers = _answers(model.eval(), images.to(parameters[0].dtype))
    numbers = [value if math.isfinite(value) else math.nan for value in (norm, *answers)]
    return " ".join([digest, *(f"{value:.8g}" for value in numbers)])


def _answers(model: nn.Module, images: Tensor) -> list[float]:
    try:
        logits: Tensor = model(images).double().flatten()
    except Exception:  # it refuses such weights, whatever their kind: the digest and the norm must do
        return [math.nan] * ANSWERS
    found: list[float] = (logits @ _fixed(-1, torch.empty(len(logits), ANSWERS, dtype=torch.float64))).tolist()
    return found


def _fixed(stream: int, like: Tensor) -> Tensor:
    """Numbers in [-1, 1) of a tensor's shape and type, the same in every release of numpy (NEP 19)."""
    raw = np.random.PCG64(stream + 2).random_raw(like.numel())
    return torch.from_numpy(raw.astype(np.float64) * 2.0**-63 - 1).to(like.dtype).view(like.shape)


def _scale(parameter: Tensor) -> float:
    """Weights that keep the size of what passes through them: variance 1 / fan-in, as far as the shape tells it."""
    fan_in = parameter[0].numel() if parameter.dim() > 1 else 3
    return math.sqrt(3 / max(1, fan_in))


@cache
def same_function(first: str, second: str) -> bool:
    """Whether two fingerprints are of one function, up to rounding; False if one is no fingerprint."""
    texts = first.split(), second.split()
    try:
        a, b = (np.array(text[1:], dtype=float) for text in texts)
    except ValueError:
        return False
    if texts[0][:1] != texts[1][:1] or len(a) != len(b) or len(a) < 2:
        return False
    size = float(np.nanmax(np.abs([a[1:], b[1:], np.zeros_like(a[1:])])))
    near = np.isclose(a, b, rtol=0, atol=[NORM_TOLERANCE * max(a[0], b[0]), *[TOLERANCE * size] * (len(a) - 1)])
    return bool((near | (np.isnan(a) & np.isnan(b))).all())
