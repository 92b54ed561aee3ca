"""Residual networks for CIFAR (He et al. 2016, arXiv:1512.03385): ResNet-18 and ResNet-20.

Both begin with a 3x3 convolution at stride 1, without max-pooling. Every stage but the first halves the resolution.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with BN; the shortcut is a 1x1 convolution with BN where the shape changes."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or in_channels != channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, channels, kernel_size=1, stride=stride, bias=False),
                nn.BatchNorm2d(channels),
            )

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, channels, H / stride, W / stride)."""
        out = torch.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return torch.relu(out + self.downsample(x))


class GlobalMean(nn.Module):
    """(B, C, H, W) to (B, C). Unlike that of AdaptiveAvgPool2d, its backward pass is deterministic on CUDA."""

    def forward(self, x: Tensor) -> Tensor:
        """The mean over the pixels of each channel."""
        return x.mean(dim=(2, 3))


def resnet18(*, image_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    """64-128-256-512 channels: 11,173,962 parameters. At 3x32x32 the maps are 32-16-8-4.

    Takes images of any size. Parameters are named as in `torchvision.models.resnet18`. Source: natural-training paper
    (2020), ResNet-18 on CIFAR-10.
    """
    return _resnet(image_shape[0], num_classes, (64, 128, 256, 512), blocks=2)


def resnet20(*, image_shape: tuple[int, int, int], num_classes: int, width: int = 1) -> nn.Module:
    """16-32-64 channels times `width`: 278,324 parameters at 1 and 4,350,884 at 4, with 100 classes.

    Takes images of any size; at 3x32x32 the maps are 32-16-8. Source: Yao et al. 2018 (arXiv:1802.08241), CR, on
    CIFAR-100; the architecture is that of He et al., section 4.2. The paper does not describe the shortcut; that of its
    published code, a 1x1 convolution with BN, is used here.
    """
    return _resnet(image_shape[0], num_classes, [width * channels for channels in (16, 32, 64)], blocks=3)


def _resnet(in_channels: int, num_classes: int, widths: Sequence[int], *, blocks: int) -> nn.Sequential:
    """One stage of `blocks` basic blocks for each width: images (B, C, H, W) in [0, 1] to logits (B, num_classes)."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers["conv1"] = nn.Conv2d(in_channels, widths[0], kernel_size=3, padding=1, bias=False)
    layers["bn1"] = nn.BatchNorm2d(widths[0])
    layers["relu"] = nn.ReLU()
    before = widths[0]
    for number, channels in enumerate(widths, 1):
        first = BasicBlock(before, channels, stride=1 if number == 1 else 2)
        layers[f"layer{number}"] = nn.Sequential(first, *(BasicBlock(channels, channels, 1) for _ in range(blocks - 1)))
        before = channels
    layers["mean"] = GlobalMean()
    layers["fc"] = nn.Linear(before, num_classes)
    return nn.Sequential(layers)
