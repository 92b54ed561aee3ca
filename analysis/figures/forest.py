"""Forest plot: Kendall's tau of lambda1 and adversarial accuracy per stratum, and their random-effects mean."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from analysis.figures.batch_size import hollow, kinds_in_words, stroke_dash
from analysis.figures.figure import DATA, Figure, Spec, curve_channels, encoded, layer, layered
from analysis.figures.figure_data import curve_id
from analysis.tables.words import name
from analysis.theme import OTHER, REGIMES, SeriesStyle, optimizer_style, regime_style

ROW_HEIGHT = 28
ZERO = "zero"

MEAN = "random-effects mean"

DODGE = 9
"""Pixels between the two losses of one stratum."""


def forest_figure(forest: pd.DataFrame, *, attack: str, curvature: str) -> Figure | None:
    """Strata (with 95 % intervals) and their random-effects mean (with its prediction interval), under each loss.

    `forest`: rows of `CorrelationReport.forest` at the headline epsilons.
    """
    mine = forest[(forest["attack"] == attack) & (forest["curvature"] == curvature)].dropna(subset="estimate")
    losses = sorted(mine.loc[mine["scope"] == "stratum", "loss"].unique(), key=lambda loss: (loss != "stable", loss))
    if not losses:
        return None
    strata = [_record(row) for row in mine[mine["scope"] == "stratum"].to_dict("records")]
    means = [mean for loss in losses if (mean := _mean(mine[mine["loss"] == loss]))]
    kinds = tuple(map(name, losses))
    records = [*strata, *means]
    said = "".join(f" {m['kind']}: mean {m['tau']:.2f} [{m['low']:.2f}, {m['high']:.2f}]." for m in means)
    count = len({record["stratum"] for record in strata})
    return Figure(
        name=f"forest-{attack}-{curvature.removeprefix('lambda1_')}",
        title=f"Kendall's τ of λ₁ and accuracy under {name(attack)}",
        template=_template(records, _styles(records), kinds),
        data={DATA: records, ZERO: [{"zero": 0}]},
        caption="Kendall's τ of λ₁ and adversarial accuracy along batch size, 95 % intervals; the thin line is the "
        f"prediction interval of a new stratum. {kinds_in_words(kinds)}",
        description=f"Forest plot of Kendall's tau per stratum under {name(attack)}: {count} strata.{said}",
        attack=attack,
    )


def _record(row: Mapping[Any, Any]) -> dict[str, Any]:
    where = f"{name(str(row['dataset']))} {name(str(row['model']))}"
    curve = regime_style(str(row["regime"])).label
    trained = [] if row["optimizer"] == "sgd" else [optimizer_style(str(row["optimizer"])).label]
    trained += [f"weight decay {row['weight_decay']:g}"] if row["weight_decay"] else []
    return {
        "stratum": f"{where} · {', '.join([curve.removesuffix(' constant'), *trained])}, m={row['momentum']:g}",
        "along": curve_id(row),
        "curve": curve,
        "kind": name(str(row["loss"])),
        **_estimate(row, "low", "high"),
    }


def _mean(rows: pd.DataFrame) -> dict[str, Any] | None:
    """The mean over all studies, or that of the only study."""
    scope = "all" if (rows["scope"] == "all").any() else "study"
    means = rows[rows["scope"] == scope].to_dict("records")
    if not means:
        return None
    limits = ("low", "high", "predicted_low", "predicted_high")
    loss = name(str(means[0]["loss"]))
    return {"stratum": MEAN, "curve": OTHER.label, "kind": loss, **_estimate(means[0], *limits)}


def _estimate(row: Mapping[Any, Any], *limits: str) -> dict[str, Any]:
    finite = {limit: float(row[limit]) if np.isfinite(row[limit]) else None for limit in limits}
    return {"tau": float(row["estimate"]), **finite, "n": int(row["n"])}


def _styles(records: list[dict[str, Any]]) -> list[SeriesStyle]:
    labels = {record["curve"] for record in records}
    found = [style for style in REGIMES.values() if style.label in labels]
    left = sorted(labels - {style.label for style in found} - {OTHER.label})
    unknown = [SeriesStyle(label, OTHER.colour, OTHER.shape) for label in left]
    return [*found, *unknown, SeriesStyle(OTHER.label, OTHER.colour, "diamond")]


def _template(records: list[dict[str, Any]], styles: list[SeriesStyle], kinds: tuple[str, ...]) -> Spec:
    order = list(dict.fromkeys(record["stratum"] for record in records))
    colour, shape, fill = (encoded(channel) for channel in curve_channels(styles, legend=False))
    rows = alt.Axis(labelLimit=320, labelPadding=8, ticks=False, domain=False)
    y = encoded(alt.Y("stratum:N", sort=order, title=None, axis=rows))
    tooltip = [
        alt.Tooltip("stratum:N"),
        alt.Tooltip("kind:N", title="attacked"),
        alt.Tooltip("tau:Q", title="τ", format=".3f"),
        alt.Tooltip("low:Q", title="95 % from", format=".3f"),
        alt.Tooltip("high:Q", title="95 % to", format=".3f"),
        alt.Tooltip("n:Q", title="points"),
    ]
    place = f"(indexof({json.dumps(kinds)}, datum.kind) - {(len(kinds) - 1) / 2}) * {DODGE}"
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
    )  # fmt: skip
    return spec | {"height": ROW_HEIGHT * len(order)}


def _tau(field: str) -> Spec:
    return encoded(
        alt.X(
            f"{field}:Q",
            title=["Kendall's τ", "← the sharper, the less robust"],
            scale=alt.Scale(domain=[-1.08, 1.08], nice=False),
            axis=alt.Axis(values=[-1, -0.5, 0, 0.5, 1], grid=False),
        )
    )
