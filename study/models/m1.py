"""M1: two strided convolutions and two fully connected layers, for MNIST and Fashion-MNIST."""

from __future__ import annotations

from torch import nn

from study.models.normalization import Normalize
from study.models.shapes import flat_size
from study.models.strided_convolution import StridedConv2d

DIGITS_MEAN, DIGITS_STD = 0.306, 0.325
"""Of the pixels of scikit-learn's digits, enlarged to 28x28."""


def m1(*, image_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    """Conv5 s2 p2 20, Conv5 s2 p2 50, FC500, FC: 1,256,080 parameters at 1x28x28 (maps 28-14-7).

    Source: Yao et al. 2018 (arXiv:1802.08241), Table 6, M1; Choudhary 2020, MNIST.
    """
    return strided_network((20, 50), 500, image_shape, num_classes)


def m1_20(*, image_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    """M1 with 20 channels in both convolutions: 506,050 parameters at 1x28x28.

    Source: natural-training paper (2020), Table 1, which gives its M1 this width.
    """
    return strided_network((20, 20), 500, image_shape, num_classes)


def m1_8(*, image_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    """Normalisation, Conv5 s2 p2 8, Conv5 s2 p2 8, FC, no hidden layer: 5,746 parameters at 1x28x28.

    Of no paper: a tenth of m1_20's arithmetic, so that a rehearsal of the whole study takes a minute on a laptop.
    """
    features = _features((8, 8), image_shape)
    classifier = nn.Linear(flat_size(features, image_shape), num_classes)
    return nn.Sequential(Normalize(DIGITS_MEAN, DIGITS_STD), *features, classifier)


def strided_network(
    channels: tuple[int, int], hidden: int, image_shape: tuple[int, int, int], num_classes: int
) -> nn.Sequential:
    """M1 with these widths: images (B, C, H, W) in [0, 1] to logits (B, num_classes)."""
    features = _features(channels, image_shape)
    classifier = nn.Sequential(
        nn.Linear(flat_size(features, image_shape), hidden),
        nn.ReLU(),
        nn.Linear(hidden, num_classes),
    )
    return nn.Sequential(*features, *classifier)


def _features(channels: tuple[int, int], image_shape: tuple[int, int, int]) -> nn.Sequential:
    first, second = channels
    return nn.Sequential(
        _first_convolution(image_shape, first),
        nn.ReLU(),
        nn.Conv2d(first, second, kernel_size=5, stride=2, padding=2),
        nn.ReLU(),
        nn.Flatten(),
    )


def _first_convolution(image_shape: tuple[int, int, int], out_channels: int) -> nn.Conv2d:
    channels, height, width = image_shape
    if channels == 1 and height % 2 == 0 and width % 2 == 0:
        return StridedConv2d(1, out_channels)
    return nn.Conv2d(channels, out_channels, kernel_size=5, stride=2, padding=2)
