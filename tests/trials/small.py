"""A trial small enough for a test: 120 digits, a few steps."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from search_spaces import AttackProbe, Planned, Probe, SpectrumProbe, Trial
from study.data import load, split
from study.results.folder import Results
from study.trials.device_data import DeviceData

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


def results_in(folder: Path) -> Results:
    """A new results folder."""
    results = Results(folder)
    results.create()
    return results


TIMES = ("started_at", "finished_at", "train_seconds", "probe_seconds", "peak_memory_bytes", "git_sha")


def timeless(row: dict[str, object]) -> dict[str, object]:
    """A row without the values in which two equal runs may differ."""
    kept = {name: value for name, value in row.items() if name not in TIMES}
    for nested in ("attacks", "spectra", "sharpness", "landscapes"):
        kept[nested] = [{k: v for k, v in entry.items() if k != "seconds"} for entry in row[nested] or ()]  # type: ignore[union-attr, attr-defined]
    return kept
