"""The section that answers the papers' question for every measure: does sharpness explain robustness?"""

from __future__ import annotations

from typing import Any

import pandas as pd

from analysis.findings import Findings
from analysis.output.page.charts import Charts, group
from analysis.output.page.header import FEW_SEEDS, usual_seeds
from analysis.output.page.templates import Section
from analysis.reports.measures import REFERENCE, conclusion
from analysis.tables.measures import ROBUSTNESS, SHARPNESS
from analysis.tables.table import ALIKE
from analysis.tables.words import network_name
from analysis.theme import correlation

HEAD = (
    "Robustness and sharpness",
    "Sign-error less that of λ₁ [95 % interval]",
    "Sign-error, mean (worst curve)",
    "τ, mean of curves",
    "Granulated τ",
    "Partial ρ given clean accuracy and training loss",
)

Context = dict[str, Any]


def measure_section(findings: Findings, charts: Charts) -> Section | None:
    """The conclusion, a map and a table for each study; None if only one measure of sharpness was stored."""
    report = findings.measures
    figures = findings.maps
    if not figures:
        return None
    titles = [one.title.partition(":")[0] for one in figures]
    studies = [_study(keys, rows) for keys, rows in report.summary.groupby(list(ALIKE), dropna=False, sort=False)]
    seeds = usual_seeds(findings.table)
    context = {
        "conclusion": conclusion(report),
        "few": f"With {seeds} seeds only very large differences can be shown." if seeds < FEW_SEEDS else "",
        "maps": group(charts, figures, titles, columns="two"),
        "studies": studies,
    }
    return Section("measures", "Measures", "Which measure of sharpness explains robustness?", context)


def _study(keys: tuple[Any, ...], rows: pd.DataFrame) -> Context:
    where = network_name(*keys[:2])
    order = {one: place for place, one in enumerate(ROBUSTNESS)}
    ordered = rows.sort_values("robustness", key=lambda names: names.map(order), kind="stable")
    caption = f"Measures of sharpness and of robustness, {where}: {rows['networks'].max()} networks"
    return {"where": where, "caption": caption, "head": HEAD, "rows": [_row(row) for row in ordered.to_dict("records")]}


def _row(row: dict[Any, Any]) -> Context:
    difference = "reference" if row["sharpness"] == REFERENCE else _interval(row, "difference")
    return {
        "cells": [
            f"{ROBUSTNESS[row['robustness']].label}: {SHARPNESS[row['sharpness']].label}",
            difference,
            f"{correlation(row['sign_error'])} ({correlation(row['sign_error_max'])})",
            f"{correlation(row['tau'])} ({row['curves']})",
            correlation(row["granulated_tau"]),
            _interval(row, "partial"),
        ],
        "marked": row["against_lambda1"] in ("better", "worse"),
    }


def _interval(row: dict[Any, Any], field: str) -> str:
    text = correlation(row[field])
    if pd.isna(row[f"{field}_low"]):
        return text
    return f"{text} [{correlation(row[f'{field}_low'])}, {correlation(row[f'{field}_high'])}]"
