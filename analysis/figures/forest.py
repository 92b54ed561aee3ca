"""Forest plots: Kendall's tau of lambda1 and adversarial accuracy per curve, and their random-effects mean."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from analysis.figures.batch_size import hollow, kinds_in_words, stroke_dash
from analysis.figures.curve_sets import SHARED, Setup, in_order, shared_values
from analysis.figures.figure import DATA, Figure, Spec, curve_channels, encoded, file_name, layer, layered
from analysis.figures.figure_data import curve_id
from analysis.tables.table import ALIKE
from analysis.tables.words import departures, name
from analysis.tables.words import said as phrase
from analysis.theme import SeriesStyle, regime_style

ROW_HEIGHT = 38
"""Pixels: the name of a curve, and below it a bar for each loss."""

ZERO = "zero"

MEAN = "random-effects mean"
MEAN_STYLE = SeriesStyle("mean", "#7A7A7A", "diamond")

LEAST_FOR_A_MEAN = 3
"""Curves of which a mean is drawn."""

DODGE = 9
"""Pixels between the two losses of one stratum."""


def forest_figures(forest: pd.DataFrame, *, attack: str, curvature: str) -> list[Figure]:
    """A figure for each data set, model and protocol: strata (with 95 % intervals) and, of three or more, their
    random-effects mean (with its prediction interval), under each loss.

    `forest`: rows of `CorrelationReport.forest` on attacked test images, at the headline epsilons.
    """
    mine = forest[(forest["attack"] == attack) & (forest["curvature"] == curvature)].dropna(subset="estimate")
    studies = [rows for _, rows in mine.groupby(list(ALIKE), dropna=False) if (rows["scope"] == "stratum").any()]
    studies.sort(key=lambda rows: -int((rows["scope"] == "stratum").sum()))
    return [_figure(rows, attack, curvature) for rows in studies]


def _figure(rows: pd.DataFrame, attack: str, curvature: str) -> Figure:
    strata = rows[rows["scope"] == "stratum"]
    setup = Setup(shared_values(strata[column].iloc[0] for column in SHARED))
    strata = strata.sort_values("estimate", kind="stable")
    strata = strata.sort_values("loss", key=lambda losses: losses != "stable", kind="stable")
    losses = sorted(strata["loss"].unique(), key=lambda loss: (loss != "stable", loss))
    regimes = [str(regime) for regime in strata["regime"]]
    styles = {regime: regime_style(regime, regimes) for regime in in_order(regimes)}
    points = _records(strata, styles)
    means = [
        _mean(row)
        for loss in losses
        for row in rows[(rows["scope"] == "study") & (rows["loss"] == loss)].to_dict("records")
        if row["n"] >= LEAST_FOR_A_MEAN
    ]
    kinds = tuple(map(name, losses))
    said = "".join(f" {m['kind']}: mean {m['tau']:.2f} [{m['low']:.2f}, {m['high']:.2f}]." for m in means)
    count = len({point["stratum"] for point in points})
    thin = "; the thin line is the prediction interval of a new curve" if means else ""
    return Figure(
        name=file_name("forest", attack, *setup.slug, curvature.removeprefix("lambda1_")),
        title=f"{setup.title}: Kendall's τ of λ₁ and accuracy under {name(attack)}",
        template=_template([*points, *means], [*styles.values(), MEAN_STYLE], kinds),
        data={DATA: [*points, *means], ZERO: [{"zero": 0}]},
        caption=f"Kendall's τ of λ₁ and accuracy under {name(attack)} along the batch size, 95 % intervals{thin}. "
        f"{_trained(strata)}{kinds_in_words(kinds)}",
        description=f"Forest plot. {setup.title}: Kendall's tau of {count} curves under {name(attack)}.{said}",
        attack=attack,
    )


def _trained(strata: pd.DataFrame) -> str:
    """How long the networks were trained."""
    epochs, target = strata["epochs"].iloc[0], strata["target_loss"].iloc[0]
    trained = phrase("epochs", epochs) if pd.isna(target) else f"{phrase('epochs', epochs)}, target loss {target:g}"
    return f"{trained[0].upper()}{trained[1:]}. "


def _records(strata: pd.DataFrame, styles: Mapping[str, SeriesStyle]) -> list[dict[str, Any]]:
    """A record per curve and loss, named by its network and curve; curves of one name by their sizes too."""
    rows = strata.to_dict("records")
    names = [_stratum(row) for row in rows]
    curves: dict[str, set[str]] = {}
    for stratum, row in zip(names, rows, strict=True):
        curves.setdefault(stratum, set()).add(curve_id(row))
    return [
        {
            "stratum": f"{stratum}, {_protocol(row)}" if len(curves[stratum]) > 1 else stratum,
            "along": curve_id(row),
            "curve": styles[str(row["regime"])].label,
            "kind": name(str(row["loss"])),
            **_estimate(row, "low", "high"),
        }
        for stratum, row in zip(names, rows, strict=True)
    ]


def _stratum(row: Mapping[Any, Any]) -> str:
    trained = departures(row, ("optimizer", "weight_decay"))
    return ", ".join([f"{regime_style(row['regime']).short}, momentum {row['momentum']:g}", *trained])


def _protocol(row: Mapping[Any, Any]) -> str:
    return Setup(shared_values(row[column] for column in SHARED)).protocol


def _mean(row: Mapping[Any, Any]) -> dict[str, Any]:
    limits = ("low", "high", "predicted_low", "predicted_high")
    return {"stratum": MEAN, "curve": MEAN_STYLE.label, "kind": name(str(row["loss"])), **_estimate(row, *limits)}


def _estimate(row: Mapping[Any, Any], *limits: str) -> dict[str, Any]:
    finite = {limit: float(row[limit]) if np.isfinite(row[limit]) else None for limit in limits}
    return {"tau": float(row["estimate"]), **finite, "n": int(row["n"])}


def _template(records: list[dict[str, Any]], styles: list[SeriesStyle], kinds: tuple[str, ...]) -> Spec:
    order = list(dict.fromkeys(record["stratum"] for record in records))
    colour, shape, fill = (encoded(channel) for channel in curve_channels(styles, legend=False))
    y = encoded(alt.Y("stratum:N", sort=order, title=None, axis=None))
    tooltip = [
        alt.Tooltip("stratum:N", title="curve"),
        alt.Tooltip("kind:N", title="attacked"),
        alt.Tooltip("tau:Q", title="τ", format=".3f"),
        alt.Tooltip("low:Q", title="95 % from", format=".3f"),
        alt.Tooltip("high:Q", title="95 % to", format=".3f"),
        alt.Tooltip("n:Q", title="points"),
    ]
    place = f"(indexof({json.dumps(kinds)}, datum.kind) - {(len(kinds) - 1) / 2}) * {DODGE} + {DODGE}"
    aside = {"yOffset": {"expr": place}}
    zero = layer({"type": "rule", "color": "currentColor", "opacity": 0.4, "strokeDash": [2, 3]}, x=_tau("zero"))
    spec = layered(
        zero | {"data": {"name": ZERO}},
        layer({"type": "rule", **aside, "strokeWidth": 1, "opacity": 0.9}, "isValid(datum.predicted_low)",
              x=_tau("predicted_low"), x2={"field": "predicted_high"}, y=y, color=colour),
        layer({"type": "rule", **aside, "strokeWidth": 2, "opacity": 0.75}, "isValid(datum.low)",
              x=_tau("low"), x2={"field": "high"}, y=y, color=colour, strokeDash=stroke_dash(kinds)),
        layer({"type": "point", **aside, "size": 52, "strokeWidth": 1.6, "opacity": 1},
              x=_tau("tau"), y=y, color=colour, shape=shape, fill=hollow(fill, kinds),
              tooltip=[encoded(one) for one in tooltip]),
        layer({"type": "text", "aria": False, "align": "left", "yOffset": -DODGE},
              f"datum.kind == {json.dumps(kinds[0])}", x={"value": 0}, y=y, text={"field": "stratum"}),
    )  # fmt: skip
    return spec | {"height": ROW_HEIGHT * len(order)}


def _tau(field: str) -> Spec:
    ends = {-1: ["sharper,", "less robust"], 1: ["sharper,", "more robust"]}
    words = " : ".join(
        f"datum.value == {end} ? {json.dumps([f'{end}'.replace('-', '−'), *said], ensure_ascii=False)}"
        for end, said in ends.items()
    )
    axis = alt.Axis(values=[-1, -0.5, 0, 0.5, 1], grid=False, labelExpr=f"{words} : datum.label", labelFlush=30)
    return encoded(
        alt.X(f"{field}:Q", title="Kendall's τ", scale=alt.Scale(domain=[-1.08, 1.08], nice=False), axis=axis)
    )
