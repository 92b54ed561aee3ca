"""The papers' tables compared with ours: each printed number beside our mean, and whether it could be our run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.published import published
from analysis.published.printed_rows import PRINTED, PrintedTable, Replicates
from analysis.statistics.intervals import Estimate, mean_interval
from analysis.tables.table import StudyTable
from analysis.tables.words import name

CONSISTENT, NOT_CONSISTENT, NOT_DECIDABLE, NOT_RUN = "consistent", "not consistent", "not decidable", "not run"

LOGARITHMIC = ("lambda1_theta", "lambda1_x", "grad_x_norm")
"""Positive quantities that vary by factors: geometric means, intervals of the logarithm."""

COLUMNS = [
    "table", "model", "row", "split", "metric", "eps", "paper", "rounding", "ours", "low", "high", "seeds",
    "difference", "stable", "verdict", "protocol", "note",
]  # fmt: skip


@dataclass(frozen=True)
class TableComparison:
    """One printed table read with one of our models. `cells`: a row per printed number (`COLUMNS`)."""

    table: PrintedTable
    model: str
    cells: pd.DataFrame

    @property
    def was_run(self) -> bool:
        """Whether any of its numbers has one of ours beside it."""
        return bool((self.cells["seeds"] > 0).any())

    @property
    def title(self) -> str:
        """The heading of the table; with our model if several of ours can be meant by the paper's."""
        reading = f", read as {name(self.model)}" if len(self.table.models) > 1 else ""
        return f"{self.table.title}{reading}"

    @property
    def splits(self) -> list[str]:
        """The splits on which it prints numbers."""
        return [split for split in ("train", "test") if (self.cells["split"] == split).any()]

    @property
    def by_batch_size(self) -> bool:
        """Whether its rows are batch sizes; else they are networks."""
        return str(self.cells["row"].iloc[0]).isdigit()


def quantity(cell: Mapping[Any, Any]) -> tuple[str, float | None]:
    """Metric and epsilon of a row of `TableComparison.cells`; no epsilon: not attacked."""
    return str(cell["metric"]), None if pd.isna(cell["eps"]) else float(cell["eps"])


HEADINGS = {
    "clean_acc": "Clean accuracy, %",
    "lambda1_theta": "λ₁",
    "lambda1_x": "λ₁ of the input",
    "grad_x_norm": "Input gradient",
    "mean_adv_acc": "Mean of attacks, %",
}


def heading(cell: Mapping[Any, Any]) -> str:
    """What such a row is about, in words: "FGSM, ε = 0.1, %"."""
    metric, epsilon = quantity(cell)
    at = "" if epsilon is None else f", ε = {epsilon:g}"
    return HEADINGS.get(metric) or f"{name(metric.removesuffix('_acc'))}{at}, %"


def shown(cell: Mapping[Any, Any], number: str, sign: str = "") -> str:
    """One of its numbers: the paper's as printed, ours with at most two decimals or, if `LOGARITHMIC`, three digits.

    A dash for an absent one. `sign`: "+" for differences.
    """
    value = cell[number]
    if pd.isna(value):
        return "–"
    printed = max(0, round(-math.log10(2 * cell["rounding"])))  # half a unit of the last digit
    if number == "paper":
        text = f"{value:.{printed}f}"
    elif cell["metric"] in LOGARITHMIC:
        text = f"{float(f'{value:.3g}'):{sign},.6g}"
    else:
        text = f"{value:{sign}.{min(2, max(1, printed))}f}"
    return text.replace("-", "−")


def comparisons(study: StudyTable) -> list[TableComparison]:
    """Every printed table beside the runs of each of its models, the other readings of one included."""
    return study.once(
        "comparisons", lambda: [compare(study, printed, model) for printed in PRINTED for model in printed.models]
    )


def compare(study: StudyTable, table: PrintedTable, model: str) -> TableComparison:
    """`table` beside the runs of `model` (ours for the model that the table prints).

    A printed number is consistent if it lies where one more run of ours would, with 95 % probability (the prediction
    interval of Student's t), widened by the rounding of the print; with fewer than two seeds that is not decidable. The
    paper prints one number, which has the noise of a run: the interval of our mean, which shrinks as seeds are added,
    excludes a true agreement in 16 % of studies with three seeds and in 46 % with eight. A wide interval is consistent
    with many numbers.
    """
    printed = published()
    printed = printed[(printed["table"] == table.table) & (printed["model"] == table.printed_model)]
    found = table.rows(study, table.dataset, model)
    rows = [_cell(table, model, cell, found.get(table.row(cell))) for cell in printed.to_dict("records")]
    return TableComparison(table, model, pd.DataFrame(rows, columns=COLUMNS))


def _cell(table: PrintedTable, model: str, cell: Mapping[Any, Any], run: Replicates | None) -> dict[str, Any]:
    metric, epsilon = quantity(cell)
    split, paper, rounding = str(cell["split"]), float(cell["value_std"]), float(cell["rounding"])
    ours, low, high, seeds = _summary(run.values(metric, split, epsilon, "ce") if run else [], metric)
    attacked = run is not None and epsilon is not None
    stable = _summary(run.values(metric, split, epsilon, "stable") if run and attacked else [], metric)
    verdict = NOT_RUN if not seeds else NOT_DECIDABLE
    if np.isfinite(low):
        verdict = CONSISTENT if low - rounding <= paper <= high + rounding else NOT_CONSISTENT
    return {
        "table": table.table,
        "model": model,
        "row": table.row(cell),
        "split": split,
        "metric": metric,
        "eps": epsilon,
        "paper": paper,
        "rounding": rounding,
        "ours": ours,
        "low": low,
        "high": high,
        "seeds": seeds,
        "difference": ours - paper,
        "stable": stable.estimate,
        "verdict": verdict,
        "protocol": run.protocol if run else "",
        "note": "" if pd.isna(cell["note"]) else str(cell["note"]),
    }


def _summary(values: list[float], metric: str) -> Estimate:
    known = np.array([value for value in values if np.isfinite(value)], dtype=float)
    if metric not in LOGARITHMIC:
        return mean_interval(known, new=True)
    if not (known > 0).all():
        return Estimate(np.nan, np.nan, np.nan, known.size)  # measured, but without a logarithm
    found = mean_interval(np.log(known), new=True)
    mean, low, high = (float(np.exp(one)) for one in found[:3])
    return Estimate(mean, low, high, found.n)
