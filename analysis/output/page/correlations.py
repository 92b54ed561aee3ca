"""The correlation section: does curvature go with robustness, pooled, between curves and within them?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from analysis.figures import Figure
from analysis.figures.figure import styles_of
from analysis.findings import CURVATURE, Findings, headline
from analysis.output.page.charts import Charts, group
from analysis.output.page.html import Content, Html, details, element, note, section, table
from analysis.tables.table import PROTOCOL, in_plain_text
from analysis.tables.words import name
from analysis.theme import SeriesStyle

OPEN_TABLES = 2
"""Number of studies whose table is shown at first; the others are folded away."""

ROWS: tuple[tuple[str, str, str], ...] = (
    ("tau_b_pooled", "", "Kendall's τ-b, pooled (descriptive)"),
    ("spearman_pooled", "", "Spearman's ρ, pooled (descriptive)"),
    ("pearson_between_curves", "", "Between curves (Pearson of curve means)"),
    ("rmcorr_within_curves", "", "Within curves (repeated measures)"),
    ("rmcorr_within_cells", "", "Within cells (seed residuals)"),
    ("granulated_tau", "mean", "Granulated τ, mean over axes"),
    ("partial_spearman_clean", "", "Partial ρ given clean accuracy"),
    ("partial_spearman_clean_loss_norm", "", "… given also training loss and weight norm"),
    ("sign_error_max", "all", "Largest sign-error over environments"),
)
"""(statistic, axis, words) of the table's rows; the CSV file holds the rest."""


_QUESTION = ("statistic", "axis", "attack", "loss", "epsilon")
_SHOWN = [*_QUESTION, "estimate", "low", "high", "note"]


def correlation_section(findings: Findings, charts: Charts) -> Html:
    """Planes, a table of correlations per study with its Simpson badge, and forest plots."""
    report = findings.correlations
    title = "Does curvature go with robustness?"
    correlations = report.correlations
    if correlations.empty or not findings.planes:
        return section("correlations", title, element("p", "No cell has both an eigenvalue and an attack to compare."))
    mine = correlations[(correlations["curvature"] == CURVATURE) & (correlations["cells"] == "sound")]
    mine = in_plain_text(headline(mine[mine["epsilon"].notna()]))
    intro = note(
        "λ₁ of the training set against adversarial accuracy. Negative: the sharper, the less robust. A pooled "
        "correlation mixes curves and says little by itself; the correlation within curves is the one that counts."
    )
    keys = ["dataset", "model", *PROTOCOL]
    pooled = mine[(mine["statistic"] == "tau_b_pooled") & mine["estimate"].notna()]
    simpson = in_plain_text(report.simpson)
    tables = [_study(values, group, mine, simpson) for values, group in pooled.groupby(keys, dropna=False, sort=True)]
    planes = _group(findings.planes, charts, styles_of(findings.planes))
    return section(
        "correlations",
        title,
        intro,
        planes if len(findings.planes) <= 4 else details(f"{len(findings.planes)} scatter plots", planes),
        *tables[:OPEN_TABLES],
        details(f"{len(tables) - OPEN_TABLES} more studies", *tables[OPEN_TABLES:])
        if len(tables) > OPEN_TABLES
        else None,
        element("h3", "Along the batch size, curve by curve"),
        _group(findings.forests, charts)
        if findings.forests
        else element("p", "No curve has five batch sizes with three seeds each, so no τ has an interval."),
    )


def _group(figures: Sequence[Figure], charts: Charts, styles: Sequence[SeriesStyle] = ()) -> Html:
    return group([charts.figure(f, _heading(f.title)) for f in figures], styles, figures=figures, columns="two")


def _heading(title: str) -> str:
    return title.replace("λ₁ and accuracy under ", "").replace("Kendall's τ of ", "")


def _study(values: tuple[Any, ...], pooled: pd.DataFrame, rows: pd.DataFrame, simpson: pd.DataFrame) -> Html:
    keys = dict(zip(["dataset", "model", *PROTOCOL], values, strict=True))
    mine = _agreeing(rows, keys)
    questions = sorted(pooled[["attack", "loss", "epsilon"]].drop_duplicates().itertuples(index=False, name=None))
    head: list[Content] = ["Statistic [95 % interval]"]
    head += [f"{name(a)}, {name(loss)}" for a, loss, _ in questions]
    answers = {tuple(row[key] for key in _QUESTION): row for row in reversed(mine[_SHOWN].to_dict("records"))}
    body = [
        [words, *(_cell(answers.get((statistic, axis, *question))) for question in questions)]
        for statistic, axis, words in ROWS
    ]
    epsilon = ", ".join(f"{e:g}" for e in sorted({e for _, _, e in questions}))
    where = f"{name(str(keys['dataset']))} · {name(str(keys['model']))}, {int(keys['epochs'])} epochs"
    caption = f"Correlations of λ₁ (training set) with adversarial accuracy at ε = {epsilon}, {where}"
    both = headline(_agreeing(simpson, {**keys, "curvature": CURVATURE, "cells": "sound"}))
    return element("div", element("h3", where), _simpson(both), table(head, body, caption=caption))


def _simpson(studies: pd.DataFrame) -> Html:
    flips = studies[studies["simpson"].astype(bool)]
    if len(flips):
        pairs = zip(flips["attack"], flips["loss"], strict=True)
        named = ", ".join(f"{name(attack)} ({name(loss)})" for attack, loss in pairs)
        badge = element("span", "Simpson's paradox", class_="badge")
        return element("p", badge, f" The pooled sign is not the sign within curves (p ≤ .05 over curves): {named}.")
    if studies[["pooled", "within_curves"]].notna().all(axis=None):
        return note("Pooled and within-curve correlations are not shown to differ in sign (p > .05 over curves).")
    return note("Too little varies to compare pooled and within-curve correlations.")


def _agreeing(frame: pd.DataFrame, values: dict[str, Any]) -> pd.DataFrame:
    keep = pd.Series(True, index=frame.index)
    for column, value in values.items():
        keep &= frame[column].isna() if pd.isna(value) else frame[column] == value
    return frame[keep]


def _cell(row: Mapping[Any, Any] | None) -> Content:
    if row is None or pd.isna(row["estimate"]):
        return element("span", "–", title=str(row["note"]) or None if row else None)
    interval = "" if pd.isna(row["low"]) else f" [{_signed(row['low'])}, {_signed(row['high'])}]"
    return f"{_signed(row['estimate'])}{interval}"


def _signed(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")
