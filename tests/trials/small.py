"""A trial small enough for a test: 120 digits, a few steps."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import pytest

from search_spaces import AttackProbe, Planned, Probe, SpectrumProbe, Trial
from study.data import load, split
from study.results.folder import Results
from study.trials.device_data import DeviceData
from study.trials.execute import execute
from study.trials.train import TrialSettings

SIZES = {"train_size": 120, "val_size": 40, "test_size": 50}


def trial(**changes: object) -> Trial:
    values: dict[str, object] = {
        "dataset": "digits", "model": "m1_8", "learning_rate": 0.05, "batch_size": 32, "epochs": 4, **SIZES,
    }  # fmt: skip
    return Trial(**{**values, **changes})  # type: ignore[arg-type]


def probes(epsilon: float = 0.1) -> frozenset[Probe]:
    attacks = [AttackProbe(a, epsilon, loss) for a in ("fgsm", "pgd") for loss in ("ce", "stable")]
    return frozenset([*attacks, SpectrumProbe("train", 120), SpectrumProbe("test", 50)])


def planned(one: Trial | None = None, asked: frozenset[Probe] | None = None) -> Planned:
    return Planned(one or trial(), probes() if asked is None else asked, ("smoke",), ("lr",))


@cache
def tensors() -> DeviceData:
    whole = load("digits", "unused")
    return DeviceData.of(split(whole, **SIZES), whole.sha256)


class KilledError(Exception):
    """What ends a training as the loss of its process does."""


def interrupted(one: Planned, data: DeviceData, results: Results, after: int, **options: Any) -> None:
    """Execute a trial until it has reported this epoch, whose checkpoint stays."""

    def kill(metrics: Mapping[str, Any]) -> None:
        if metrics.get("epoch") == after:
            raise KilledError

    with pytest.raises(KilledError):
        execute(one, data, results, report=kill, settings=TrialSettings(checkpoint_seconds=0.0, **options))


TIMES = ("started_at", "finished_at", "train_seconds", "probe_seconds", "peak_memory_bytes", "git_sha")


def timeless(row: dict[str, object]) -> dict[str, object]:
    """A row without the values in which two equal runs may differ."""
    kept = {name: value for name, value in row.items() if name not in TIMES}
    for nested in ("attacks", "spectra", "sharpness", "landscapes"):
        kept[nested] = [{k: v for k, v in entry.items() if k != "seconds"} for entry in row[nested] or ()]  # type: ignore[union-attr, attr-defined]
    return kept
