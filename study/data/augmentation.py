"""Training-time augmentation of uint8 batches: flips and crops, which move pixels but change no value.

Every image takes one number from the generator, in batch order. With a CPU generator the result for an image therefore
does not depend on how the images are divided into batches.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

PADDING = 4
"""Zeros on every side. Natural-training paper (2020), CIFAR-10: "random crop", taken to mean its usual form."""

POSITIONS = 2 * PADDING + 1


@dataclass(frozen=True)
class Augmentation:
    """What is drawn for each image, and what is done with it.

    Attributes:
        outcomes: the number drawn for an image is uniform in 0 .. outcomes - 1; with 1 nothing is drawn.
        apply: from images (B, C, H, W) and their numbers (B,), on the same device, to images of the same shape.
    """

    outcomes: int
    apply: Callable[[Tensor, Tensor], Tensor]

    def draw(self, images: int, generator: torch.Generator) -> Tensor:
        """The numbers of so many images, int64, on the generator's device."""
        if self.outcomes == 1:
            return torch.zeros(images, dtype=torch.int64, device=generator.device)
        return torch.randint(self.outcomes, (images,), generator=generator, device=generator.device)


def _unchanged(images: Tensor, drawn: Tensor) -> Tensor:
    return images


def _flip(images: Tensor, drawn: Tensor) -> Tensor:
    return torch.where((drawn == 1)[:, None, None, None], images.flip(3), images)


def _crop_flip(images: Tensor, drawn: Tensor) -> Tensor:
    return crop_and_flip(images, drawn // (2 * POSITIONS), drawn // 2 % POSITIONS, drawn % 2 == 1)


def crop_and_flip(images: Tensor, top: Tensor, left: Tensor, flipped: Tensor) -> Tensor:
    """Crop the zero-padded images (B, C, H, W) at (`top`, `left`) in 0 .. 8, then mirror them where `flipped`.

    `top`, `left` and `flipped` have shape (B,).
    """
    batch, channels, height, width = images.shape
    padded = pad(images, (PADDING,) * 4)
    columns = torch.arange(width, device=images.device)
    columns = left[:, None] + torch.where(flipped[:, None], columns.flip(0), columns)
    rows = top[:, None] + torch.arange(height, device=images.device)
    # Gathering by flat pixel index is seven times as fast on a CPU as indexing with rows and columns.
    pixels = rows[:, :, None] * padded.shape[3] + columns[:, None, :]
    index = pixels.view(batch, 1, -1).expand(batch, channels, -1)
    return padded.view(batch, channels, -1).gather(2, index).view(images.shape)


none = Augmentation(1, _unchanged)
"""The unchanged images."""

flip = Augmentation(2, _flip)
"""Horizontal flip of each image with probability 1/2. Source: Choudhary 2020, also for MNIST."""

crop_flip = Augmentation(2 * POSITIONS**2, _crop_flip)
"""Random crop of the zero-padded image, then a horizontal flip with probability 1/2.

Source: natural-training paper (2020), the CIFAR-10 training input.
"""

AUGMENTATIONS: Mapping[str, Augmentation] = {"none": none, "flip": flip, "crop_flip": crop_flip}
