"""The networks and images that the benchmarks share."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from study.data import load
from study.data.augmentation import AUGMENTATIONS
from study.models import build, set_dropout_generator
from study.optimizers import OPTIMIZERS
from study.training import streams
from study.training.loop import Recipe, TrainingState, train
from study.training.schedules import constant

NUM_CLASSES = 10
DIGITS_EPOCHS = 5


@dataclass(frozen=True)
class Setting:
    """What a model trains on, and how many images make one side of a pair last a second or two on two cores."""

    shape: tuple[int, int, int]
    augmentation: str
    epsilon: float
    images: int
    pgd_images: int


MNIST, CIFAR = (1, 28, 28), (3, 32, 32)
SETTINGS = {
    "m1_20": Setting(MNIST, "none", 0.3, images=4096, pgd_images=512),
    "stdcnn": Setting(MNIST, "none", 0.3, images=2048, pgd_images=256),
    "c1": Setting(CIFAR, "crop_flip", 0.02, images=512, pgd_images=16),
    "resnet18": Setting(CIFAR, "crop_flip", 0.02, images=64, pgd_images=2),
}


def network(name: str) -> nn.Module:
    """The named model with the same weights at every call."""
    model = build(name, image_shape=SETTINGS[name].shape, num_classes=NUM_CLASSES, generator=streams.generator(0))
    set_dropout_generator(model, streams.generator(0, "dropout"))
    return model


def random_images(shape: tuple[int, int, int], n: int) -> tuple[Tensor, Tensor]:
    """uint8 images (n, C, H, W) and labels (n,)."""
    draws = streams.generator(0, "images")
    x = torch.randint(256, (n, *shape), generator=draws, dtype=torch.uint8)
    return x, torch.randint(NUM_CLASSES, (n,), generator=draws)


def attacked(name: str, n: int) -> tuple[nn.Module, Tensor]:
    """A network in eval mode that an attack can fool, and n uint8 images for it.

    Random weights do for the CIFAR models. On the MNIST models they give every image the same class whatever the
    attack does, so those learn the built-in digits first.
    """
    model, setting = network(name), SETTINGS[name]
    if setting.shape == CIFAR:
        return model.eval(), random_images(CIFAR, n)[0]
    digits = load("digits", ".")
    optimizer = OPTIMIZERS["sgd"](model, learning_rate=0.01, momentum=0.9, weight_decay=0.0)
    recipe = Recipe(0.01, 16, DIGITS_EPOCHS, 0, constant, AUGMENTATIONS["none"])
    images = (torch.from_numpy(digits.train_x), torch.from_numpy(digits.train_y))
    train(
        model,
        optimizer,
        recipe,
        train=images,
        validation=(images[0][:1], images[1][:1]),
        state=TrainingState(),
        set_dropout_generator=set_dropout_generator,
    )
    return model.eval(), images[0][:n]
