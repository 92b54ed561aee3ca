"""Rows joined to their spaces: the long tables that statistics, claims and figures read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from search_spaces import NEWTON_STEPS, NEWTON_TOLERANCE, TRIAL_FIELDS, Grid, GridError, Request, merge, plan
from study.records import Results, Unreadable
from study.schema import ROW_SCHEMA, Row

NESTED = ("attacks", "spectra", "landscapes", "history")

PROTOCOL = ("epochs", "target_loss", "train_size", "val_size", "test_size", "augmentation")
"""Trials of different protocols never share a curve or a test."""

CURVE = (
    "dataset",
    "model",
    "optimizer",
    "adversarial_training",
    "adversarial_epsilon",
    "weight_decay",
    "regime",
    "momentum",
    *PROTOCOL,
)
"""What is constant along a curve; batch size varies along it and seeds replicate its cells."""

QUESTION = ("attack", "loss", "split", "epsilon")
"""What tells the attacks on one trained network apart."""


@dataclass(frozen=True)
class StudyTable:
    """Everything the analysis knows about one results folder.

    `trials`: one row a trained network, every scalar column of the schema, plus `lambda1_train_converged` and
    `lambda1_test_converged`.
    `points`: `trials` with one row per regime label (`regime`): a run shared by two curves appears on both.
    `attacks`: one row per point and attack, the `points` columns plus those of the attack struct (`accuracy` is
    the adversarial one), with images made by the network's own weights. An attack with other Newton settings than
    the usual ones says so in its name.
    `transfers`: the same, with images made by the weights of the trial's parent.
    `spectra`, `landscapes`: one row per point and spectrum or landscape, likewise.
    `planned`: one row per planned trial and regime label: the trial's fields, `trial_id`, `cell_id`, `space`,
    `regime` and `state` (ok, diverged, failed or missing).
    `unreadable`: files left out, with the reason. `requests`: what was asked of the folder.
    """

    location: str
    trials: pd.DataFrame
    points: pd.DataFrame
    attacks: pd.DataFrame
    transfers: pd.DataFrame
    spectra: pd.DataFrame
    landscapes: pd.DataFrame
    planned: pd.DataFrame
    unreadable: tuple[Unreadable, ...]
    requests: tuple[Request, ...]


def load(location: str | Path) -> StudyTable:
    """Read a results folder, whole or half-finished.

    Raises:
        RecordsError: there are no results at `location`.
    """
    results = Results(location)
    rows, unreadable = results.read_rows()
    requests, grid = _plan(results.read_study())
    return from_rows(rows, grid=grid, requests=requests, unreadable=unreadable, location=results.location)


def from_rows(
    rows: Sequence[Row],
    *,
    grid: Grid | None = None,
    requests: Iterable[Request] = (),
    unreadable: Iterable[Unreadable] = (),
    location: str = "",
) -> StudyTable:
    """The tables of rows held in memory; a row outside `grid` keeps the labels it was written with.

    Of rows with one trial id the last counts: a copy of a run is no replicate.
    """
    grid = grid or {}
    rows = list({row["trial_id"]: row for row in rows}.values())
    trials = pd.DataFrame([_scalars(row) for row in rows], columns=_scalar_columns())
    numeric = [
        n for n in ROW_SCHEMA.names if pa.types.is_floating(t := ROW_SCHEMA.field(n).type) or pa.types.is_integer(t)
    ]
    trials[numeric] = trials[numeric].apply(pd.to_numeric)
    trials["adversarial_epsilon"] = trials["adversarial_epsilon"].fillna(0.0)  # rows of before the column
    labels = {row["trial_id"]: _labels(row, grid) for row in rows}
    points = trials.assign(regime=trials["trial_id"].map(labels)).explode("regime", ignore_index=True)
    attacks = points.merge(_attacks(rows), on="trial_id", suffixes=("", "_probe"))
    transferred = attacks["source"] == "parent"
    return StudyTable(
        location=location,
        trials=trials,
        points=points,
        attacks=attacks[~transferred].reset_index(drop=True),
        transfers=attacks[transferred].reset_index(drop=True),
        spectra=points.merge(_nested(rows, "spectra"), on="trial_id", suffixes=("", "_probe")),
        landscapes=points.merge(_nested(rows, "landscapes"), on="trial_id", suffixes=("", "_probe")),
        planned=_planned(grid, rows),
        unreadable=tuple(unreadable),
        requests=tuple(requests),
    )


def _plan(study: dict[str, Any]) -> tuple[list[Request], Grid]:
    requests, grids = [], []
    for entry in study.get("requests", []):
        try:
            request = Request.from_dict(entry)
            grids.append(plan(request))
        except (GridError, TypeError, ValueError, AttributeError):
            continue  # asked of an older or extended version: its rows still speak for themselves
        requests.append(request)
    return requests, merge(grids)


def _scalar_columns() -> list[str]:
    scalar = [name for name in ROW_SCHEMA.names if name not in NESTED]
    return [*scalar, "lambda1_train_converged", "lambda1_test_converged"]


def _scalars(row: Row) -> dict[str, Any]:
    scalars = {name: value for name, value in row.items() if name not in NESTED}
    for split in ("train", "test"):
        scalars[f"lambda1_{split}_converged"] = _lambda1_converged(row, split)
    return scalars


def _lambda1_converged(row: Row, split: str) -> bool:
    whole = row.get(f"{split}_size")
    asked = [s for s in row.get("spectra") or () if s["split"] == split and s["subset_size"] == whole]
    return any(s["converged"] for s in asked)


def _labels(row: Row, grid: Grid) -> list[str]:
    planned = grid.get(row["trial_id"])
    return list(planned.regimes) if planned else list(row.get("regimes") or ["unlabelled"])


def _nested(rows: Iterable[Row], name: str) -> pd.DataFrame:
    fields = [field.name for field in ROW_SCHEMA.field(name).type.value_type]
    entries = [{"trial_id": row["trial_id"], **entry} for row in rows for entry in row.get(name) or ()]
    return pd.DataFrame(entries, columns=["trial_id", *fields])


def _attacks(rows: Iterable[Row]) -> pd.DataFrame:
    frame = _nested(rows, "attacks")
    settings = zip(frame["attack"], frame["newton_steps"], frame["newton_tolerance"], strict=True)
    return frame.assign(attack=[_attack_name(*of) for of in settings])


def _attack_name(attack: str, newton_steps: float | None, newton_tolerance: float | None) -> str:
    if pd.isna(newton_steps) or (newton_steps, newton_tolerance) == (NEWTON_STEPS, NEWTON_TOLERANCE):
        return attack
    return f"{attack} ({newton_steps:.0f} steps, {newton_tolerance:g})"


def _planned(grid: Grid, rows: Iterable[Row]) -> pd.DataFrame:
    states = {row["trial_id"]: row["status"] for row in rows}
    entries = [
        {
            "trial_id": trial_id,
            "cell_id": planned.trial.cell_id,
            "space": space,
            "regime": regime,
            **planned.trial.to_dict(),
            "state": states.get(trial_id, "missing"),
        }
        for trial_id, planned in grid.items()
        for space in planned.spaces
        for regime in planned.regimes
    ]
    return pd.DataFrame(entries, columns=["trial_id", "cell_id", "space", "regime", *TRIAL_FIELDS, "state"])


def versions(trials: pd.DataFrame) -> dict[str, list[str]]:
    """Package -> the versions that wrote these rows; more than one is worth a reader's notice."""
    seen: dict[str, set[str]] = {}
    for text in trials["versions"].dropna().unique():
        for package, version in json.loads(text).items():
            seen.setdefault(package, set()).add(version)
    return {package: sorted(found) for package, found in sorted(seen.items())}
