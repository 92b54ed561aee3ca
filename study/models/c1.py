"""C1: two wide 5x5 convolutions with batch normalization, for CIFAR-10."""

from __future__ import annotations

from torch import nn

from study.models.layers import with_classifier


def c1(*, image_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    """[Conv5 64, ReLU, BN, MaxPool 3 s2 p1] twice, FC384, FC192, FC: 1,756,682 parameters.

    Images (B, C, H, W) in [0, 1] to logits (B, num_classes); at 3x32x32 the maps are 32-16-8.

    Source: Yao et al. 2018 (arXiv:1802.08241), Table 6, C1; natural-training paper (2020), Table 1. In print the
    convolutions have stride 2 (Yao et al., A.3) and BN follows the pooling. In the published code of Yao et al., which
    is followed here, they have stride 1 and padding 2, and BN comes between ReLU and pooling.
    """
    features = nn.Sequential(
        nn.Conv2d(image_shape[0], 64, kernel_size=5, padding=2),
        nn.ReLU(),
        nn.BatchNorm2d(64),
        nn.MaxPool2d(kernel_size=3, stride=2, padding=1),
        nn.Conv2d(64, 64, kernel_size=5, padding=2),
        nn.ReLU(),
        nn.BatchNorm2d(64),
        nn.MaxPool2d(kernel_size=3, stride=2, padding=1),
        nn.Flatten(),
    )
    return with_classifier(features, [384, 192], image_shape, num_classes)
