"""A simulated study with planted effects, written as the row files that workers write.

The effects, per doubling of the batch size from 64:

- at a constant learning rate log2 lambda1 rises by .5, the logit of adversarial accuracy falls by .25 and clean
  accuracy falls by .2 points: sharper networks are less robust;
- at a constant ratio of rate to batch size (the `lr_bs` curves) nothing changes;
- on the curve `EXCEPTION` alone adversarial accuracy rises with lambda1, so every confirmed counterexample is there.

Every trial adds seed noise to all of it. One trial in a hundred diverged, and trials of the grid beyond the number of
rows are planned but missing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.statistics.thresholds import MIN_SEEDS
from search_spaces import (
    HEADLINE_EPSILON,
    AttackProbe,
    Grid,
    InputCurvatureProbe,
    InputHessianProbe,
    LandscapeProbe,
    Planned,
    Probe,
    Request,
    SpectrumProbe,
    Trial,
    plan,
)
from study.results.folder import Results
from study.results.rows import new_row
from study.results.schema import Row

GRID = "full"
"""The grids natural_training, sgd_variants and large_batch, merged."""

EXCEPTION = {"dataset": "fashion-mnist", "model": "stdcnn", "regime": "lr", "momentum": 0.0}
"""The curve that the natural-training paper (2020), section 3.2, calls its exception."""

DIVERGED_SHARE = 0.01
CURVATURE_SLOPE, ROBUSTNESS_SLOPE, CLEAN_SLOPE = 0.5, -0.25, -0.002
CURVATURE_NOISE, ROBUSTNESS_NOISE, CLEAN_NOISE = 0.25, 0.1, 0.001

_GRID_POINTS = 21
_CLEAN = 0.97
_MARGIN = {"fgsm": 2.0, "pgd": 1.0}
"""Logit of adversarial accuracy at batch 64 and epsilon 0; 1.5 for the other attacks."""


def planned(rows: int) -> tuple[Request, Grid]:
    """The full grid with as many seeds as that many rows need."""
    cells = len(plan(Request(GRID, seeds=(0,))))
    # fewer seeds decide nothing, so a small study has fewer cells instead
    request = Request(GRID, seeds=tuple(range(max(MIN_SEEDS, -(-rows // cells)))))
    return request, plan(request)


def write_study(rows: int, folder: Path) -> None:
    """Write `rows` trials of `planned(rows)`, spread over the grid, with their study.json, into a results folder."""
    results = Results(folder)
    results.create()
    request, grid = planned(rows)
    results.write_study({"requests": [request.to_dict()]})
    trials = list(grid.values())
    chosen = np.linspace(0, len(trials) - 1, rows).round().astype(int) if rows >= 2_000 else np.arange(rows)
    for number in chosen.tolist():
        rng = np.random.default_rng(number)
        results.write_row(planted_row(trials[number], rng))
        arrays = dict(_arrays(trials[number], rng))
        if arrays:
            results.write_arrays(trials[number].trial.trial_id, arrays)


def planted_row(planned: Planned, rng: np.random.Generator) -> Row:
    """The row of one trial."""
    trial = planned.trial
    row = new_row(planned) | {"device": "cpu", "dtype": "float32", "threads": 1, "deterministic": True}
    if rng.random() < DIVERGED_SHARE:
        return row | {"status": "diverged", "status_reason": "planted", "epochs_done": 3}
    doublings = 0.0 if "lr_bs" in planned.regimes else math.log2(trial.batch_size / 64)
    log2_lambda1 = 3 + CURVATURE_SLOPE * doublings + CURVATURE_NOISE * rng.normal()
    clean = float(np.clip(_CLEAN + CLEAN_SLOPE * doublings + CLEAN_NOISE * rng.normal(), 0, 1))
    slope = -ROBUSTNESS_SLOPE if _exceptional(planned) else ROBUSTNESS_SLOPE
    margin = slope * doublings + ROBUSTNESS_NOISE * rng.normal() + (trial.adversarial_training != "none")
    lambda1 = 2.0**log2_lambda1
    row |= {
        "status": "ok",
        "epochs_done": trial.epochs,
        "steps": trial.epochs * (trial.train_size // trial.batch_size),
        "gradient_equivalents": float(trial.epochs * trial.train_size),
        "reached_target": None if trial.target_loss is None else True,
        "train_loss": 0.05 * 2.0 ** (0.02 * rng.normal()),
        "train_acc": min(1.0, clean + 0.01),
        "val_acc": clean,
        "test_loss": 0.1,
        "test_acc": round(clean * trial.test_size) / trial.test_size,
        "weight_norm": 20.0 + 0.1 * rng.normal(),
        "n_params": 506_050,
        "history": _history(trial),
        "lambda1_train": lambda1,
        "lambda1_test": 1.05 * lambda1,
        "attacks": _attacks(planned, clean, margin, rng),
        "spectra": [_spectrum(probe, lambda1) for probe in _probes(planned, SpectrumProbe)],
        "landscapes": [_landscape(probe) for probe in _probes(planned, LandscapeProbe)],
        "train_seconds": 60.0,
        "probe_seconds": 30.0,
    }
    for probe in _probes(planned, InputCurvatureProbe):
        row |= {f"lambda1_x_{probe.split}": lambda1 / 10, f"grad_x_norm_{probe.split}": 0.1}
    if _probes(planned, InputHessianProbe):
        row |= {"psd_violation": 1e-12, "rank_max": 9}
    return row


def _exceptional(planned: Planned) -> bool:
    trial = planned.trial
    here = all(getattr(trial, name) == EXCEPTION[name] for name in ("dataset", "model", "momentum"))
    return here and EXCEPTION["regime"] in planned.regimes


def _probes(planned: Planned, kind: type[Probe]) -> list[Any]:
    return sorted(probe for probe in planned.probes if isinstance(probe, kind))


def _history(trial: Trial) -> list[dict[str, Any]]:
    losses = 2.3 / np.arange(1, trial.epochs + 1)
    return [
        {"epoch": epoch, "lr": trial.learning_rate, "train_loss": loss, "val_acc": 1 - loss / 3}
        for epoch, loss in enumerate(losses.tolist(), start=1)
    ]


def _attacks(planned: Planned, clean: float, margin: float, rng: np.random.Generator) -> list[dict[str, Any]]:
    # shared by the attacks on one network: an image that a weak attack fools is also fooled by a strong one
    hardness = {split: rng.random(getattr(planned.trial, f"{split}_size")) for split in ("test", "train")}
    usual = HEADLINE_EPSILON[planned.trial.dataset]
    return [
        _attack(probe, clean * _share(probe, margin, usual), hardness[probe.split])
        for probe in _probes(planned, AttackProbe)
    ]


def _share(probe: AttackProbe, margin: float, usual: float) -> float:
    """Share of the correctly classified images that still are under the attack."""
    logit = _MARGIN.get(probe.attack, 1.5) + margin - 2.5 * probe.epsilon / usual + (probe.source == "parent")
    return 1 / (1 + math.exp(-logit))


def _attack(probe: AttackProbe, accuracy: float, hardness: NDArray[np.float64]) -> dict[str, Any]:
    right = hardness < accuracy
    iterated = probe.attack == "pgd"
    return {
        **asdict(probe),
        "radius": probe.epsilon,
        "norm": "l2" if probe.attack.startswith("l2") else "linf",
        "steps": probe.steps if iterated else 1,
        "step_size": probe.epsilon / 30 if iterated else probe.epsilon,
        "random_start": iterated,
        "n": right.size,
        "correct": int(right.sum()),
        "accuracy": float(right.mean()),
        "zero_grad_fraction": 0.0,
        "saturated_fraction": 0.0,
        "seconds": 1.0,
        "correct_bits": np.packbits(right).tobytes(),
    }


def _spectrum(probe: SpectrumProbe, lambda1: float) -> dict[str, Any]:
    top = lambda1 * (1.05 if probe.split == "test" else 1.0)
    return {
        "split": probe.split,
        "subset_size": probe.subset_size,
        "draw": probe.draw,
        "eigenvalues": [top / (k + 1) for k in range(probe.count)],
        "residuals": [1e-4] * probe.count,
        "method": "lanczos",
        "tolerance": probe.tolerance,
        "matvecs": 9 * probe.count,
        "converged": True,
        "converged_each": [True] * probe.count,
        "seconds": 2.0,
    }


def _landscape(probe: LandscapeProbe) -> dict[str, Any]:
    name = f"{probe.kind}_{probe.split}_{probe.subset_size}_{probe.hessian_size}"
    return {**asdict(probe), "offsets": f"{name}_o", "losses": f"{name}_l", "seconds": 5.0}


def _arrays(planned: Planned, rng: np.random.Generator) -> Iterator[tuple[str, NDArray[np.float64]]]:
    for probe in _probes(planned, LandscapeProbe):
        entry, offsets = _landscape(probe), np.linspace(-1, 1, _GRID_POINTS)
        bowl = 0.1 + rng.random() * offsets**2
        yield entry["offsets"], offsets
        yield entry["losses"], bowl[:, None] + bowl if probe.kind == "plane" else bowl
