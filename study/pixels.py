"""Images as a network takes them, in chunks, and the mode that it must be in.

`study.training`, `study.attacks` and `study.curvature`, which do not import each other, share this module.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import torch
from torch import Tensor, nn

CHUNK, GPU_CHUNK = 1000, 4096
"""Images in a forward pass on a CPU, enough to keep a core busy, and on a GPU, where a small network's kernels take
less time than their launches; few enough for the activations of resnet18, 1 GiB a layer at 4,096."""


USUAL_VALUES = 3 * 32 * 32
"""Values of an image of CIFAR-10, the largest of the built-in data sets, for which counts of images are stated."""


def scaled_count(count: int, x: Tensor) -> int:
    """`count`, or fewer in proportion if the images of x (n, ...) have more than USUAL_VALUES values; at least 1."""
    return max(1, count * USUAL_VALUES // max(USUAL_VALUES, x.shape[1:].numel()))


def images_in_a_pass(x: Tensor) -> int:
    """The `scaled_count` of CHUNK or GPU_CHUNK for images x (n, ...) on the model's device."""
    return scaled_count(CHUNK if x.device.type == "cpu" else GPU_CHUNK, x)


def as_pixels(model: nn.Module, images: Tensor) -> Tensor:
    """Images on the device of the model's weights and in their floating-point type.

    Args:
        model: its first floating-point parameter or buffer determines device and type; for a model without one, images
            stay where they are and bytes become the default type.
        images: (n, ...), uint8 in 0..255 (divided by 255 after the move, so that bytes are transferred) or floating
            point, whose values are kept.
    """
    weights = (tensor for tensor in chain(model.parameters(), model.buffers()) if tensor.is_floating_point())
    like = next(weights, images if images.is_floating_point() else torch.empty(0, device=images.device))
    pixels = images.detach().to(like.device).to(like.dtype)
    return pixels.div_(255) if images.dtype == torch.uint8 else pixels


def batches(model: nn.Module, x: Tensor, y: Tensor, size: int | None = None) -> Iterator[tuple[Tensor, Tensor]]:
    """So many images at a time as `as_pixels`, with their labels, int64; ValueError for a size below 1.

    By default as many as `images_in_a_pass` says.
    """
    size = images_in_a_pass(as_pixels(model, x[:0])) if size is None else size
    if size < 1:
        raise ValueError(f"batch_size must be at least 1, not {size}")
    for start in range(0, len(x), size):
        pixels = as_pixels(model, x[start : start + size])
        yield pixels, y[start : start + size].to(pixels.device, torch.long)


def check_eval_mode(model: nn.Module) -> None:
    """Raise ValueError if any module of the model is in training mode."""
    training = [name or type(model).__name__ for name, module in model.named_modules() if module.training]
    if training:
        raise ValueError(f"the model is in training mode ({training[0]}): call model.eval() first")
