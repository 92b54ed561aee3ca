"""C2 and C3: four narrow 3x3 convolutions with and without batch normalization, for CIFAR-10."""

from __future__ import annotations

from torch import nn

from study.models.layers import with_classifier


def c2(*, image_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    """[valid Conv3, ReLU, BN] 64, 64, MP2, 128, 128, MP2, FC256, FC256, FC: 1,148,746 parameters.

    Images (B, C, H, W) in [0, 1] to logits (B, num_classes); at 3x32x32 the maps are 30-28-14-12-10-5.

    Source: Yao et al. 2018 (arXiv:1802.08241), Table 6, C2. In print the first convolution has 63 channels, all are
    padded and there is no pooling. The published code of Yao et al., which is followed here, has 64 channels, no
    padding, two max-poolings, and BN after each ReLU.
    """
    return _network(image_shape, num_classes, normalized=True)


def c3(*, image_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    """C2 without batch normalization: 1,147,978 parameters.

    Source: Yao et al. 2018 (arXiv:1802.08241), Table 6, C3.
    """
    return _network(image_shape, num_classes, normalized=False)


def _network(image_shape: tuple[int, int, int], num_classes: int, *, normalized: bool) -> nn.Sequential:
    features = nn.Sequential(
        *_convolution(image_shape[0], 64, normalized),
        *_convolution(64, 64, normalized),
        nn.MaxPool2d(kernel_size=2),
        *_convolution(64, 128, normalized),
        *_convolution(128, 128, normalized),
        nn.MaxPool2d(kernel_size=2),
        nn.Flatten(),
    )
    return with_classifier(features, [256, 256], image_shape, num_classes)


def _convolution(in_channels: int, channels: int, normalized: bool) -> list[nn.Module]:
    layers: list[nn.Module] = [nn.Conv2d(in_channels, channels, kernel_size=3), nn.ReLU()]
    return [*layers, nn.BatchNorm2d(channels)] if normalized else layers
