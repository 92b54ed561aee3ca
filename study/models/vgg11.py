"""VGG-11 (Simonyan and Zisserman 2015, arXiv:1409.1556, configuration A) for CIFAR-10."""

from __future__ import annotations

import math

from torch import nn

from study.models.layers import with_classifier

STAGES = ((64,), (128,), (256, 256), (512, 512), (512, 512))
"""Channels of the convolutions between one max-pooling and the next."""


def vgg11(*, image_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    """Eight Conv3 p1 in five stages, each ending in MP2; FC512, FC512, FC: 9,750,922 parameters at 3x32x32.

    Images (B, C, H, W) in [0, 1] to logits (B, num_classes); at 32x32 the maps are 32-16-8-4-2-1. Pooling rounds
    sizes up, which changes nothing at 32x32 and allows images of any size (our choice).

    Source: Choudhary (2020), section 3, CIFAR-10, which only names "VGG-11". Everything else follows the
    published code of Wu et al. 2020 (arXiv:1906.07405): no batch normalization, no dropout, convolutions from
    N(0, 2 / fan_out) (He et al. 2015, arXiv:1502.01852) with biases 0, linear layers with torch's defaults.
    """
    layers: list[nn.Module] = []
    channels = image_shape[0]
    for stage in STAGES:
        for out_channels in stage:
            layers += [_convolution(channels, out_channels), nn.ReLU()]
            channels = out_channels
        layers.append(nn.MaxPool2d(2, ceil_mode=True))
    features = nn.Sequential(*layers, nn.Flatten())
    return with_classifier(features, [512, 512], image_shape, num_classes)


def _convolution(in_channels: int, out_channels: int) -> nn.Conv2d:
    convolution = nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1)
    nn.init.normal_(convolution.weight, std=math.sqrt(2 / (9 * out_channels)))
    nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
    return convolution
