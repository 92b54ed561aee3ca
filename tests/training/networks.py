"""Networks for tests of training: built, about to be trained, trained alone or together on the small digits."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from study.data import AUGMENTATIONS
from study.models import build
from study.optimizers import SGD
from study.training import streams
from study.training.batched import train_batched
from study.training.loop import Hook, Recipe, TrainingRun, train
from study.training.schedules import constant
from tests.models.kinds import shape_of
from tests.trials.small import tensors

RECIPE = Recipe(0.05, batch_size=32, epochs=3, seed=0, schedule=constant, augmentation=AUGMENTATIONS["none"])


def model_of(name: str = "m1_8", seed: int = 0, dtype: torch.dtype = torch.float32) -> nn.Module:
    stream = streams.generator(seed, "initialization")
    return build(name, image_shape=shape_of(name), num_classes=10, generator=stream).to(dtype)


def run_of(
    model: str | nn.Module = "m1_8", *, momentum: float = 0.9, weight_decay: float = 0.0, **settings: object
) -> TrainingRun:
    """A run with plain SGD; the settings are the recipe's, its seed also the network's."""
    recipe = replace(RECIPE, **settings)  # type: ignore[arg-type]
    network = model_of(model, recipe.seed) if isinstance(model, str) else model
    rule = SGD(network, learning_rate=recipe.learning_rate, momentum=momentum, weight_decay=weight_decay)
    return TrainingRun(network, rule, recipe)


def trained(run: TrainingRun) -> TrainingRun:
    """The run after training alone."""
    train(run, train=tensors().train, validation=tensors().validation)
    return run


def trained_together(runs: list[TrainingRun], *hooks: Hook) -> list[TrainingRun]:
    """The runs after batched training."""
    train_batched(runs, train=tensors().train, validation=tensors().validation, hooks=hooks)
    return runs


def same_bits(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)
