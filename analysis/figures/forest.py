"""Forest plot: Kendall's tau of lambda1 and adversarial accuracy per stratum, and their random-effects mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from analysis.figures.figure import DATA, WIDTH, Figure, specification
from analysis.figures.figure_data import curve_id
from analysis.tables.words import name
from analysis.theme import INK, OTHER, SeriesStyle, regime_style

ROW_HEIGHT = 24
ZERO = "zero"

MEAN = "random-effects mean"


def forest_figure(forest: pd.DataFrame, *, attack: str, loss: str, curvature: str) -> Figure | None:
    """Strata (with 95 % intervals) and their random-effects mean (with its prediction interval).

    `forest`: rows of `CorrelationReport.forest` on sound cells at the headline epsilons.
    """
    mine = forest[(forest["attack"] == attack) & (forest["loss"] == loss) & (forest["curvature"] == curvature)].dropna(
        subset="estimate"
    )
    strata = mine[mine["scope"] == "stratum"]
    if strata.empty:
        return None
    means = mine[mine["scope"] == "all"] if (mine["scope"] == "all").any() else mine[mine["scope"] == "study"]
    records = [_record(row) for row in strata.to_dict("records")]
    records += [_mean_record(row) for row in means.to_dict("records")[:1]]
    styles = _styles(records)
    under = f"{name(attack)}, {name(loss)}"
    mean = next((r for r in records if r["stratum"] == MEAN), None)
    said = f" Their mean is {mean['tau']:.2f} [{mean['low']:.2f}, {mean['high']:.2f}]." if mean else ""
    split = curvature.removeprefix("lambda1_")
    return Figure(
        name=f"forest-{attack}-{loss}-{split}",
        title=f"Kendall's τ of λ₁ and accuracy under {under}",
        template=specification(_chart(records, styles)),
        data={DATA: records, ZERO: [{"zero": 0}]},
        caption=f"{under}. Kendall's τ along batch size, 95 % intervals; thin line: prediction interval for a new "
        "stratum. Left of zero: the sharper, the less robust.",
        description=f"Forest plot of Kendall's tau per stratum under {under}: {len(strata)} strata.{said}",
        attack=attack,
    )


def _record(row: Mapping[Any, Any]) -> dict[str, Any]:
    where = f"{name(str(row['dataset']))} {name(str(row['model']))}"
    curve = regime_style(str(row["regime"])).label
    return {
        "stratum": f"{where} · {curve.removesuffix(' constant')}, m={row['momentum']:g}",
        "along": curve_id(row),
        "curve": curve,
        **_estimate(row, "low", "high"),
    }


def _mean_record(row: Mapping[Any, Any]) -> dict[str, Any]:
    limits = ("low", "high", "predicted_low", "predicted_high")
    return {"stratum": MEAN, "curve": OTHER.label, **_estimate(row, *limits)}


def _estimate(row: Mapping[Any, Any], *limits: str) -> dict[str, Any]:
    finite = {limit: float(row[limit]) if np.isfinite(row[limit]) else None for limit in limits}
    return {"tau": float(row["estimate"]), **finite, "n": int(row["n"])}


def _styles(records: list[dict[str, Any]]) -> list[SeriesStyle]:
    known = [regime_style(r) for r in ("lr", "lr_bs", "benchmark")]
    labels = {record["curve"] for record in records}
    found = [style for style in known if style.label in labels]
    left = sorted(labels - {style.label for style in found} - {OTHER.label})
    unknown = [SeriesStyle(label, OTHER.colour, OTHER.shape) for label in left]
    return [*found, *unknown, SeriesStyle(OTHER.label, OTHER.colour, "diamond")]


def _chart(records: list[dict[str, Any]], styles: list[SeriesStyle]) -> alt.TopLevelMixin:
    order = list(dict.fromkeys(record["stratum"] for record in records))
    base = alt.Chart(alt.NamedData(name=DATA))
    labels = [style.label for style in styles]
    colour = alt.Color("curve:N", scale=alt.Scale(domain=labels, range=[s.colour for s in styles]), legend=None)
    shape = alt.Shape("curve:N", scale=alt.Scale(domain=labels, range=[s.shape for s in styles]), legend=None)
    y = alt.Y(
        "stratum:N",
        sort=order,
        title=None,
        axis=alt.Axis(labelLimit=320, labelPadding=8, ticks=False, domain=False),
    )
    zero = alt.Chart(alt.NamedData(name=ZERO)).mark_rule(color=INK, opacity=0.4, strokeDash=[2, 3])
    prediction = base.transform_filter("isValid(datum.predicted_low)").mark_rule(strokeWidth=1, opacity=0.9)
    interval = base.transform_filter("isValid(datum.low)").mark_rule(strokeWidth=2.5, opacity=0.75)
    tooltip = [
        alt.Tooltip("stratum:N"),
        alt.Tooltip("tau:Q", title="τ", format=".3f"),
        alt.Tooltip("low:Q", title="95 % from", format=".3f"),
        alt.Tooltip("high:Q", title="95 % to", format=".3f"),
        alt.Tooltip("n:Q", title="points"),
    ]
    point = base.mark_point(size=60, filled=True, opacity=1)
    return alt.layer(
        zero.encode(x=_tau("zero:Q")),
        prediction.encode(x=_tau("predicted_low:Q"), x2="predicted_high:Q", y=y, color=colour),
        interval.encode(x=_tau("low:Q"), x2="high:Q", y=y, color=colour),
        point.encode(x=_tau("tau:Q"), y=y, color=colour, shape=shape, tooltip=tooltip),
    ).properties(width=WIDTH, height=ROW_HEIGHT * len(order))


def _tau(field: str) -> alt.X:
    return alt.X(
        field,
        title="Kendall's τ (λ₁, adversarial accuracy)",
        scale=alt.Scale(domain=[-1.08, 1.08], nice=False),
        axis=alt.Axis(values=[-1, -0.5, 0, 0.5, 1], grid=False),
    )
