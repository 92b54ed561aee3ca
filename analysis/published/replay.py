"""The papers' printed numbers as a study of their own, on which their claims can be judged.

The papers print one number a network and no seeds. Our choice: three pseudo-seeds whose mean is the printed number and
whose standard deviation is `CLEAN_NOISE`, `ATTACK_NOISE` or `CURVATURE_NOISE`, drawn by a fixed generator.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any

import numpy as np

from analysis.published import published
from analysis.published.printed_rows import PRINTED, VARIANTS
from analysis.tables.robust_networks import printed_name
from analysis.tables.table import StudyTable, from_rows
from search_spaces import Trial
from search_spaces.large_batch import LARGE_BATCH, SPECTRUM_TOLERANCE
from search_spaces.sgd_variants import SGD_VARIANTS
from study.results.schema import SCHEMA_VERSION, Row, empty_row

CLEAN_NOISE = 0.2
"""Standard deviation over seeds of clean accuracy, in points. Our choice."""

ATTACK_NOISE = 0.5
"""Standard deviation over seeds of accuracy under attack, in points. Our choice."""

CURVATURE_NOISE = 0.05
"""Standard deviation over seeds of the logarithm of an eigenvalue or of a gradient's norm. Our choice."""

SEEDS = (0, 1, 2)
GENERATOR_SEED = 0

COLUMNS = {"clean_acc": "acc", "lambda1_theta": "lambda1", "lambda1_x": "lambda1_x", "grad_x_norm": "grad_x_norm"}
"""Printed metric -> column of a row, without the split."""

Cell = Mapping[Any, Any]


@cache
def printed_study() -> StudyTable:
    """Every printed network with its pseudo-seeds, at its paper's protocol; attacks on the published loss alone."""
    printed = published()
    generator = np.random.default_rng(GENERATOR_SEED)
    rows: list[Row] = []
    for _, numbers in printed.groupby(["table", "model", "variant", "batch_size"], dropna=False, sort=False):
        cells = numbers.to_dict("records")
        trial, regime, space = _trial(cells[0])
        draws = [_standardised(generator) for _ in cells]
        rows += [
            _row(trial.with_seed(seed), regime, space, zip(cells, (float(z[seed]) for z in draws), strict=True))
            for seed in SEEDS
        ]
    return from_rows(rows)


def _standardised(generator: np.random.Generator) -> np.ndarray:
    """A draw for each seed, shape (3,), of mean 0 and standard deviation 1 exactly."""
    draws = generator.normal(size=len(SEEDS))
    draws -= draws.mean()
    return np.asarray(draws / draws.std(ddof=1))


def _trial(cell: Cell) -> tuple[Trial, str, str]:
    """The trial of a printed row, the regime of its curve and its space."""
    table, variant = str(cell["table"]), str(cell["variant"])
    if table == "Choudhary-T2":
        wanted = {"dataset": "cifar10", "batch_size": 128, "momentum": 0.0, "weight_decay": 0.0}
        wanted |= VARIANTS[variant.split(" | ")[-1]]
        space = SGD_VARIANTS
    else:
        of = next(t for t in PRINTED if (t.table, t.printed_model) == (table, cell["model"]))
        wanted, space = {"dataset": of.dataset, "model": of.models[0]}, LARGE_BATCH  # of two readings the first one
        if variant == "natural":
            wanted |= {"regime": "lr", "batch_size": int(cell["batch_size"])}
        else:
            wanted |= {"target_loss": None, "name": variant}
    for curve in space.curves:
        for trial in curve.cells:
            known = trial.to_dict() | {"regime": curve.regime, "name": printed_name(trial.adversarial_training)}
            if all(known[key] == value for key, value in wanted.items()):
                return trial, curve.regime, space.name
    raise LookupError(f"no cell of the grid is the printed row {table}, {variant}")


def _row(trial: Trial, regime: str, space: str, numbers: Iterable[tuple[Cell, float]]) -> Row:
    row = empty_row() | trial.to_dict()
    row |= {
        "schema_version": SCHEMA_VERSION,
        "trial_id": trial.trial_id,
        "cell_id": trial.cell_id,
        "spaces": [space],
        "regimes": [regime],
        "status": "ok",
        "lr_bs_ratio": trial.lr_bs_ratio,
        "epochs_done": trial.epochs,
        "reached_target": None if trial.target_loss is None else True,
        "attacks": [],
        "spectra": [],
    }
    for cell, z in numbers:
        metric, value = str(cell["metric"]), float(cell["value_std"])
        # Choudhary does not say on which images the Hessian is taken: the printed number stands for both
        either = metric == "lambda1_theta" and str(cell["table"]) == "Choudhary-T2"
        for split in ("train", "test") if either else (str(cell["split"]),):
            if metric == "clean_acc":
                row[f"{split}_acc"] = float(np.clip(value + CLEAN_NOISE * z, 0, 100)) / 100
            elif metric in COLUMNS:
                row[f"{COLUMNS[metric]}_{split}"] = value * float(np.exp(CURVATURE_NOISE * z))
            elif metric != "mean_adv_acc":  # the mean of the five attacks beside it
                row["attacks"].append(
                    _attack(trial, metric.removesuffix("_acc"), split, cell, value + ATTACK_NOISE * z)
                )
    row["spectra"] = list(_spectra(trial, row))
    return row


def _attack(trial: Trial, attack: str, split: str, cell: Cell, percent: float) -> Row:
    n = trial.test_size if split == "test" else trial.train_size
    correct = round(float(np.clip(percent, 0, 100)) / 100 * n)
    return {
        "attack": attack,
        "loss": "ce",
        "split": split,
        "source": "self" if trial.parent is None else "parent",  # Tables 3 and 4 attack with images made of M_ORI
        "epsilon": float(cell["eps"]),
        "n": n,
        "correct": correct,
        "accuracy": correct / n,
        "zero_grad_fraction": 0.0,
    }


def _spectra(trial: Trial, row: Row) -> Iterator[Row]:
    for split, size in (("train", trial.train_size), ("test", trial.test_size)):
        if row[f"lambda1_{split}"] is not None:
            yield {
                "split": split,
                "subset_size": size,
                "draw": 0,
                "eigenvalues": [row[f"lambda1_{split}"]],
                "residuals": [SPECTRUM_TOLERANCE],
                "tolerance": SPECTRUM_TOLERANCE,
                "converged": True,
                "converged_each": [True],
            }
