"""How long work will take: a model of seconds per trial, calibrated by the rows that are already there."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from statistics import median
from typing import Any, NamedTuple

from search_spaces import (
    AttackProbe,
    InputCurvatureProbe,
    InputHessianProbe,
    LandscapeProbe,
    Planned,
    SpectrumProbe,
)
from study.results.schema import Row

STEP_SECONDS = 2e-3
"""Overhead of one optimizer step on one CPU core, whatever the batch size. Measured by benchmarks/costs.py."""

IMAGE_SECONDS: Mapping[str, float] = {
    "m1": 3.5e-4,
    "m1_20": 1.4e-4,
    "m1_8": 7e-5,
    "m1_lenet": 5e-4,
    "stdcnn": 5e-4,
    "c1": 4.5e-3,
    "c2": 6.6e-3,
    "c3": 6.5e-3,
    "resnet20": 6.1e-3,
    "resnet20_x2": 2e-2,
    "resnet20_x4": 7.1e-2,
    "resnet18": 6.4e-2,
    "vgg11": 2.2e-2,
}
"""Forward and backward pass of one image in training on one CPU core. Measured by benchmarks/costs.py."""

UNKNOWN_IMAGE_SECONDS = 1e-3
"""For a model that was never measured."""

ATTACK_SHARE = 0.9
"""A pass of an attack relative to a training pass of the same images. Measured by benchmarks/costs.py: .7 to 1.2."""

HVP_SHARE = 2.4
"""A Hessian-vector product relative to a training pass. Measured by benchmarks/costs.py: 1.7 to 3.6."""

MATVECS = {1: 9, 20: 60}
"""Lanczos products by number of eigenvalues: 5 to 12 for lambda1 in the smoke study; 49 to 63 for 20 of an m1."""

UNKNOWN_PASSES = 41
"""Of an attack that was never measured."""

INPUT_HESSIAN_PASSES = 2000
"""Of one sample's whole input Hessian in float64: a product a pixel."""

DIRECTIONS_SHARED_BY = 4
"""Landscapes of one network that share the eigenvectors of one Hessian."""

FORWARD_SHARE = 1 / 3
"""A forward pass alone relative to a training pass: one of three matrix products."""

ATTACK_PASSES: Mapping[str, int] = {"fgsm": 2, "pgd": 41, "fgsm10": 10, "l2grad": 2, "fhsm": 6, "l2hess": 6}
"""Passes of an attack and of scoring it; a Newton system on ten classes takes nine backward passes."""

INPUT_CURVATURE_PASSES = 4.5
"""On ten classes: one backward pass a class but one. Measured: 3.8 to 4.0."""

LANDSCAPE_POINTS: Mapping[str, int] = {"line": 41, "plane": 441, "interpolation": 31}
"""Forward passes; the curvature room's offsets."""

GRADIENTS: Mapping[str, float] = {"svrg": 3.0, "selective_backprop": 0.6}
"""Training passes of one image an epoch, by optimizer, where it is not 1. Measured for selective backprop: .5 to .6."""


def train_seconds(planned: Planned) -> float:
    """Training alone, on one CPU core."""
    trial = planned.trial
    steps = trial.epochs * -(-trial.train_size // trial.batch_size)
    passes = GRADIENTS.get(trial.optimizer, 1.0)
    if trial.adversarial_training != "none":
        passes += ATTACK_SHARE * ATTACK_PASSES.get(trial.adversarial_training, UNKNOWN_PASSES)
    images = trial.epochs * (trial.train_size * passes + trial.val_size * FORWARD_SHARE)
    return steps * STEP_SECONDS + images * _image_seconds(trial.model)


def longest_part_seconds(planned: Planned) -> float:
    """The longest part that a trial answers as a whole, an epoch (with the evaluation after the last) or a probe."""
    trial = planned.trial
    evaluation = (trial.train_size + trial.test_size) * FORWARD_SHARE * _image_seconds(trial.model)
    epoch = train_seconds(planned) / max(1, trial.epochs) + evaluation
    return max([epoch, *(probe_seconds(replace(planned, probes=frozenset({probe}))) for probe in planned.probes)])


def probe_seconds(planned: Planned) -> float:
    """The planned probes alone, on one CPU core."""
    trial = planned.trial
    sizes = {"train": trial.train_size, "test": trial.test_size}
    passes = sum(PASSES[type(probe)](probe, sizes) for probe in planned.probes)
    return passes * _image_seconds(trial.model)


def _image_seconds(model: str) -> float:
    return IMAGE_SECONDS.get(model, UNKNOWN_IMAGE_SECONDS)


def _attack_passes(probe: AttackProbe, sizes: Mapping[str, int]) -> float:
    return sizes[probe.split] * ATTACK_PASSES.get(probe.attack, UNKNOWN_PASSES) * ATTACK_SHARE


def _spectrum_passes(probe: SpectrumProbe, sizes: Mapping[str, int]) -> float:
    return probe.subset_size * HVP_SHARE * MATVECS.get(probe.count, 3 * probe.count)


def _input_passes(probe: InputCurvatureProbe, sizes: Mapping[str, int]) -> float:
    return sizes[probe.split] * INPUT_CURVATURE_PASSES


def _hessian_passes(probe: InputHessianProbe, sizes: Mapping[str, int]) -> float:
    return probe.samples * INPUT_HESSIAN_PASSES


def _landscape_passes(probe: LandscapeProbe, sizes: Mapping[str, int]) -> float:
    surface = probe.subset_size * LANDSCAPE_POINTS[probe.kind] * FORWARD_SHARE
    return surface + probe.hessian_size * HVP_SHARE * MATVECS[1] / DIRECTIONS_SHARED_BY


PASSES: Mapping[type, Callable[[Any, Mapping[str, int]], float]] = {
    AttackProbe: _attack_passes,
    SpectrumProbe: _spectrum_passes,
    InputCurvatureProbe: _input_passes,
    InputHessianProbe: _hessian_passes,
    LandscapeProbe: _landscape_passes,
}
"""Training passes of one image that cost as much as a probe, by its kind."""


class Accuracy(NamedTuple):
    """Estimated and measured seconds of trials in all, and the factor by which half of them were off, either way."""

    trials: int
    expected: float
    took: float
    typical_factor: float


class CostModel:
    """Expected seconds of planned work, the built-in figures scaled by what stored rows took, model by model.

    A model with rows of several devices is scaled by the device that has most of them. `devices` names those of all
    rows that were used, `trained` the ids of trials whose weights are stored.
    """

    def __init__(self, grid: Mapping[str, Planned] | None = None, rows: Iterable[Row] = ()) -> None:
        ratios: dict[tuple[str, str], list[float]] = {}
        self.trained: set[str] = set()
        for row in rows:
            if row["status"] == "ok":
                self.trained.add(row["trial_id"])
            planned = (grid or {}).get(row["trial_id"])
            if planned is not None and row["status"] == "ok" and row["train_seconds"]:
                expected = train_seconds(planned)
                key = (planned.trial.model, row.get("device") or "cpu")
                ratios.setdefault(key, []).append(row["train_seconds"] / expected)
        by_count = sorted(ratios.items(), key=lambda item: len(item[1]))  # the device with most rows comes last
        self.scale = {model: median(found) for (model, _), found in by_count}
        self.devices = sorted({device for (_, device), _ in by_count})

    def seconds(self, planned: Planned) -> float:
        """Expected seconds of one trial: of its probes alone when a stored row says that it is trained."""
        return probe_seconds(planned) * self._factor(planned) + self.training_seconds(planned)

    def knowing(self, trained: Iterable[str]) -> CostModel:
        """The same of a time at which these trials are trained as well."""
        later = copy.copy(self)
        later.trained = self.trained | set(trained)
        return later

    def training_seconds(self, planned: Planned) -> float:
        """Expected seconds of one trial's training; none when a stored row says that it is trained."""
        if planned.trial.trial_id in self.trained:
            return 0.0
        return train_seconds(planned) * self._factor(planned)

    def _factor(self, planned: Planned) -> float:
        return self.scale.get(planned.trial.model, 1.0)

    def patience(self, planned: Planned) -> float:
        """Seconds without a word that a trial may take with good reason: its longest part, on the slower of devices.

        Rows of a GPU say nothing of a run without one, so the bare model counts as well; of a model that was never
        measured nothing is known, and the answer is infinite.
        """
        model = planned.trial.model
        if model not in IMAGE_SECONDS and model not in self.scale:
            return math.inf
        return longest_part_seconds(planned) * max(1.0, self.scale.get(model, 1.0))

    def accuracy(self, work: Iterable[Planned], rows: Iterable[Row]) -> Accuracy | None:
        """How far off the estimates of `work` were, by the rows of trials that were trained; None with no such row."""
        took = {row["trial_id"]: row for row in rows if row["status"] == "ok"}
        pairs = [
            (self.seconds(planned), (row["train_seconds"] or 0.0) + (row["probe_seconds"] or 0.0))
            for planned in work
            if planned.trial.trial_id not in self.trained and (row := took.get(planned.trial.trial_id))
        ]
        pairs = [(expected, seconds) for expected, seconds in pairs if seconds > 0]
        if not pairs:
            return None
        factors = [max(expected / seconds, seconds / expected) for expected, seconds in pairs]
        expected, seconds = (sum(column) for column in zip(*pairs, strict=True))
        return Accuracy(len(pairs), expected, seconds, median(factors))
