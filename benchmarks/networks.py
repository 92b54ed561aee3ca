"""The networks, images and training loops that the benchmarks share."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from study.data import load
from study.data.augmentation import AUGMENTATIONS
from study.models import build, set_dropout_generator
from study.optimizers import OPTIMIZERS
from study.training import streams
from study.training.cuda_graph import CudaGraphs
from study.training.loop import Recipe, TrainingRun, TrainingState, train
from study.training.schedules import constant

NUM_CLASSES = 10
MOMENTUM = 0.9
DIGITS_EPOCHS, TRAINED_ON = 5, 6000
Data = tuple[Tensor, Tensor]
"""Images (n, C, H, W) and labels (n,)."""


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


def random_images(shape: tuple[int, int, int], n: int) -> Data:
    """uint8 images and labels."""
    draws = streams.generator(0, "images")
    x = torch.randint(256, (n, *shape), generator=draws, dtype=torch.uint8)
    return x, torch.randint(NUM_CLASSES, (n,), generator=draws)


def run_of(
    model: nn.Module,
    batch_size: int,
    *,
    learning_rate: float,
    epochs: int = 1,
    augmentation: str = "none",
    graphs: CudaGraphs | None = None,
    precision: str = "float32",
) -> TrainingRun:
    """A network about to be trained in the study's loop, by SGD with momentum at a constant rate."""
    optimizer = OPTIMIZERS["sgd"](model, learning_rate=learning_rate, momentum=MOMENTUM, weight_decay=0.0)
    recipe = Recipe(
        learning_rate,
        batch_size,
        epochs,
        seed=0,
        schedule=constant,
        augmentation=AUGMENTATIONS[augmentation],
        graphs=graphs,
        precision=precision,
    )
    return TrainingRun(model, optimizer, recipe)


def study_epochs(run: TrainingRun, data: Data) -> None:
    """All epochs of a run in the study's loop, from its network's present weights.

    Raises:
        RuntimeError: training diverged.
    """
    run.state = TrainingState()
    train(run, train=data, validation=(data[0][:1], data[1][:1]))  # one image: what it costs counts against us
    if run.state.epochs_done != run.recipe.epochs:
        raise RuntimeError(f"training did not reach its end: {run.state.diverged}")


def plain_epoch(model: nn.Module, optimizer: torch.optim.Optimizer, batches: Iterable[Data]) -> None:
    """One epoch of a plain PyTorch loop over batches of images in [0, 1] and labels."""
    model.train()
    for x, y in batches:
        optimizer.zero_grad()
        cross_entropy(model(x), y).backward()
        optimizer.step()


def attacked(name: str, n: int, data_dir: str | None = None) -> tuple[nn.Module, Tensor]:
    """A network in eval mode that an attack can fool, and at most n uint8 images for it.

    Random weights are enough for the CIFAR models. The MNIST models with random weights give every image the same
    class whatever the attack does, so they learn MNIST for an epoch, or the built-in digits without a `data_dir`.
    """
    model = network(name)
    if SETTINGS[name].shape == CIFAR:
        return model.eval(), random_images(CIFAR, n)[0]
    images, epochs = (load("mnist", data_dir), 1) if data_dir else (load("digits", "."), DIGITS_EPOCHS)
    x, y = torch.from_numpy(images.train_x[:TRAINED_ON]), torch.from_numpy(images.train_y[:TRAINED_ON])
    study_epochs(run_of(model, 16, learning_rate=0.01, epochs=epochs), (x, y))
    return model.eval(), (torch.from_numpy(images.test_x) if data_dir else x)[:n]
