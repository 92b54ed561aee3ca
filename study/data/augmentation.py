"""Training-time augmentation: pixels are moved, never changed.

A uint8 batch comes in and a uint8 batch goes out, on the same device.

Every image takes ONE number from the generator, in batch order. With a CPU generator the result for an image
is therefore the same however the images are cut into batches.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn.functional import pad

PADDING = 4  # natural-training paper (2020), CIFAR-10: "random crop" in its usual form, zeros on every side
POSITIONS = 2 * PADDING + 1

Augmentation = Callable[[Tensor, torch.Generator], Tensor]


def none(images: Tensor, generator: torch.Generator) -> Tensor:
    """The images as they are; draws nothing."""
    return images


def flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Horizontal flip of each image (B, C, H, W) with probability 1/2 (Choudhary 2020, on MNIST too)."""
    flipped = draw(2, images, generator) == 1
    return torch.where(flipped[:, None, None, None], images.flip(3), images)


def crop_flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Random crop from the zero-padded image (B, C, H, W), then a horizontal flip with probability 1/2.

    Source: natural-training paper (2020), the CIFAR-10 training input.
    """
    drawn = draw(2 * POSITIONS**2, images, generator)
    return crop_and_flip(images, drawn // (2 * POSITIONS), drawn // 2 % POSITIONS, drawn % 2 == 1)


def draw(outcomes: int, images: Tensor, generator: torch.Generator) -> Tensor:
    """One uniform integer in 0 .. outcomes - 1 per image, on the images' device."""
    drawn = torch.randint(outcomes, (len(images),), generator=generator, device=generator.device)
    return drawn.to(images.device)


def crop_and_flip(images: Tensor, top: Tensor, left: Tensor, flipped: Tensor) -> Tensor:
    """Crops (B, C, H, W), zero-padded, at (`top`, `left`) in 0 .. 8; then mirrors where `flipped`."""
    batch, channels, height, width = images.shape
    padded = pad(images, (PADDING,) * 4)
    columns = torch.arange(width, device=images.device)
    columns = left[:, None] + torch.where(flipped[:, None], columns.flip(0), columns)
    rows = top[:, None] + torch.arange(height, device=images.device)
    # Gathered by flat pixel index: on a CPU seven times faster than indexing with rows and columns.
    pixels = rows[:, :, None] * padded.shape[3] + columns[:, None, :]
    index = pixels.view(batch, 1, -1).expand(batch, channels, -1)
    return padded.view(batch, channels, -1).gather(2, index).view(images.shape)


AUGMENTATIONS: Mapping[str, Augmentation] = {"none": none, "flip": flip, "crop_flip": crop_flip}
