"""Parts that several models share: the classifier after the convolutions, normalisation, and a faster convolution."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def with_classifier(
    features: nn.Sequential, hidden: Sequence[int], image_shape: tuple[int, int, int], num_classes: int
) -> nn.Sequential:
    """The layers of `features`, then fully connected layers of the `hidden` widths, each with ReLU, then the logits.

    Args:
        features: maps images (B, C, H, W) to flat features (B, n).
        hidden: widths of the hidden layers; may be empty.
        image_shape: (C, H, W).
        num_classes: number of logits.

    Raises:
        ValueError: the images are too small for the layers of `features`.
    """
    layers: list[nn.Module] = []
    width = flat_size(features, image_shape)
    for next_width in hidden:
        layers += [nn.Linear(width, next_width), nn.ReLU()]
        width = next_width
    return nn.Sequential(*features, *layers, nn.Linear(width, num_classes))


def flat_size(features: nn.Module, image_shape: tuple[int, int, int]) -> int:
    """Number of values that `features` computes from one image of shape (C, H, W).

    Raises:
        ValueError: the images are too small for its layers.
    """
    # On the meta device only shapes are computed; in eval mode batch normalization accepts a batch of one.
    probe = copy.deepcopy(features).to("meta").eval()
    try:
        size = probe(torch.empty(1, *image_shape, device="meta")).numel()
    except RuntimeError as error:
        raise ValueError(f"images of shape {image_shape} do not fit this model: {error}") from error
    if size == 0:
        raise ValueError(f"images of shape {image_shape} are too small for this model: its pooling leaves nothing")
    return int(size)


class Normalize(nn.Module):
    """(x - mean) / std, the same for every pixel, without parameters.

    As a model's first layer it keeps every epsilon in units of pixels in [0, 1].
    """

    def __init__(self, mean: float, std: float) -> None:
        super().__init__()
        self.mean, self.std = mean, std

    def forward(self, x: Tensor) -> Tensor:
        """Pixels in [0, 1] of any shape to the same shape."""
        return (x - self.mean) / self.std


class StridedConv2d(nn.Conv2d):
    """`nn.Conv2d(channels, out_channels, 5, stride=2, padding=2)` with the same parameters and values, but faster.

    It is computed as a stride-1 convolution of four times as many channels: pixels are regrouped 2x2 into channels, and
    the 5x5 kernel, padded to 6x6, into 3x3. On a CPU the gradient with respect to an image of one channel, the main
    cost of an attack, is then 2.5 to 3.5 times as fast (measured), because the libraries' kernels for it are written
    for many channels and stride 1. Height and width must be even. A GPU computes the plain convolution.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size=5, stride=2, padding=2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, out_channels, H / 2, W / 2)."""
        if x.is_cuda:
            return super().forward(x)
        cells = F.pixel_unshuffle(F.pad(x, (2, 2, 2, 2)), 2)
        kernel = F.pad(self.weight, (0, 1, 0, 1)).unflatten(3, (3, 2)).unflatten(2, (3, 2))
        kernel = kernel.permute(0, 1, 3, 5, 2, 4).flatten(1, 3)
        return F.conv2d(cells, kernel, self.bias)
