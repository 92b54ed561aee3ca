"""How long trials take: a model of seconds per trial, calibrated by the rows that are already stored."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from statistics import median

from search_spaces import (
    AttackProbe,
    InputCurvatureProbe,
    InputHessianProbe,
    LandscapeProbe,
    MinimalEpsilonProbe,
    Planned,
    Probe,
    SharpnessProbe,
    SpectrumProbe,
)
from study.results.answers import answered_probes
from study.results.schema import Row
from study.tuning.progress import duration

STEP_SECONDS = 1e-3
"""Overhead of one optimizer step on one CPU core, whatever the batch size. Measured by benchmarks/costs.py."""

IMAGE_SECONDS: Mapping[str, float] = {
    "m1": 3.5e-4,
    "m1_20": 1.4e-4,
    "m1_8": 3.2e-5,
    "mlp_256": 2e-6,
    "m1_lenet": 5e-4,
    "stdcnn": 5e-4,
    "c1": 4.5e-3,
    "c2": 6.6e-3,
    "c3": 6.5e-3,
    "resnet20": 6.1e-3,
    "resnet20_x4": 7.1e-2,
    "resnet18": 6.4e-2,
    "vgg11": 2.2e-2,
}
"""Forward and backward pass of one image in training on one CPU core. Measured by benchmarks/costs.py."""

UNKNOWN_IMAGE_SECONDS = 1e-3
"""For a model that was not measured."""

ATTACK_SHARE = 0.9
"""A pass of an attack relative to a training pass of the same images. Measured by benchmarks/costs.py: .7 to 1.2."""

HVP_SHARE = 2.4
"""A Hessian-vector product relative to a training pass. Measured by benchmarks/costs.py: 1.7 to 3.6."""

MATVECS = {1: 9, 20: 60}
"""Lanczos products by number of eigenvalues: 5 to 12 for lambda1 of an m1_8; 49 to 63 for 20 of an m1."""

UNKNOWN_PASSES = 41
"""Passes of an attack that was not measured."""

INPUT_HESSIAN_PASSES = 2000
"""Passes of one sample's whole input Hessian in float64: one product for each pixel."""

DIRECTIONS_SHARED_BY = 4
"""Landscapes of one network that share the eigenvectors of one Hessian."""

FORWARD_SHARE = 1 / 3
"""A forward pass alone relative to a training pass: one of three matrix products."""

ATTACK_PASSES: Mapping[str, float] = {
    **{"fgsm": 2, "pgd": 41, "fgsm10": 10, "l2grad": 2, "fhsm": 1.5, "l2hess": 1.5},
    **{"apgd_ce": 102, "apgd_t": 910},  # at most: fooled images are left out
}
"""Passes of an attack and of scoring it, without those of its JACOBIANS."""

JACOBIANS = ("fhsm", "l2hess")
"""Attacks that solve a Newton system, for which they take the margins' Jacobian."""

CLASS_PASSES = 0.5
"""Cost, in training passes, of one row of the margins' Jacobian; it takes classes - 1 such backward passes. Measured:
.35 to .7, on 2 to 100 classes. Input curvature costs hardly more than the Jacobian."""

MINIMAL_EPSILON_PASSES = 180
"""Passes of the search for the smallest perturbation. Measured: 149 to 180; PGD at six epsilons on two losses: 492."""

SHARPNESS_PASSES: Mapping[str, float] = {
    "adaptive_sharpness": 21,
    "adaptive_sharpness_normalised": 21,
    "relative_flatness": FORWARD_SHARE,
    "trace": 60 * HVP_SHARE,
    "density": 100 * HVP_SHARE,
}
"""Passes of a measure of sharpness: gradients, or Hessian-vector products, for each image."""

LANDSCAPE_POINTS: Mapping[str, int] = {"line": 41, "plane": 441, "interpolation": 31}
"""Forward passes: the numbers of offsets in `study.curvature.landscape`."""

GRADIENTS: Mapping[str, float] = {"svrg": 3.0, "selective_backprop": 0.6}
"""Training passes of each image per epoch, by optimizer, where not 1. Measured for selective backprop: .5 to .6."""


RECENT = 3
"""Networks by which the device that a study runs on is known."""

_UNKNOWN_TIME = datetime.min.replace(tzinfo=UTC)


def train_seconds(planned: Planned, image_seconds: Mapping[str, float] = IMAGE_SECONDS) -> float:
    """Training alone, on one CPU core."""
    trial = planned.trial
    steps = trial.epochs * -(-trial.train_size // trial.batch_size)
    passes = GRADIENTS.get(trial.optimizer, 1.0)
    if trial.adversarial_training != "none":
        passes += ATTACK_SHARE * _attack_passes(trial.adversarial_training, _jacobian_passes(trial.dataset))
    images = trial.epochs * (trial.train_size * passes + trial.val_size * FORWARD_SHARE)
    return steps * STEP_SECONDS + images * image_seconds.get(trial.model, UNKNOWN_IMAGE_SECONDS)


def probe_seconds(planned: Planned, image_seconds: Mapping[str, float] = IMAGE_SECONDS) -> float:
    """The planned probes alone, on one CPU core."""
    trial = planned.trial
    sizes, jacobian = {"train": trial.train_size, "test": trial.test_size}, _jacobian_passes(trial.dataset)
    passes = sum(_passes(probe, sizes, jacobian) for probe in planned.probes)
    return passes * image_seconds.get(trial.model, UNKNOWN_IMAGE_SECONDS)


def _jacobian_passes(dataset: str) -> float:
    """Passes of the margins' Jacobian on this data set."""
    from study.data import DATASETS  # imports torch, which takes seconds

    return CLASS_PASSES * (DATASETS[dataset].num_classes - 1 if dataset in DATASETS else 9)


def _attack_passes(attack: str, jacobian: float) -> float:
    return ATTACK_PASSES.get(attack, UNKNOWN_PASSES) + (jacobian if attack in JACOBIANS else 0.0)


def _passes(probe: Probe, sizes: Mapping[str, int], jacobian: float) -> float:
    match probe:
        case AttackProbe():
            passes = probe.steps + 1 if probe.attack == "pgd" else _attack_passes(probe.attack, jacobian)
            return sizes[probe.split] * passes * ATTACK_SHARE
        case SpectrumProbe():
            return probe.subset_size * HVP_SHARE * MATVECS.get(probe.count, 3 * probe.count)
        case InputCurvatureProbe():
            return sizes[probe.split] * jacobian
        case MinimalEpsilonProbe():
            return sizes["test"] * MINIMAL_EPSILON_PASSES * ATTACK_SHARE
        case InputHessianProbe():
            return probe.samples * INPUT_HESSIAN_PASSES
        case SharpnessProbe():
            return probe.subset_size * SHARPNESS_PASSES.get(probe.measure, UNKNOWN_PASSES)
        case LandscapeProbe():
            surface = probe.subset_size * LANDSCAPE_POINTS[probe.kind] * FORWARD_SHARE
            return surface + probe.hessian_size * HVP_SHARE * MATVECS[1] / DIRECTIONS_SHARED_BY


class CostModel:
    """Expected seconds of planned work: the figures above, scaled for each model by the times of stored rows.

    Training and probes have a scale each: networks trained as one program on a GPU take a small part of the time that
    their probes, answered one by one, do not. A model with rows of several devices is scaled by those of the device
    that trained most of the last RECENT ones.

    Attributes:
        image_seconds: of a training pass of one image, by model.
        timed: those of them that were timed on this machine.
        scale: factor of the training of each model that has rows.
        probe_scale: that of its probes; the same as of the training where no row answers any.
        devices: of the rows that were used.
        trained: ids of the trials that need no training: of those with a row whose `weights` are stored.
    """

    def __init__(
        self,
        grid: Mapping[str, Planned] | None = None,
        rows: Iterable[Row] = (),
        timed: Mapping[str, float] | None = None,
        weights: Collection[str] | None = None,
    ) -> None:
        self.timed = timed or {}
        self.image_seconds = {**IMAGE_SECONDS, **self.timed}
        runs: dict[str, list[tuple[datetime, str, float, float]]] = {}
        self.trained: set[str] = set()
        for row in rows:
            if row["status"] != "ok":
                continue
            if weights is None or row["trial_id"] in weights:
                self.trained.add(row["trial_id"])
            planned = (grid or {}).get(row["trial_id"])
            if planned is not None and row["train_seconds"]:
                ratio = row["train_seconds"] / train_seconds(planned, self.image_seconds)
                answers = probe_seconds(replace(planned, probes=answered_probes(row)), self.image_seconds)
                probe_ratio = (row.get("probe_seconds") or 0.0) / answers if answers else 0.0
                run = (row.get("started_at") or _UNKNOWN_TIME, row.get("device") or "cpu", ratio, probe_ratio)
                runs.setdefault(planned.trial.model, []).append(run)
        self.scale: dict[str, float] = {}
        self.probe_scale: dict[str, float] = {}
        found = set()
        for model, of_model in runs.items():
            newest = sorted(of_model, reverse=True)[:RECENT]
            now = Counter(device for _, device, *_ in newest).most_common(1)[0][0]
            self.scale[model] = median(ratio for _, device, ratio, _ in of_model if device == now)
            probes = [ratio for _, device, _, ratio in of_model if device == now and ratio]
            self.probe_scale[model] = median(probes) if probes else self.scale[model]
            found.add(now)
        self.devices = sorted(found)

    def with_trained(self, trial_ids: Iterable[str]) -> CostModel:
        """The same model when these trials are trained as well."""
        other = copy.copy(self)
        other.trained = self.trained | set(trial_ids)
        return other

    def seconds(self, planned: Planned) -> float:
        """Expected seconds of one trial: of its probes alone when its weights are stored."""
        probes = probe_seconds(planned, self.image_seconds) * self.probe_scale.get(planned.trial.model, 1.0)
        return probes + self.training_seconds(planned)

    def training_seconds(self, planned: Planned) -> float:
        """Expected seconds of one trial's training; 0 when its weights are stored."""
        if planned.trial.trial_id in self.trained:
            return 0.0
        return train_seconds(planned, self.image_seconds) * self.scale.get(planned.trial.model, 1.0)

    def knows(self, planned: Planned) -> bool:
        """Whether the estimate rests on measurements: of the model, and of every attack on it."""
        trial, attacks = planned.trial, {probe.attack for probe in planned.probes if isinstance(probe, AttackProbe)}
        attacks |= {trial.adversarial_training} - {"none"}
        return self.knows_model(trial.model) and attacks <= ATTACK_PASSES.keys()

    def knows_model(self, model: str) -> bool:
        """Whether this model was measured, by the authors, by a timed step or by a stored row."""
        return model in self.image_seconds or model in self.scale

    def summary(self, work: Collection[Planned], cores: int = 1) -> str:
        """The estimate for all of `work` in one line that says which machine it is for, and on how many cores of it."""
        total = sum(map(self.seconds, work))
        if self.devices and self.devices != ["cpu"]:
            devices = " and ".join(self.devices)
            return f"{duration(total)} for one trial at a time on {devices} (estimated from stored results)"
        source = "stored results" if self.scale else "steps timed here" if self.timed else "the authors' machine"
        together = f", {duration(total / cores)} on {cores}" if cores > 1 else ""
        return f"{duration(total)} on one core{together} (estimated from {source})"
