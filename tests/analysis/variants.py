"""Planted rows of Choudhary's study (2020), cell by cell as its grid has them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from analysis.claims.curves import Setting
from search_spaces import Trial
from search_spaces.sgd_variants import EPSILONS, SGD_VARIANTS
from study.results.schema import Row
from tests.analysis.synthetic import Curve, flat, line, row

COST = {"sgd": 1.0, "svrg": 3.0, "msgd": 1.0, "selective_backprop": 2 / 3, "adam": 1.0, "adamw": 1.0}
"""Gradients of one image for each image of an epoch, about as each optimizer needs."""


@dataclass(frozen=True)
class Level:
    """What a setting reaches: planted means along log2(batch / 16), lambda1 as log2."""

    clean: Curve
    fgsm: Curve
    pgd: Curve
    lambda1: Curve


def level(clean: float = 0.9, fgsm: float = 0.4, pgd: float | None = None, lambda1: float = 4.0) -> Level:
    """The same at every batch size; PGD a tenth under FGSM unless given."""
    return Level(flat(clean), flat(fgsm), flat(fgsm - 0.1 if pgd is None else pgd), flat(lambda1))


FALLING = Level(line(0.99, -0.01), line(0.6, -0.05), line(0.5, -0.04), line(1.0, 0.8))
RISING = Level(line(0.90, 0.01), line(0.3, 0.05), line(0.2, 0.04), line(6.0, -0.8))
STEADY = level(0.98)


@cache
def _grid() -> dict[tuple[str, Setting], tuple[Trial, ...]]:
    return {
        (c.cells[0].dataset, Setting.of(c.cells[0].to_dict() | {"regime": c.regime})): c.cells
        for c in SGD_VARIANTS.curves
    }


def planned_settings(dataset: str) -> list[Setting]:
    """The settings that the grid has on a data set."""
    return [setting for planned, setting in _grid() if planned == dataset]


@cache
def _labels() -> dict[str, tuple[str, ...]]:
    labels: dict[str, list[str]] = {}
    for curve in SGD_VARIANTS.curves:
        for cell in curve.cells:
            labels.setdefault(cell.trial_id, []).append(curve.regime)
    return {trial_id: tuple(found) for trial_id, found in labels.items()}


def rows(
    dataset: str,
    levels: dict[Setting, Level],
    *,
    seeds: tuple[int, ...] = (0, 1, 2),
    noise: float = 0.003,
    lambda_noise: float = 0.05,
    diverged: tuple[tuple[Setting, int], ...] = (),
    epochs: int = 100,
    only: tuple[int, ...] = (),
) -> list[Row]:
    """The rows of these settings at every batch size of the grid (or `only` some); a cell in `diverged` diverged.

    A run on two curves has the level of the setting that comes first.
    """
    rng = np.random.default_rng(0)
    made: dict[str, Row] = {}
    for setting, planted in levels.items():
        for cell in _grid()[dataset, setting]:
            if only and cell.batch_size not in only:
                continue
            lost = (setting, cell.batch_size) in diverged
            for seed in seeds:
                trial = replace(cell, seed=seed, epochs=epochs)
                draws = rng.normal(size=4)
                if trial.trial_id not in made:
                    labels = _labels()[cell.trial_id]
                    made[trial.trial_id] = _row(trial, planted, draws, noise, lambda_noise, labels, lost)
    return list(made.values())


def _row(
    trial: Trial,
    planted: Level,
    draws: np.ndarray,
    noise: float,
    lambda_noise: float,
    labels: tuple[str, ...],
    lost: bool,
) -> Row:
    x = float(np.log2(trial.batch_size / 16))
    means = {"fgsm": planted.fgsm(x) + noise * draws[0], "pgd": planted.pgd(x) + noise * draws[1]}
    made = row(
        trial,
        clean=float(np.clip(planted.clean(x) + noise / 3 * draws[2], 0, 1)),
        attacks={(name, loss): means[name] for name in means for loss in ("ce", "stable")},
        log2_lambda1=planted.lambda1(x) + lambda_noise * draws[3],
        regimes=labels,
        spaces=("sgd_variants",),
        status="diverged" if lost else "ok",
    )
    if lost:
        return made
    cost = COST[trial.optimizer] * trial.epochs * trial.train_size
    attacks = [a | {"epsilon": e} for e in EPSILONS[trial.dataset] for a in made["attacks"]]
    return made | {"attacks": attacks, "gradient_equivalents": cost, "steps": cost // trial.batch_size}
