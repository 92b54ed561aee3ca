"""The cells that the charts show, by id: what each is, and its trials; a tooltip names them, a mark links by them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

import pandas as pd

from analysis.figures.identity import CURVE_COLUMNS, curve_id
from analysis.reports.budgets import PLACE, OptimizerComparison, OptimizerRun
from analysis.tables.table import StudyTable
from analysis.tables.words import name
from analysis.theme import optimizer_style, regime_style

Run = dict[Any, Any]

_READ = [*dict.fromkeys(("cell_id", "regime", "seed", "trial_id", "status", "batch_size", *CURVE_COLUMNS))]


def cells_block(table: StudyTable) -> str:
    """JSON: cell id -> [what it is, keys of its curves, [[seed, trial id, state unless ok], ...]]."""
    points = table.points[_READ].sort_values(["cell_id", "regime", "seed"]).to_dict("records")
    cells = {}
    for cell_id, found in groupby(points, key=lambda run: str(run["cell_id"])):
        runs = list(found)
        regimes = {str(run["regime"]): run for run in reversed(runs)}  # of each regime its first run
        cells[cell_id] = [
            _title(runs[0], sorted(regimes)),
            [curve_id(regimes[r]) for r in sorted(regimes)],
            _trials(runs),
        ]
    return json.dumps(cells, ensure_ascii=False, separators=(",", ":"))


def _title(first: Run, of_regimes: Sequence[str]) -> str:
    regimes = ", ".join(regime_style(regime).label for regime in of_regimes)
    parts = [f"{name(str(first['dataset']))} · {name(str(first['model']))}", regimes, f"m={first['momentum']:g}"]
    parts += [optimizer_style(str(first["optimizer"])).label] if first["optimizer"] != "sgd" else []
    parts += [f"weight decay {first['weight_decay']:g}"] if first["weight_decay"] else []
    trained = str(first["adversarial_training"])
    parts += [f"{name(trained)} training"] if trained != "none" else []
    return ", ".join([*parts, f"batch {first['batch_size']}"])


def _trials(runs: Sequence[Run]) -> list[list[Any]]:
    once = {str(run["trial_id"]): run for run in reversed(runs)}
    trials = (once[trial_id] for trial_id in dict.fromkeys(str(run["trial_id"]) for run in runs))
    return [
        [int(run["seed"]), str(run["trial_id"]), *([] if run["status"] == "ok" else [str(run["status"])])]
        for run in trials
    ]


def run_cells(table: StudyTable, comparison: OptimizerComparison) -> Callable[[OptimizerRun], str]:
    """What names the cell of a run of a comparison (of several weight decays the least, as the comparison has it)."""
    points = table.points[(table.points["batch_size"] == comparison.batch_size) & (table.points["momentum"] == 0.0)]
    for column in PLACE:
        value = comparison[column]
        points = points[points[column].isna() if pd.isna(value) else points[column] == value]
    points = points[points["adversarial_training"] == "none"].sort_values("weight_decay", kind="stable")
    keys = zip(points["optimizer"], points["regime"], points["epochs"], strict=True)
    found: dict[tuple[Any, ...], str] = {}
    for key, cell_id in zip(keys, points["cell_id"], strict=True):
        found.setdefault(key, str(cell_id))
    return lambda run: found.get((run.optimizer, run.own or comparison.regime, run.epochs), "")
