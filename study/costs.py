"""How long work will take: a model of seconds per trial, calibrated by the rows that are already there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from statistics import median

from search_spaces import AttackProbe, Planned, Probe, SpectrumProbe
from study.schema import Row

STEP_SECONDS = 2e-3
"""Overhead of one optimizer step on one CPU core, whatever the batch size. Measured by benchmarks/costs.py."""

IMAGE_SECONDS: Mapping[str, float] = {
    "m1": 3.5e-4,
    "m1_20": 1.4e-4,
    "m1_8": 7e-5,
    "stdcnn": 5e-4,
    "c1": 4.5e-3,
    "resnet18": 6.4e-2,
}
"""Forward and backward pass of one image in training on one CPU core. Measured by benchmarks/costs.py."""

UNKNOWN_IMAGE_SECONDS = 1e-3
"""For a model that was never measured."""

ATTACK_SHARE = 0.9
"""A pass of an attack relative to a training pass of the same images. Measured by benchmarks/costs.py: .7 to 1.2."""

HVP_SHARE = 2.4
"""A Hessian-vector product relative to a training pass. Measured by benchmarks/costs.py: 1.7 to 3.6."""

MATVECS = 9
"""Lanczos products that lambda1 usually takes: 5 to 12 in the smoke study."""

ATTACK_PASSES: Mapping[str, int] = {"fgsm": 2, "pgd": 41}


def train_seconds(planned: Planned) -> float:
    """Training alone, on one CPU core."""
    trial = planned.trial
    steps = trial.epochs * -(-trial.train_size // trial.batch_size)
    images = trial.epochs * (trial.train_size + trial.val_size / 3)
    return steps * STEP_SECONDS + images * _image_seconds(trial.model)


def probe_seconds(planned: Planned) -> float:
    """The planned probes alone, on one CPU core."""
    trial = planned.trial
    sizes = {"train": trial.train_size, "test": trial.test_size}
    passes = sum(_passes(probe, sizes) for probe in planned.probes)
    return passes * _image_seconds(trial.model)


def _image_seconds(model: str) -> float:
    return IMAGE_SECONDS.get(model, UNKNOWN_IMAGE_SECONDS)


def _passes(probe: Probe, sizes: Mapping[str, int]) -> float:
    """Training passes of one image that cost as much as the probe."""
    if isinstance(probe, AttackProbe):
        return sizes[probe.split] * ATTACK_PASSES.get(probe.attack, 41) * ATTACK_SHARE
    assert isinstance(probe, SpectrumProbe)
    return probe.subset_size * HVP_SHARE * MATVECS * (1 + probe.count / 5)


class CostModel:
    """Expected seconds of planned work, the built-in figures scaled by what stored rows took, model by model."""

    def __init__(self, grid: Mapping[str, Planned] | None = None, rows: Iterable[Row] = ()) -> None:
        ratios: dict[str, list[float]] = {}
        self._trained: set[str] = set()
        for row in rows:
            if row["status"] == "ok":
                self._trained.add(row["trial_id"])
            planned = (grid or {}).get(row["trial_id"])
            if planned is not None and row["status"] == "ok" and row["train_seconds"]:
                expected = train_seconds(planned)
                ratios.setdefault(planned.trial.model, []).append(row["train_seconds"] / expected)
        self.scale = {model: median(found) for model, found in ratios.items()}

    def seconds(self, planned: Planned) -> float:
        """Expected seconds of one trial: of its probes alone when a stored row says that it is trained."""
        trained = planned.trial.trial_id in self._trained
        expected = probe_seconds(planned) + (0.0 if trained else train_seconds(planned))
        return expected * self.scale.get(planned.trial.model, 1.0)
