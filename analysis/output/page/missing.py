"""What is not in the figures: missing, failed and diverged cells, and files left out."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from analysis.output.page.html import Content, Html, element, section, table
from analysis.reports.rerun import RERUN_RESULTS, Rerun
from analysis.tables.table import CURVE, StudyTable
from analysis.tables.words import name
from analysis.theme import regime_style

MOST_REASONS = 40


def missing_section(study: StudyTable) -> Html:
    """Everything that was planned or found and is not a measured cell, and how to get it."""
    parts = [_missing(study), _failures(study), _excluded(study)]
    if not any(parts):
        parts = [element("p", "Nothing is missing: every planned trial finished and every file could be read.")]
    return section("missing", "Missing, failed and diverged cells", *parts)


def _missing(study: StudyTable) -> Content:
    missing = study.planned[study.planned["state"] == "missing"]
    if missing.empty:
        return None
    rerun = Rerun(study.requests)
    rows: list[Sequence[Content]] = []
    for _, cells in missing.groupby(list(CURVE), dropna=False, sort=True):
        first = {**cells.iloc[0].to_dict()}
        sizes = sorted(int(size) for size in cells["batch_size"].unique())
        command = rerun.command(first, sizes, cells["trial_id"])
        rows.append(
            [
                f"{name(first['dataset'])} {name(first['model'])}",
                f"{regime_style(first['regime']).label}, m={first['momentum']:g}",
                ", ".join(map(str, sizes)),
                ", ".join(str(seed) for seed in sorted(cells["seed"].unique())),
                element("code", command.replace(f"--results {RERUN_RESULTS}", f"--results {study.location}")),
            ]
        )
    count = missing["trial_id"].nunique()
    return [
        element("h3", "Missing"),
        element(
            "p",
            f"{count} planned trials have no row. Each command runs what is missing on its curve; "
            "trials that are done are not repeated.",
        ),
        table(
            ("Data and model", "Curve", "Batch sizes", "Seeds", "Command"), rows, caption="Curves with missing trials"
        ),
    ]


def _failures(study: StudyTable) -> Content:
    lost = study.trials[study.trials["status"] != "ok"].sort_values(
        ["status", "dataset", "model", "batch_size", "seed"]
    )
    if lost.empty:
        return None
    shown = lost.head(MOST_REASONS)
    points = study.points[study.points["trial_id"].isin(shown["trial_id"])]
    labels = points.groupby("trial_id")["regime"].agg(lambda r: ", ".join(regime_style(x).label for x in r))
    rows = [
        [
            str(row["status"]),
            f"{name(row['dataset'])} {name(row['model'])}",
            f"{labels.get(row['trial_id'], '')}, m={row['momentum']:g}",
            str(row["batch_size"]),
            str(row["seed"]),
            "–" if pd.isna(row["epochs_done"]) else str(int(row["epochs_done"])),
            str(row["status_reason"] or ""),
            element("code", str(row["trial_id"])),
        ]
        for row in shown.to_dict("records")
    ]
    more = f" (the first {len(rows)} of {len(lost)})" if len(lost) > len(rows) else ""
    head = ("State", "Data and model", "Curve", "Batch", "Seed", "Epochs done", "Reason", "Trial")
    return [
        element("h3", "Diverged and failed"),
        element(
            "p",
            "A diverged trial is a result: its cell is a gap with a cross. A failed one is tried again by the same "
            "command that ran the study.",
        ),
        table(head, rows, caption=f"Trials without a trained network{more}"),
    ]


def _excluded(study: StudyTable) -> Content:
    if not study.unreadable:
        return None
    rows = [[element("code", file.name), file.reason] for file in study.unreadable]
    return [
        element("h3", "Files left out"),
        table(("File", "Reason"), rows, caption=f"{len(rows)} files in the results folder are not rows of this study"),
    ]
