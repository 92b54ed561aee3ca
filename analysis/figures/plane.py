"""The plane of curvature and robustness: cells as points joined to curves, counterexamples as arrows."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.figures.batch_size import SPLITS, log_ticks
from analysis.figures.curve_sets import Setup, in_order
from analysis.figures.figure import (
    DATA,
    HEIGHT,
    POWERS,
    WIDTH,
    Figure,
    Spec,
    curve_channels,
    encoded,
    layer,
    layered,
    rounded,
)
from analysis.figures.figure_data import FigureData
from analysis.figures.labels import beside_marks
from analysis.tables.words import name
from analysis.theme import SeriesStyle, regime_style

PAIRS = "pairs"

CONFIRMED = "#C2378A"

MOST_LABELLED = 30
"""With more points than this, batch sizes are written only at the ends of the curves."""

Array = NDArray[np.float64]
Limits = tuple[float, float]


def scatter_figure(
    data: FigureData, setup: Setup, *, attack: str, loss: str, epsilon: float, curvature: str
) -> Figure | None:
    """The cells of one setup under one attack: lambda1 (log axis) against adversarial accuracy, curve by curve.

    All attacks and losses of a setup have the same axes.
    """
    cells = _cells(data, setup, attack=attack, loss=loss, epsilon=epsilon, curvature=curvature)
    shown = _with_a_place(cells)
    if shown.empty:
        return None
    styles, split = _styles(shown), curvature.removeprefix("lambda1_")
    spans = data.once(_limits, setup, epsilon, curvature)
    under = _under(attack, loss, epsilon)
    return Figure(
        name="-".join((*setup.slug, "plane", attack, loss, split)),
        title=f"{setup.title}: λ₁ and accuracy under {under}",
        template=_plane(styles, split, *spans),
        data={DATA: _records(shown, spans)},
        caption=f"{under}. {_counted(cells, shown)} {_MARKS}",
        description=f"Scatter plot. {setup.title}: top Hessian eigenvalue against adversarial accuracy under {under}, "
        "a line for each curve along the batch size.",
        legend=styles,
        attack=attack,
    )


def arrow_figure(data: FigureData, setup: Setup, pairs: pd.DataFrame) -> Figure | None:
    """The most severe confirmed pair of each curve, as arrows from the smaller batch size to the larger.

    `pairs`: rows of `CounterexampleReport.found` that agree in everything but regime, momentum and batch sizes. None if
    none of them is confirmed.
    """
    confirmed = pairs[pairs["label"] == "confirmed"].sort_values("severity", ascending=False, kind="stable")
    if confirmed.empty:
        return None
    first = confirmed.iloc[0]
    attack, loss, epsilon = str(first["attack"]), str(first["loss"]), float(first["epsilon"])
    curvature = str(first["curvature"])
    plane = scatter_figure(data, setup, attack=attack, loss=loss, epsilon=epsilon, curvature=curvature)
    if plane is None:
        return None
    drawn = {record["cell"] for record in plane.data[DATA]}
    arrows = _arrow_ends(_placed(confirmed, drawn, data).drop_duplicates(["regime", "momentum"]), data)
    if not arrows:
        return None
    under, split = _under(attack, loss, epsilon), curvature.removeprefix("lambda1_")
    line, *points = plane.template["layer"]
    count = f"{len(confirmed)} confirmed pair{'s' * (len(confirmed) > 1)}"
    most = "; the most severe of each curve is drawn" if len(arrows) < 2 * len(confirmed) else ""
    others = len(pairs) - len(confirmed)
    left = f" Not drawn: {others} that are not confirmed." if others else ""
    return replace(
        plane,
        name="-".join((*setup.slug, "counterexamples", attack, f"eps{epsilon:g}", loss, split)),
        title=f"{setup.title}: counterexamples under {under}",
        template=plane.template | {"layer": [line, *_arrow_marks(), *points]},
        data={**plane.data, PAIRS: arrows},
        caption=f"{under}: {count}{most}.{left} Arrows run from the smaller to the larger batch. {_MARKS}",
        description=f"Scatter plot with arrows. {setup.title}: pairs of cells of which the sharper is the more "
        f"robust, under {under}: {count}.",
    )


def _under(attack: str, loss: str, epsilon: float) -> str:
    return f"{name(attack)} at ε = {epsilon:g}, {name(loss)}"


# -- cells


def _cells(data: FigureData, setup: Setup, *, attack: str, loss: str, epsilon: float, curvature: str) -> pd.DataFrame:
    """The planned cells. `lambda1` is NaN where a network has none or one at or below 0: `not_positive` says which."""
    cells = data.answers("cells", setup, attack=attack, loss=loss, split="test", epsilon=epsilon)
    return _with_lambda1(data, setup, cells, curvature)


def _with_lambda1(data: FigureData, setup: Setup, cells: pd.DataFrame, curvature: str) -> pd.DataFrame:
    below = data.once(_not_positive, setup, curvature)
    not_positive = np.array([cell in below for cell in cells["cell_id"]], dtype=bool)
    lambda1 = np.where(not_positive, np.nan, np.exp2(cells[f"log2_{curvature}"].to_numpy(dtype=float)))
    return cells[_READ].assign(lambda1=lambda1, not_positive=not_positive)


_READ = ["cell_id", "regime", "momentum", "batch_size", "accuracy", "n_seeds", "sound"]


def _not_positive(data: FigureData, setup: Setup, curvature: str) -> set[str]:
    """The ids of the cells with an eigenvalue at or below 0."""
    eigenvalues = data.rows("lambda1", setup)
    below = (eigenvalues["split"] == curvature.removeprefix("lambda1_")) & (eigenvalues["not_positive"] > 0)
    return set(eigenvalues.loc[below, "cell_id"])


def _with_a_place(cells: pd.DataFrame) -> pd.DataFrame:
    known = np.isfinite(cells["lambda1"].to_numpy()) & np.isfinite(cells["accuracy"].to_numpy(dtype=float))
    placed: pd.DataFrame = cells.loc[known]
    return placed


def _limits(data: FigureData, setup: Setup, epsilon: float, curvature: str) -> tuple[Limits, Limits]:
    """The limits of lambda1 and of adversarial accuracy over all attacks and losses."""
    cells = data.rows("cells", setup)
    cells = cells[(cells["split"] == "test") & (cells["epsilon"] == epsilon)]
    shown = _with_a_place(_with_lambda1(data, setup, cells, curvature))
    logs, accuracy = np.log10(shown["lambda1"].to_numpy()), shown["accuracy"].to_numpy()
    x = 10.0 ** _padded(logs, 0.05)
    y = np.clip(_padded(accuracy, 0.005), 0.0, 1.0)
    return (_short(x[0]), _short(x[1])), (_short(y[0]), _short(y[1]))


def _padded(values: Array, least: float) -> Array:
    pad = max(0.08 * float(np.ptp(values)), least)
    return np.array([values.min() - pad, values.max() + pad])


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def _counted(cells: pd.DataFrame, shown: pd.DataFrame) -> str:
    """How many points there are, and which cells have none."""
    points = f"{len(shown)} points, means over seeds."
    if len(shown) == len(cells):
        return points
    out = cells[~cells.index.isin(shown.index)]
    why = {
        "not run": int((out["n_seeds"] == 0).sum()),
        "with λ₁ ≤ 0": int(((out["n_seeds"] > 0) & out["not_positive"]).sum()),
    }
    why["without λ₁"] = len(out) - sum(why.values())
    left = ", ".join(f"{count} {words}" for words, count in why.items() if count)
    return f"{points} Cells left out: {left}."


def _pixels(shown: pd.DataFrame, spans: tuple[Limits, Limits]) -> tuple[Array, Array]:
    """Where the cells are in the plot, from its upper left."""
    (low, high), (bottom, top) = spans
    x = WIDTH * np.log(shown["lambda1"].to_numpy(dtype=float) / low) / np.log(high / low)
    return x, HEIGHT * (top - shown["accuracy"].to_numpy(dtype=float)) / (top - bottom)


def _styles(cells: pd.DataFrame) -> tuple[SeriesStyle, ...]:
    regimes = in_order({str(regime) for regime in cells["regime"]})
    return tuple(regime_style(regime, regimes) for regime in regimes)


def _records(cells: pd.DataFrame, spans: tuple[Limits, Limits]) -> list[dict[str, Any]]:
    """A record per cell. Batch sizes are written where there is room: those of all cells or of the curves' ends."""
    curves = list(zip(cells["regime"], cells["momentum"], strict=True))
    sizes = cells["batch_size"].tolist()
    ends: dict[Any, tuple[int, int]] = {}
    for curve, size in zip(curves, sizes, strict=True):
        low, high = ends.get(curve, (size, size))
        ends[curve] = min(low, size), max(high, size)
    keys = [(size not in ends[curve], curve, size) for curve, size in zip(curves, sizes, strict=True)]
    cells = cells.iloc[sorted(range(len(keys)), key=lambda n: keys[n])]
    few = len(keys) if len(keys) <= MOST_LABELLED else sum(not inner for inner, *_ in keys)
    written = beside_marks(*_pixels(cells, spans), list(map(str, cells["batch_size"].iloc[:few])))
    places = [*written, *([None] * (len(keys) - few))]
    columns = ("cell_id", "regime", "momentum", "batch_size", "lambda1", "accuracy", "n_seeds", "sound")
    return [
        {
            "cell": str(cell_id),
            "curve": regime_style(str(regime)).label,
            "momentum": float(momentum),
            "batch_size": int(batch_size),
            "lambda1": rounded(lambda1),
            "accuracy": rounded(accuracy),
            "seeds": int(n_seeds),
            "doubtful": not sound,
            "text": place,
        }
        for cell_id, regime, momentum, batch_size, lambda1, accuracy, n_seeds, sound, place in zip(
            *(cells[column].tolist() for column in columns), places, strict=True
        )
    ]


def _placed(pairs: pd.DataFrame, drawn: set[str], data: FigureData) -> pd.DataFrame:
    """The pairs of which both cells are drawn."""
    both = [
        all(data.cell_id(pair | {"batch_size": pair[f"batch_{side}"]}) in drawn for side in "ij")
        for pair in pairs.to_dict("records")
    ]
    return pairs[both]


def _arrow_ends(pairs: pd.DataFrame, data: FigureData) -> list[dict[str, Any]]:
    """Two records per pair, one for either end, each with the places of both."""
    return [
        {
            "pair": number,
            "end": end,
            "cell": data.cell_id(pair | {"batch_size": pair[f"batch_{side}"]}),
            **{f"{axis}{n}": rounded(pair[f"{field}_{s}"]) for n, s in enumerate("ij") for axis, field in _FIELDS},
        }
        for number, pair in enumerate(pairs.to_dict("records"))
        for end, side in enumerate("ij")
    ]


_FIELDS = (("x", "lambda1"), ("y", "accuracy"))


# -- charts

_MARKS = "Lines join the cells of one curve; numbers are batch sizes. Pale: at its floor, untrained or suspect."


@cache
def _plane(styles: tuple[SeriesStyle, ...], split: str, x: Limits, y: Limits) -> Spec:
    return layered(*_points(styles), encoding=_axes(split, x, y))


def _axes(split: str, x: Limits, y: Limits) -> Spec:
    along = alt.X(
        "lambda1:Q",
        title=f"λ₁ ({SPLITS[split]} set)",
        scale=alt.Scale(type="log", domain=list(x), nice=False),
        axis=alt.Axis(labelExpr=POWERS, values=list(log_ticks(*x)), grid=False),
    )
    up = alt.Y(
        "accuracy:Q",
        title="adversarial accuracy",
        scale=alt.Scale(zero=False, domain=list(y), nice=False),
        axis=alt.Axis(format="~%", tickCount=5),
    )
    return {"x": encoded(along), "y": encoded(up)}


def _points(styles: tuple[SeriesStyle, ...]) -> list[Spec]:
    """The curves, their cells, and the batch sizes above these."""
    colour, shape, fill = (encoded(channel) for channel in curve_channels(styles))
    shown = [
        alt.Tooltip("curve:N", title="regime"),
        alt.Tooltip("momentum:Q"),
        alt.Tooltip("batch_size:Q", title="batch size", format="d"),
        alt.Tooltip("lambda1:Q", title="λ₁", format=".4~g"),
        alt.Tooltip("accuracy:Q", format=".2%"),
        alt.Tooltip("seeds:Q"),
    ]
    order = encoded(alt.Order("batch_size:Q"))
    pale = {"condition": {"test": "datum.doubtful", "value": 0.3}, "value": 1}
    return [
        layer({"type": "line", "strokeWidth": 1.2, "opacity": 0.45}, color=colour, detail=_MOMENTUM, order=order),
        layer(
            {"type": "point", "size": 46, "strokeWidth": 1.5},
            color=colour, shape=shape, fill=fill, opacity=pale, tooltip=[encoded(one) for one in shown],
        ),
        layer(
            {"type": "text", "opacity": 0.75, **_TEXT_PLACE},
            "datum.text", text={"field": "batch_size"},
        ),
    ]  # fmt: skip


_TEXT_PLACE = {f"{axis}Offset": {"expr": f"datum.text[{n}]"} for n, axis in enumerate("xy")}

_MOMENTUM = {"field": "momentum", "type": "nominal"}

_ACROSS, _DOWN = (f"(scale('{axis}', datum.{axis}1) - scale('{axis}', datum.{axis}0))" for axis in "xy")
_LENGTH = f"max(1, sqrt({_ACROSS} * {_ACROSS} + {_DOWN} * {_DOWN}))"

GAP, BESIDE = 8, -6
"""Pixels from the middle of a mark to its arrow's end: along the arrow, and to its side."""


HEAD = "M0.4,0L-1,0.5L-1,-0.5Z"
"""An arrow's head that points right, with its tip near the shaft's end."""


def _arrow_marks() -> list[Spec]:
    """Shafts and heads, beside the line between two marks."""
    inwards = f"(datum.end == 0 ? {GAP} : {-GAP})"
    aside = {
        "xOffset": {"expr": f"({_ACROSS} * {inwards} + {_DOWN} * {BESIDE}) / {_LENGTH}"},
        "yOffset": {"expr": f"({_DOWN} * {inwards} - {_ACROSS} * {BESIDE}) / {_LENGTH}"},
    }
    place = {axis: {"field": f"{axis}e", "type": "quantitative"} for axis in "xy"}
    own = [{"calculate": f"datum.end == 0 ? datum.{axis}0 : datum.{axis}1", "as": f"{axis}e"} for axis in "xy"]
    data: Spec = {"data": {"name": PAIRS}, "transform": own}
    angle = {"expr": f"atan2({_DOWN}, {_ACROSS}) * 180 / PI"}
    head: Spec = {"type": "point", "shape": HEAD, "size": 220, "filled": True, "opacity": 1}
    return [
        layer({"type": "line", "strokeWidth": 1.8, "color": CONFIRMED, **aside}, **place, detail={"field": "pair"})
        | data,
        layer(head | {"angle": angle, "color": CONFIRMED, **aside}, **place)
        | data
        | {"transform": [*own, {"filter": "datum.end == 1"}]},
    ]
