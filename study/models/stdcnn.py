"""StdCNN: four 3x3 convolutions, two max-poolings and dropout, for MNIST and Fashion-MNIST."""

from __future__ import annotations

import torch
from torch import nn

from study.models.dropout import Dropout
from study.models.layers import flat_size


def stdcnn(*, image_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    """Conv3 10, Conv3 10, MP2, Conv3 20, Conv3 20, MP2, FC50, Dropout .5, FC: 56,010 parameters at 1x28x28.

    Every convolution is padded by 1 (maps 28-14-7); images (B, C, H, W) in [0, 1] to logits (B, num_classes).
    Training needs `set_dropout_generator`. Source: natural-training paper (2020), Table 1, StdCNN.
    """
    features = nn.Sequential(
        nn.Conv2d(image_shape[0], 10, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.Conv2d(10, 10, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(10, 20, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.Conv2d(20, 20, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
    )
    classifier = nn.Sequential(
        nn.Linear(flat_size(features, image_shape), 50),
        nn.ReLU(),
        Dropout(0.5),
        nn.Linear(50, num_classes),
    )
    # Ten channels do not fill a CPU's vectors of eight: with channels last a step takes about two thirds of the time.
    return nn.Sequential(*features, *classifier).to(memory_format=torch.channels_last)
