"""The size that a convolutional part hands to the first fully connected layer."""

from __future__ import annotations

import copy

import torch
from torch import nn


def flat_size(features: nn.Module, image_shape: tuple[int, int, int]) -> int:
    """Values per image that `features` makes of images of shape (C, H, W).

    Raises ValueError when the images are too small for its layers.
    """
    # On the meta device shapes are computed and nothing else; in eval mode BN accepts a batch of one.
    probe = copy.deepcopy(features).to("meta").eval()
    try:
        size = probe(torch.empty(1, *image_shape, device="meta")).numel()
    except RuntimeError as error:
        raise ValueError(f"images of shape {image_shape} do not fit this model: {error}") from error
    if size == 0:
        raise ValueError(f"images of shape {image_shape} are too small for this model: its pooling leaves nothing")
    return int(size)
