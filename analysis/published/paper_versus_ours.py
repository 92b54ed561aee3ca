"""The papers' tables regenerated: each printed number beside ours, with its interval, and whether they agree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.published import published
from analysis.published.printed_rows import PrintedTable, Replicates, runs_of
from analysis.statistics.intervals import Estimate, mean_interval
from analysis.statistics.thresholds import MIN_SEEDS_OF_AN_INTERVAL
from analysis.tables.table import StudyTable

CONSISTENT, NOT_CONSISTENT, NOT_DECIDABLE, NOT_RUN = "consistent", "not consistent", "not decidable", "not run"

LOGARITHMIC = ("lambda1_theta", "lambda1_x", "grad_x_norm")
"""Positive quantities that spread by factors: geometric means, intervals of the logarithm."""

COLUMNS = [
    "table", "model", "row", "split", "metric", "eps", "paper", "rounding", "ours", "low", "high", "seeds",
    "difference", "stable", "verdict", "protocol", "note",
]  # fmt: skip


@dataclass(frozen=True)
class TableComparison:
    """One printed table read with one of our models. `cells`: a row a printed number (`COLUMNS`)."""

    table: PrintedTable
    model: str
    cells: pd.DataFrame

    @property
    def was_run(self) -> bool:
        """Whether any of its numbers has one of ours beside it."""
        return bool((self.cells["seeds"] > 0).any())


def compare(study: StudyTable, table: PrintedTable, model: str) -> TableComparison:
    """`table` beside the runs of `model` (ours for the model that the table prints).

    A printed number is consistent where it lies within our 95 % interval over seeds (Student's t), widened by the
    rounding of the print; with fewer than two seeds that is not decidable. A wide interval is consistent with much.
    """
    printed = published()
    printed = printed[(printed["table"] == table.table) & (printed["model"] == table.printed_model)]
    found = runs_of(study, table, model)
    rows = []
    for cell in printed.to_dict("records"):
        label = table.row(cell)
        run = found.get(label)
        rows.append(_cell(table, model, label, cell, run))
    return TableComparison(table, model, pd.DataFrame(rows, columns=COLUMNS))


def _cell(
    table: PrintedTable, model: str, label: str, cell: Mapping[Any, Any], run: Replicates | None
) -> dict[str, Any]:
    question = (str(cell["metric"]), str(cell["split"]), None if pd.isna(cell["eps"]) else float(cell["eps"]))
    paper, rounding = float(cell["value_std"]), float(cell["rounding"])
    ours, low, high, seeds = _summary(run.values(*question, "ce") if run else [], question[0])
    stable = _summary(run.values(*question, "stable") if run and question[2] is not None else [], question[0])[0]
    verdict = NOT_RUN if not seeds else NOT_DECIDABLE
    if seeds >= MIN_SEEDS_OF_AN_INTERVAL:
        inside = low - rounding <= paper <= high + rounding
        verdict = CONSISTENT if inside else NOT_CONSISTENT
    return {
        "table": table.table,
        "model": model,
        "row": label,
        "split": question[1],
        "metric": question[0],
        "eps": question[2],
        "paper": paper,
        "rounding": rounding,
        "ours": ours,
        "low": low,
        "high": high,
        "seeds": seeds,
        "difference": ours - paper,
        "stable": stable,
        "verdict": verdict,
        "protocol": run.protocol if run else "",
        "note": "" if pd.isna(cell["note"]) else str(cell["note"]),
    }


def _summary(values: list[float], metric: str) -> Estimate:
    known = np.array([value for value in values if np.isfinite(value)], dtype=float)
    if metric not in LOGARITHMIC:
        return mean_interval(known)
    if not (known > 0).all():
        return mean_interval([])
    found = mean_interval(np.log(known))
    mean, low, high = (float(np.exp(one)) for one in found[:3])
    return Estimate(mean, low, high, found.n)
