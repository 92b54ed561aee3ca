"""ResNet-18 with the CIFAR stem (He et al. 2016, arXiv:1512.03385): 3x3 at stride 1, no max-pooling."""

from __future__ import annotations

import torch
from torch import Tensor, nn

WIDTHS = (64, 128, 256, 512)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with BN; the shortcut is 1x1 convolution and BN where the shape changes."""

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


class ResNet18(nn.Module):
    """Four stages of two basic blocks. Parameters are named as in torchvision.models.resnet18."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, WIDTHS[0], kernel_size=3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        self.layer1 = stage(WIDTHS[0], WIDTHS[0], stride=1)
        self.layer2 = stage(WIDTHS[0], WIDTHS[1], stride=2)
        self.layer3 = stage(WIDTHS[1], WIDTHS[2], stride=2)
        self.layer4 = stage(WIDTHS[2], WIDTHS[3], stride=2)
        self.fc = nn.Linear(WIDTHS[3], num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, C, H, W) in [0, 1] to logits (B, num_classes)."""
        out = torch.relu(self.bn1(self.conv1(x)))
        out = self.layer4(self.layer3(self.layer2(self.layer1(out))))
        # A mean, not AdaptiveAvgPool2d: the backward of the latter is not deterministic on CUDA.
        logits: Tensor = self.fc(out.mean(dim=(2, 3)))
        return logits


def stage(in_channels: int, channels: int, stride: int) -> nn.Sequential:
    """Two basic blocks, the first of which changes width and resolution."""
    return nn.Sequential(BasicBlock(in_channels, channels, stride), BasicBlock(channels, channels, 1))


def resnet18(*, image_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    """64-128-256-512 channels: 11,173,962 parameters. At 3x32x32 the maps are 32-16-8-4.

    Takes images of any size. Source: natural-training paper (2020), ResNet-18 on CIFAR-10.
    """
    return ResNet18(image_shape[0], num_classes)
