"""The cells that the charts show, by id: what each is, and its trials; a tooltip names them, a mark links by them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pandas as pd

from analysis.figures.identity import curve_id
from analysis.reports.budgets import PLACE, Comparison, Run
from analysis.rows.table import StudyTable
from analysis.theme import name, optimizer_style, regime_style


def cells_block(table: StudyTable) -> str:
    """JSON: cell id -> [what it is, keys of its curves, [[seed, trial id, state unless ok], ...]]."""
    points = table.points.sort_values(["cell_id", "regime", "seed"])
    cells = {
        str(cell_id): [_title(runs), _curves(runs), _trials(runs)]
        for cell_id, runs in points.groupby("cell_id", sort=False)
    }
    return json.dumps(cells, ensure_ascii=False, separators=(",", ":"))


def _title(runs: pd.DataFrame) -> str:
    first: dict[Any, Any] = runs.iloc[0].to_dict()
    regimes = ", ".join(regime_style(str(regime)).label for regime in runs["regime"].unique())
    parts = [f"{name(str(first['dataset']))} · {name(str(first['model']))}", regimes, f"m={first['momentum']:g}"]
    parts += [optimizer_style(str(first["optimizer"])).label] if first["optimizer"] != "sgd" else []
    parts += [f"weight decay {first['weight_decay']:g}"] if first["weight_decay"] else []
    trained = str(first["adversarial_training"])
    parts += [f"{name(trained)} training"] if trained != "none" else []
    return ", ".join([*parts, f"batch {first['batch_size']}"])


def _curves(runs: pd.DataFrame) -> list[str]:
    return [curve_id(run) for run in runs.drop_duplicates("regime").to_dict("records")]


def _trials(runs: pd.DataFrame) -> list[list[Any]]:
    columns = runs.drop_duplicates("trial_id")[["seed", "trial_id", "status"]]
    return [
        [int(seed), str(trial), *([] if status == "ok" else [str(status)])]
        for seed, trial, status in columns.itertuples(index=False, name=None)
    ]


def run_cells(table: StudyTable, comparison: Comparison) -> Callable[[Run], str]:
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
