"""Stored images, bytes or numbers, as the pixels in [0, 1] that a model takes."""

from __future__ import annotations

from itertools import chain

import torch
from torch import Tensor, nn


def as_pixels(model: nn.Module, images: Tensor) -> Tensor:
    """Images on the device of the model's weights and in their floating-point type.

    Args:
        model: its first floating-point parameter or buffer says where and in what type; without one, images
            stay where they are and bytes become the default type.
        images: (n, ...), uint8 in 0..255 (divided by 255 after the move, so that bytes travel) or floating
            point, taken as they are.
    """
    weights = (tensor for tensor in chain(model.parameters(), model.buffers()) if tensor.is_floating_point())
    like = next(weights, images if images.is_floating_point() else torch.empty(0, device=images.device))
    pixels = images.to(like.device).to(like.dtype)
    return pixels.div_(255) if images.dtype == torch.uint8 else pixels
