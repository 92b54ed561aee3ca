"""Measures of sharpness against measures of robustness, as a map: how well the one orders the other along a curve."""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd

from analysis.figures.figure import DATA, Figure, encoded, layer, layered, rounded
from analysis.reports.measures import BETTER, REFERENCE, WORSE, MeasureReport
from analysis.tables.measures import ROBUSTNESS, SHARPNESS
from analysis.tables.table import ALIKE
from analysis.tables.words import name
from analysis.theme import correlation

ROW_HEIGHT = 30

MARKS = {BETTER: "▲", WORSE: "▼"}

COLOURS = ["#2166ac", "#92c5de", "#f0f0f0", "#f4a582", "#b2182b"]
"""A diverging scheme; blue where the sharper network is the less robust one, as the papers expect."""


def measure_figures(report: MeasureReport) -> list[Figure]:
    """A map of each study that has several measures of sharpness."""
    shown = report.summary[report.summary["tau"].notna()]
    by_study = shown.groupby(list(ALIKE), dropna=False, sort=False)
    return [
        _figure(number, keys, rows) for number, (keys, rows) in enumerate(by_study) if rows["sharpness"].nunique() > 1
    ]


def _figure(number: int, keys: tuple[object, ...], rows: pd.DataFrame) -> Figure:
    where = f"{name(str(keys[0]))} {name(str(keys[1]))}"
    records = [
        {
            "sharpness": SHARPNESS[row["sharpness"]].short,
            "robustness": ROBUSTNESS[row["robustness"]].short,
            "measures": f"{SHARPNESS[row['sharpness']].label}; {ROBUSTNESS[row['robustness']].label}",
            "tau": rounded(row["tau"], 3),
            "text": correlation(row["tau"]) + MARKS.get(row["against_lambda1"], ""),
            "error": rounded(row["sign_error"], 3),
            "difference": rounded(row["difference"], 3),
            "curves": row["curves"],
            "networks": row["networks"],
        }
        for row in rows.to_dict("records")
    ]
    most = int(rows["curves"].max())
    curves = f"{most} curve{'s' * (most > 1)}"
    strongest = rows.iloc[int(rows["tau"].abs().to_numpy().argmax())]
    usual = rows.loc[rows["sharpness"] == REFERENCE, "tau"].mean()
    return Figure(
        name=f"measures-{number}",
        title=f"{where}, {curves}: which measure orders the networks of a curve",
        template=_template(records),
        data={DATA: records},
        caption="Kendall's τ of sharpness and robustness along the batch size, mean over the curves. Blue: the sharper "
        "network is the less robust one; red: the more robust one. ▲ and ▼: shown to order them better or worse than "
        "λ₁ on the training set (sign-error along the batch size, q ≤ 0.05).",
        description=f"{where}: Kendall's tau of {rows['sharpness'].nunique()} measures of sharpness with "
        f"{rows['robustness'].nunique()} of robustness. Strongest: {SHARPNESS[strongest['sharpness']].label} and "
        f"{ROBUSTNESS[strongest['robustness']].label}, {strongest['tau']:.2f}"
        + (f"; lambda1 on the training set {usual:.2f} on average." if np.isfinite(usual) else "."),
    )


def _template(records: list[dict[str, object]]) -> dict[str, object]:
    sharp = [one.short for one in SHARPNESS.values()]
    robust = [one.short for one in ROBUSTNESS.values()]
    rows = list(dict.fromkeys(str(record["sharpness"]) for record in records))
    labels = alt.Axis(labelLimit=130, labelPadding=4, ticks=False, domain=False)
    above = alt.Axis(orient="top", labelAngle=-50, labelLimit=130, ticks=False, domain=False)
    x = encoded(alt.X("robustness:N", sort=robust, title=None, axis=above))
    y = encoded(alt.Y("sharpness:N", sort=sharp, title=None, axis=labels))
    colour = encoded(
        alt.Color("tau:Q", scale=alt.Scale(domain=[-1, -0.5, 0, 0.5, 1], range=COLOURS), legend=None),
    )
    ink = {"condition": {"test": "abs(datum.tau) > 0.7", "value": "#ffffff"}, "value": "#1b1f24"}
    tooltip = [
        alt.Tooltip("measures:N"),
        alt.Tooltip("tau:Q", title="τ", format=".2f"),
        alt.Tooltip("error:Q", title="sign-error along the batch size", format=".2f"),
        alt.Tooltip("difference:Q", title="sign-error less that of λ₁", format=".2f"),
        alt.Tooltip("curves:Q"),
        alt.Tooltip("networks:Q"),
    ]
    spec = layered(
        layer({"type": "rect", "stroke": "#ffffff", "strokeWidth": 1.5}, x=x, y=y, color=colour,
              tooltip=[encoded(one) for one in tooltip]),
        layer({"type": "text", "fontSize": 11}, x=x, y=y, text={"field": "text", "type": "nominal"},
              color=ink),
    )  # fmt: skip
    return spec | {"height": ROW_HEIGHT * len(rows)}
