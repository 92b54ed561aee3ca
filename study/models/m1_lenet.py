"""M1 read as the pooled LeNet, for MNIST."""

from __future__ import annotations

from torch import nn

from study.models.shapes import flat_size


def m1_lenet(*, image_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    """Valid Conv5 20, ReLU, MP2, valid Conv5 50, ReLU, MP2, FC500, FC: 431,080 parameters.

    Images (B, C, H, W) in [0, 1] to logits (B, num_classes); at 1x28x28 the maps are 28-24-12-8-4.

    Source: Yao et al. 2018 (arXiv:1802.08241), which gives its M1 stride 2 (Table 6) and also calls it a standard
    LeNet. This is the second reading; :func:`study.models.m1.m1` is the first.
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
    classifier = nn.Sequential(
        nn.Linear(flat_size(features, image_shape), 500),
        nn.ReLU(),
        nn.Linear(500, num_classes),
    )
    return nn.Sequential(*features, *classifier)
