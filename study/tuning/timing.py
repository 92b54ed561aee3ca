"""What a training step of a model costs that nobody has measured: two steps of it, timed on this machine."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable

import torch

from search_spaces import Planned, Trial
from study.arithmetic import one_thread
from study.data import DATASETS
from study.models import build, set_dropout_generator
from study.optimizers import OPTIMIZERS
from study.tuning.costs import CostModel

FEW, MANY = 2, 18
"""Images of the two steps. Their difference is the cost of an image, without what every step costs."""

SLOW_SECONDS = 2.0
"""A first step that takes longer is not repeated with more images."""


def time_unknown(work: Iterable[Planned], costs: CostModel, brought: Collection[str]) -> dict[str, float]:
    """CPU seconds of a training pass of one image, by model, of the models in `work` that were not measured.

    Args:
        work: the trials to be run.
        costs: what is known.
        brought: data sets from outside, whose images may have any size: all models on them are timed.
    """
    found: dict[str, float] = {}
    for trial in (planned.trial for planned in work):
        unknown = not costs.knows_model(trial.model) or (trial.dataset in brought and trial.model not in costs.scale)
        if unknown and trial.model not in found:
            found[trial.model] = image_seconds(trial)
    return found


def image_seconds(trial: Trial) -> float:
    """CPU seconds of a training pass of one image by plain SGD, on one core."""
    info, generator = DATASETS[trial.dataset], torch.Generator().manual_seed(0)
    with one_thread():
        model = build(
            trial.model, image_shape=info.image_shape, num_classes=info.num_classes, generator=generator
        ).train()
        set_dropout_generator(model, generator)
        optimizer = OPTIMIZERS["sgd"](model, learning_rate=1e-6, momentum=0.0, weight_decay=0.0)
        x, y = torch.rand(MANY, *info.image_shape, generator=generator), torch.arange(MANY) % info.num_classes

        def seconds(count: int) -> float:
            started = time.process_time()
            optimizer.step(x[:count], y[:count])
            return time.process_time() - started

        with torch.random.fork_rng(devices=[]):
            first = seconds(FEW)  # not counted where it is fast: it allocates
            if first > SLOW_SECONDS:
                return first / FEW
            few, many = seconds(FEW), seconds(MANY)
    return max(many - few, many / MANY / 10) / (MANY - FEW)
