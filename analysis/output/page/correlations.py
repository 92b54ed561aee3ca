"""The correlation section: does curvature go with robustness, pooled, between curves and within them?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from analysis.figures import Figure
from analysis.findings import CURVATURE, Findings, on_test_images
from analysis.output.page.charts import Charts, Group, group
from analysis.output.page.templates import Section
from analysis.reports.associations import FLIP
from analysis.statistics.thresholds import SIGNIFICANCE
from analysis.tables.epsilons import at_headline
from analysis.tables.lookup import agreeing
from analysis.tables.table import ALIKE, in_plain_text
from analysis.tables.words import name
from analysis.theme import correlation

OPEN_TABLES = 2
"""Number of studies whose table is shown at first; the others are folded away."""

ROWS: tuple[tuple[str, str, str], ...] = (
    ("tau_b_pooled", "", "Kendall's τ-b, pooled (descriptive)"),
    ("spearman_pooled", "", "Spearman's ρ, pooled (descriptive)"),
    ("pearson_between_curves", "", "Between curves (Pearson of curve means)"),
    ("rmcorr_within_curves", "", "Within curves (repeated measures)"),
    ("rmcorr_within_cells", "", "Within cells (Spearman of seed residuals)"),
    ("granulated_tau", "mean", "Granulated τ, mean over axes"),
    ("partial_spearman_clean", "", "Partial ρ given clean accuracy"),
    ("partial_spearman_clean_loss_norm", "", "… given also training loss and weight norm"),
    ("sign_error_max", "all", "Largest sign-error over environments"),
)
"""(statistic, axis, words) of the table's rows; the CSV file holds the rest."""


Context = dict[str, Any]

_QUESTION = ("statistic", "axis", "attack", "loss", "epsilon")
_SHOWN = [*_QUESTION, "estimate", "low", "high", "p", "note"]


def correlation_section(findings: Findings, charts: Charts) -> Section:
    """Planes, a table of correlations per study with its Simpson badge, and forest plots."""
    correlations = findings.correlations.correlations
    studies: list[Context] = []
    if len(correlations) and findings.planes:
        mine = on_test_images(correlations)
        mine = mine[mine["curvature"] == CURVATURE]
        mine = in_plain_text(at_headline(findings.table, mine[mine["epsilon"].notna()]))
        pooled = mine[(mine["statistic"] == "tau_b_pooled") & mine["estimate"].notna()]
        studies = [_study(values, rows, mine) for values, rows in pooled.groupby(list(ALIKE), dropna=False)]
        studies.sort(key=lambda study: -study["networks"])
    context = {
        "planes": _group(findings.planes, charts),
        "forests": _group(findings.forests, charts),
        "studies": studies,
        "shown": OPEN_TABLES,
    }
    return Section("correlations", "Correlations", "Does curvature go with robustness?", context)


def _group(figures: Sequence[Figure], charts: Charts) -> Group:
    headings = [f.title.replace("λ₁ and accuracy under ", "").replace("Kendall's τ of ", "") for f in figures]
    return group(charts, figures, headings, columns="two")


def _study(values: tuple[Any, ...], pooled: pd.DataFrame, rows: pd.DataFrame) -> Context:
    keys = dict(zip(ALIKE, values, strict=True))
    mine = agreeing(rows, keys)
    questions = sorted(pooled[["attack", "loss", "epsilon"]].drop_duplicates().itertuples(index=False, name=None))
    answers = {tuple(row[key] for key in _QUESTION): row for row in reversed(mine[_SHOWN].to_dict("records"))}
    epsilon = ", ".join(f"{e:g}" for e in sorted({e for _, _, e in questions}))
    where = f"{name(str(keys['dataset']))} · {name(str(keys['model']))}, {int(keys['epochs'])} epochs"
    signs = mine[mine["statistic"] == FLIP]
    flips = signs[signs["p"] <= SIGNIFICANCE]
    told = mine["statistic"].isin([statistic for statistic, *_ in ROWS])
    return {
        "where": where,
        "networks": int(pooled["n"].max()),
        "few": not mine.loc[told, "low"].notna().any(),
        "flips": [f"{name(a)} ({name(loss)})" for a, loss in zip(flips["attack"], flips["loss"], strict=True)],
        "compared": bool(signs["p"].notna().any()),
        "caption": f"Correlations of λ₁ (training set) with adversarial accuracy at ε = {epsilon}, {where}",
        "head": ["Statistic [95 % interval]", *(f"{name(a)}, {name(loss)}" for a, loss, _ in questions)],
        "rows": [
            (words, [_answer(answers.get((statistic, axis, *question))) for question in questions])
            for statistic, axis, words in ROWS
        ],
    }


def _answer(row: Mapping[Any, Any] | None) -> dict[str, str]:
    if row is None or pd.isna(row["estimate"]):
        return {"text": "–", "note": str(row["note"] or "") if row else ""}
    text = correlation(row["estimate"])
    if pd.notna(row["low"]):
        return {"text": f"{text} [{correlation(row['low'])}, {correlation(row['high'])}]", "note": ""}
    return {"text": text + (f" (p = {row['p']:.2g})" if pd.notna(row["p"]) else ""), "note": str(row["note"] or "")}
