"""M1: two strided convolutions and two fully connected layers, for MNIST and Fashion-MNIST."""

from __future__ import annotations

from torch import nn

from study.models.shapes import flat_size


def m1(*, image_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    """Conv5 s2 p2 20, Conv5 s2 p2 50, FC500, FC: 1,256,080 parameters at 1x28x28 (maps 28-14-7).

    Source: Yao et al. 2018 (arXiv:1802.08241), Table 6, M1; Choudhary 2020, MNIST.
    """
    return strided_network((20, 50), image_shape, num_classes)


def m1_20(*, image_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    """M1 with 20 channels in both convolutions: 506,050 parameters at 1x28x28.

    Source: natural-training paper (2020), Table 1, which gives its M1 this width.
    """
    return strided_network((20, 20), image_shape, num_classes)


def strided_network(channels: tuple[int, int], image_shape: tuple[int, int, int], num_classes: int) -> nn.Sequential:
    """M1 with these channels: images (B, C, H, W) in [0, 1] to logits (B, num_classes)."""
    first, second = channels
    features = nn.Sequential(
        nn.Conv2d(image_shape[0], first, kernel_size=5, stride=2, padding=2),
        nn.ReLU(),
        nn.Conv2d(first, second, kernel_size=5, stride=2, padding=2),
        nn.ReLU(),
        nn.Flatten(),
    )
    classifier = nn.Sequential(
        nn.Linear(flat_size(features, image_shape), 500),
        nn.ReLU(),
        nn.Linear(500, num_classes),
    )
    return nn.Sequential(*features, *classifier)
