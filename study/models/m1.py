"""M1: two 5x5 convolutions and a hidden layer, for MNIST and Fashion-MNIST, strided or pooled."""

from __future__ import annotations

from torch import nn

from study.models.layers import Normalize, StridedConv2d, with_classifier

DIGITS_MEAN, DIGITS_STD = 0.306, 0.325
"""Of the pixels of scikit-learn's digits, enlarged to 28x28."""


def m1(*, image_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    """Conv5 s2 p2 20, Conv5 s2 p2 50, FC500, FC: 1,256,080 parameters at 1x28x28 (maps 28-14-7).

    Source: Yao et al. 2018 (arXiv:1802.08241), Table 6, M1; Choudhary 2020, MNIST.
    """
    return with_classifier(_strided((20, 50), image_shape), [500], image_shape, num_classes)


def m1_20(*, image_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    """M1 with 20 channels in both convolutions: 506,050 parameters at 1x28x28.

    Source: natural-training paper (2020), Table 1, which gives its M1 this width.
    """
    return with_classifier(_strided((20, 20), image_shape), [500], image_shape, num_classes)


def m1_8(*, image_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    """Normalisation, Conv5 s2 p2 8, Conv5 s2 p2 8, FC, no hidden layer: 5,746 parameters at 1x28x28.

    From no paper: it has a tenth of m1_20's arithmetic, for tests and quick studies of your own.
    """
    network = with_classifier(_strided((8, 8), image_shape), [], image_shape, num_classes)
    return nn.Sequential(Normalize(DIGITS_MEAN, DIGITS_STD), *network)


def m1_lenet(*, image_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    """Valid Conv5 20, ReLU, MP2, valid Conv5 50, ReLU, MP2, FC500, FC: 431,080 parameters.

    Images (B, C, H, W) in [0, 1] to logits (B, num_classes); at 1x28x28 the maps are 28-24-12-8-4.

    Source: Yao et al. 2018 (arXiv:1802.08241), which gives its M1 stride 2 (Table 6) and also calls it a standard
    LeNet. This is the second reading; `m1` is the first.
    """
    features = nn.Sequential(
        nn.Conv2d(image_shape[0], 20, kernel_size=5),
        nn.ReLU(),
        nn.MaxPool2d(kernel_size=2),
        nn.Conv2d(20, 50, kernel_size=5),
        nn.ReLU(),
        nn.MaxPool2d(kernel_size=2),
        nn.Flatten(),
    )
    return with_classifier(features, [500], image_shape, num_classes)


def _strided(channels: tuple[int, int], image_shape: tuple[int, int, int]) -> nn.Sequential:
    """The two convolutions: images (B, C, H, W) to flat features."""
    first, second = channels
    in_channels, height, width = image_shape
    fast = in_channels == 1 and height % 2 == 0 and width % 2 == 0
    return nn.Sequential(
        StridedConv2d(1, first) if fast else nn.Conv2d(in_channels, first, kernel_size=5, stride=2, padding=2),
        nn.ReLU(),
        nn.Conv2d(first, second, kernel_size=5, stride=2, padding=2),
        nn.ReLU(),
        nn.Flatten(),
    )
