"""What is not in the figures: missing, failed and diverged trials, and files that could not be read."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from analysis.output.page.html import Content, Html, element, section, table
from analysis.reports.commands import Rerun
from analysis.tables.table import CURVE, StudyTable
from analysis.tables.words import name
from analysis.theme import regime_style

MAX_FAILURES = 40


def missing_section(study: StudyTable) -> Html:
    """The trials without a trained network and the files left out, with the commands that run what is missing."""
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
        first = cells.iloc[0].to_dict()
        sizes = sorted(int(size) for size in cells["batch_size"].unique())
        command = rerun.command(first, sizes, cells["trial_id"], results=study.location)
        rows.append(
            [
                f"{name(first['dataset'])} {name(first['model'])}",
                f"{regime_style(first['regime']).label}, m={first['momentum']:g}",
                ", ".join(map(str, sizes)),
                ", ".join(str(seed) for seed in sorted(cells["seed"].unique())),
                element("code", command),
            ]
        )
    count = missing["trial_id"].nunique()
    return [
        element("h3", "Missing"),
        element(
            "p",
            f"{count} planned trials have no result. Each command runs what is missing on its curve; "
            "finished trials are not repeated.",
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
    shown = lost.head(MAX_FAILURES)
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
            "A diverged trial is a result: its cell is a gap with a cross. The command that ran the study runs failed "
            "trials again.",
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
