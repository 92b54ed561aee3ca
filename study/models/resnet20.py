"""CIFAR ResNet-20 (He et al. 2016, arXiv:1512.03385, section 4.2) with a width multiplier."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from study.models.resnet18 import BasicBlock

WIDTHS = (16, 32, 64)
BLOCKS_A_STAGE = 3


class ResNet20(nn.Module):
    """Three stages of three basic blocks, with 1x1 convolution and BN as shortcut where the shape changes."""

    def __init__(self, in_channels: int, num_classes: int, width: int) -> None:
        super().__init__()
        first, second, third = (width * channels for channels in WIDTHS)
        self.conv1 = nn.Conv2d(in_channels, first, kernel_size=3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(first)
        self.layer1 = stage(first, first, stride=1)
        self.layer2 = stage(first, second, stride=2)
        self.layer3 = stage(second, third, stride=2)
        self.fc = nn.Linear(third, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, C, H, W) in [0, 1] to logits (B, num_classes)."""
        out = torch.relu(self.bn1(self.conv1(x)))
        out = self.layer3(self.layer2(self.layer1(out)))
        # A mean, not AdaptiveAvgPool2d: the backward of the latter is not deterministic on CUDA.
        logits: Tensor = self.fc(out.mean(dim=(2, 3)))
        return logits


def stage(in_channels: int, channels: int, stride: int) -> nn.Sequential:
    """Three basic blocks, the first of which changes width and resolution."""
    rest = (BasicBlock(channels, channels, 1) for _ in range(BLOCKS_A_STAGE - 1))
    return nn.Sequential(BasicBlock(in_channels, channels, stride), *rest)


def resnet20(*, image_shape: tuple[int, int, int], num_classes: int, width: int = 1) -> nn.Module:
    """16-32-64 channels times `width`: 278,324 parameters at 1 and 4,350,884 at 4, with 100 classes.

    Takes images of any size; at 3x32x32 the maps are 32-16-8. Source: Yao et al. 2018 (arXiv:1802.08241), CR, on
    CIFAR-100. The shortcut is not in print; that of its published code, 1x1 convolution with BN, is followed here.
    """
    return ResNet20(image_shape[0], num_classes, width)
