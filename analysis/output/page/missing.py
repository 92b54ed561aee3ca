"""What is not in the figures: networks that are not trained, failed or diverged, and files that could not be read."""

from __future__ import annotations

from typing import Any

import pandas as pd

from analysis.output.page.templates import Section
from analysis.reports.commands import rerun_command, unpack_command
from analysis.tables.table import CURVE, StudyTable
from analysis.tables.words import curve_name, network_name

MAX_FAILURES = 40

Table = dict[str, Any]


def missing_section(study: StudyTable) -> Section | None:
    """The trials without a trained network and the files left out, with the commands that run what is missing.

    None if there is nothing of the kind.
    """
    parts = {"missing": _missing(study), "failures": _failures(study), "excluded": _excluded(study)}
    parts |= {"conflicts": _conflicts(study)}
    if not any(parts.values()):
        return None
    about = {"folders": len(study.locations), "unpack": unpack_command(study.location)}
    return Section("missing", "Networks not trained yet", "Networks not trained yet, failed or diverged", parts | about)


def _missing(study: StudyTable) -> Table | None:
    missing = study.planned[study.planned["state"] == "missing"]
    if missing.empty:
        return None
    rows = []
    for _, cells in missing.groupby(list(CURVE), dropna=False, sort=True):
        first = cells.iloc[0].to_dict()
        sizes = sorted(int(size) for size in cells["batch_size"].unique())
        rows.append(
            [
                network_name(first["dataset"], first["model"]),
                curve_name(first["regime"], first["momentum"]),
                ", ".join(map(str, sizes)),
                ", ".join(str(seed) for seed in sorted(cells["seed"].unique())),
                rerun_command(study, first, sizes, cells["trial_id"], results=study.location),
            ]
        )
    return {
        "count": missing["trial_id"].nunique(),
        "head": ("Data and model", "Curve", "Batch sizes", "Seeds", "Command"),
        "caption": "Curves with networks not trained yet",
        "rows": rows,
    }


def _failures(study: StudyTable) -> Table | None:
    lost = study.trials[study.trials["status"] != "ok"].sort_values(
        ["status", "dataset", "model", "batch_size", "seed"]
    )
    if lost.empty:
        return None
    shown = lost.head(MAX_FAILURES)
    points = study.points[study.points["trial_id"].isin(shown["trial_id"])]
    regimes = points.groupby("trial_id")["regime"].agg(list)
    rows = [
        [
            row["status"],
            network_name(row["dataset"], row["model"]),
            "; ".join(curve_name(regime, row["momentum"]) for regime in regimes.get(row["trial_id"], [])) or "–",
            row["batch_size"],
            row["seed"],
            "–" if pd.isna(row["epochs_done"]) else int(row["epochs_done"]),
            row["status_reason"] or "",
            row["trial_id"],
        ]
        for row in shown.to_dict("records")
    ]
    more = f" (the first {len(rows)} of {len(lost)})" if len(lost) > len(rows) else ""
    return {
        "head": ("State", "Data and model", "Curve", "Batch", "Seed", "Epochs done", "Reason", "Network"),
        "caption": f"Failed and diverged networks{more}",
        "rows": rows,
    }


def _excluded(study: StudyTable) -> Table | None:
    if not study.unreadable:
        return None
    rows = [[file.name, file.reason] for file in study.unreadable]
    caption = f"{len(rows)} files in the results folder are not rows of this study"
    return {"head": ("File", "Reason"), "caption": caption, "rows": rows}


def _conflicts(study: StudyTable) -> Table | None:
    if not study.conflicts:
        return None
    rows = [
        [
            one.about,
            network_name(one.dataset, one.model),
            one.batch_size,
            one.seed,
            one.kept or "none",
            one.left_out,
            one.detail,
            one.trial_id,
        ]
        for one in study.conflicts[:MAX_FAILURES]
    ]
    count = len(study.conflicts)
    more = f" (the first {len(rows)} of {count}; all are in conflicts.csv)" if count > len(rows) else ""
    return {
        "head": ("About", "Data and model", "Batch", "Seed", "Counts", "Does not count", "How they differ", "Network"),
        "caption": f"Networks about which the folders disagree{more}",
        "rows": rows,
    }
