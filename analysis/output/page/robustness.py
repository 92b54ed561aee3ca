"""The section on robustness beyond one epsilon: all attacks together, auto-PGD, and smallest perturbations."""

from __future__ import annotations

from typing import Any

import pandas as pd

from analysis.findings import Findings
from analysis.output.page.charts import Charts, group
from analysis.output.page.templates import Section
from analysis.statistics.thresholds import OVERSTATED
from analysis.tables.cells import cells
from analysis.tables.measures import AUTO, ROBUSTNESS, WORST, robustness
from analysis.tables.table import CURVE, StudyTable
from analysis.tables.words import name
from analysis.theme import number, percent, regime_style

SHOWN = ("pgd", "pgd_stable", "apgd", WORST, "minimal_epsilon_median", "minimal_epsilon_area")
"""The measures of the table, in its order."""

Context = dict[str, Any]


def robustness_section(findings: Findings, charts: Charts) -> Section | None:
    """Curves over epsilon, the measures of each cell, and where auto-PGD beats PGD; None if none of them was asked."""
    table = findings.table
    measured = robustness(table)
    if not measured[["apgd", "minimal_epsilon_area"]].notna().any(axis=None):
        return None
    curves = findings.curves
    titles = [one.title.replace("robust accuracy over ε, ", "") for one in curves]
    context = {
        "curves": group(charts, curves, titles) if curves else None,
        "beaten": _beaten(table),
        "table": _table(table, measured),
    }
    return Section("robustness", "Robustness", "Robustness beyond one attack and one ε", context)


def _beaten(table: StudyTable) -> Context | None:
    """In how many cells auto-PGD beats PGD by over a point, of those in which both were asked."""
    found = cells(table)
    both = [*CURVE, "batch_size", "split", "epsilon"]
    auto = found[found["attack"].isin(AUTO) & (found["n_seeds"] > 0)][both].drop_duplicates()
    published = found[(found["attack"] == "pgd") & (found["loss"] == "ce") & (found["n_seeds"] > 0)]
    asked = published.merge(auto, on=both)
    return {"count": int(asked["overstated"].sum()), "of": len(asked)} if len(asked) else None


def _table(table: StudyTable, measured: pd.DataFrame) -> Context:
    """Means over the seeds of each cell."""
    points = table.points.loc[table.points["status"] == "ok", [*CURVE, "batch_size", "trial_id", "test_acc"]]
    points = points.merge(measured, left_on="trial_id", right_index=True)
    asked = [one for one in SHOWN if points[one].notna().any()]
    points = points[points[asked].notna().any(axis=1)]
    rows = []
    for values, cell in points.groupby([*CURVE, "batch_size"], dropna=False, sort=True):
        first = dict(zip([*CURVE, "batch_size"], values, strict=True))
        means = cell[asked].mean()
        both = cell[["pgd", "apgd"]].dropna().mean()  # of the same networks, as cells are marked
        gap = both["pgd"] - both["apgd"]
        rows.append(
            {
                "cells": [
                    f"{name(str(first['dataset']))} {name(str(first['model']))}, "
                    f"{regime_style(str(first['regime'])).label}, m={first['momentum']:g}, "
                    f"batch {first['batch_size']:g}",
                    *(number(means[one]) if one.startswith("minimal") else percent(means[one]) for one in asked),
                    percent(cell["test_acc"].mean()),
                    _seeds(cell[asked]),
                ],
                "gap": "–" if pd.isna(gap) else f"{100 * gap:+.1f}".replace("-", "−"),
                "marked": gap > OVERSTATED,
            }
        )
    labels = [ROBUSTNESS[one].label.removeprefix("accuracy under ") for one in asked]
    head = ("Cell", *(f"{text[0].upper()}{text[1:]}" for text in labels), "Clean", "Seeds")
    caption = (
        "Accuracies at the ε that was judged and smallest perturbations found, means over the seeds that were asked"
    )
    gaps = any(row["gap"] != "–" for row in rows)
    head = (*head, "PGD over auto-PGD, points") if gaps else head
    return {"head": head, "caption": caption, "rows": rows, "gaps": gaps}


def _seeds(asked: pd.DataFrame) -> str:
    """How many seeds were asked: "1 to 5" where it is not the same for each measure."""
    counts = asked.notna().sum()
    low, high = counts[counts > 0].min(), counts.max()
    return f"{low}" if low == high else f"{low} to {high}"
