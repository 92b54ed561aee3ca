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
from analysis.tables.words import name, network_name
from analysis.theme import correlation

OPEN_TABLES = 2
"""Number of studies whose table is shown at first; the others are folded away."""

ON_TEST_SET = "lambda1_test"

ROWS: tuple[tuple[str, str, str, str], ...] = (
    ("tau_b_pooled", "", CURVATURE, "Kendall's τ-b, pooled (descriptive)"),
    ("pearson_between_curves", "", CURVATURE, "Between curves (Pearson of curve means)"),
    ("rmcorr_within_curves", "", CURVATURE, "Within curves (repeated measures)"),
    ("rmcorr_within_curves", "", ON_TEST_SET, "Within curves, λ₁ of the test set"),
    ("rmcorr_within_cells", "", CURVATURE, "Over seeds at a fixed setting (Spearman of residuals)"),
    ("granulated_tau", "batch_size", CURVATURE, "Granulated τ: batch size"),
    ("granulated_tau", "regime", CURVATURE, "Granulated τ: regime"),
    ("granulated_tau", "momentum", CURVATURE, "Granulated τ: momentum"),
    ("granulated_tau", "mean", CURVATURE, "Granulated τ: mean of these"),
    ("granulated_tau", "seed", CURVATURE, "Granulated τ: seed"),
    ("partial_spearman_clean", "", CURVATURE, "Partial ρ given clean accuracy"),
    ("partial_spearman_clean_loss_norm", "", CURVATURE, "… given also training loss and weight norm"),
    ("sign_error_max", "all", CURVATURE, "Largest sign-error"),
)
"""(statistic, axis, curvature, words) of the table's rows; the CSV file holds the rest."""


BOTH = (("tau_b_pooled", "", CURVATURE), ("rmcorr_within_curves", "", CURVATURE))
"""The correlations whose signs are compared."""

NONE = "–"
"""What stands where there is no number."""

Context = dict[str, Any]

_QUESTION = ("statistic", "axis", "curvature", "attack", "loss", "epsilon")
_SHOWN = [*_QUESTION, "estimate", "low", "high", "p", "note"]


def correlation_section(findings: Findings, charts: Charts) -> Section:
    """Planes, a table of correlations per study with its Simpson badge, and forest plots."""
    correlations = findings.correlations.correlations
    studies: list[Context] = []
    if len(correlations) and findings.planes:
        mine = on_test_images(correlations)
        mine = in_plain_text(at_headline(findings.table, mine[mine["epsilon"].notna()]))
        mine = mine[(mine["statistic"] != "rmcorr_within_cells") | mine["p"].notna()]  # else of too few seeds
        pooled = mine[(mine["statistic"] == "tau_b_pooled") & (mine["curvature"] == CURVATURE)]
        pooled = pooled[pooled["estimate"].notna()]
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
    where = f"{network_name(keys['dataset'], keys['model'])}, {int(keys['epochs'])} epochs"
    signs = mine[(mine["statistic"] == FLIP) & (mine["curvature"] == CURVATURE)]
    flips = signs[signs["p"] <= SIGNIFICANCE]
    rows_shown = [
        (words, [_answer(answers.get((*asked, *question))) for question in questions]) for *asked, words in ROWS
    ]
    told = mine["statistic"].isin([statistic for statistic, *_ in ROWS])
    return {
        "where": where,
        "networks": int(pooled["n"].max()),
        "few": not mine.loc[told, "low"].notna().any(),
        "flips": [f"{name(a)} ({name(loss)})" for a, loss in zip(flips["attack"], flips["loss"], strict=True)],
        "signs": _signs(signs, [[answers.get((*asked, *question)) for asked in BOTH] for question in questions]),
        "caption": f"Correlations of λ₁ (training set) with adversarial accuracy at ε = {epsilon}, {where}",
        "head": ["Statistic [95 % interval]", *(f"{name(a)}, {name(loss)}" for a, loss, _ in questions)],
        "rows": [row for row in rows_shown if any(answer["text"] != NONE for answer in row[1])],
    }


def _signs(compared: pd.DataFrame, both: Sequence[Sequence[Mapping[Any, Any] | None]]) -> str:
    """Whether the correlations over all networks and within curves have one sign, where they are not shown to differ.

    `compared`: the rows of `FLIP`. `both`: the two correlations of each attack.
    """
    if not compared["p"].notna().any():
        curves = int(compared["n"].max()) if len(compared) else 0
        few = "one curve" if curves == 1 else f"{curves} curves"
        return f"cannot be compared: {f'{few} only' if curves < 3 else 'too little varies'}"
    known = [[row["estimate"] for row in rows if row is not None] for rows in both]
    if all(min(values) * max(values) >= 0 for values in known if values):
        return "have the same sign"
    return "differ in sign for some attack, but not surely (p > 0.05 over curves)"


def _answer(row: Mapping[Any, Any] | None) -> dict[str, str]:
    if row is None or pd.isna(row["estimate"]):
        return {"text": NONE, "note": str(row["note"] or "") if row else ""}
    text = correlation(row["estimate"])
    if pd.notna(row["low"]):
        return {"text": f"{text} [{correlation(row['low'])}, {correlation(row['high'])}]", "note": ""}
    return {"text": text + (f" (p = {row['p']:.2g})" if pd.notna(row["p"]) else ""), "note": str(row["note"] or "")}
