"""The plane of curvature and robustness: cells as points joined to curves, counterexamples as arrows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.figures.batch_size import SPLITS, log_ticks, short
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
    file_name,
    layer,
    layered,
    rounded,
)
from analysis.figures.figure_data import FigureData
from analysis.figures.labels import beside_marks
from analysis.tables.words import name
from analysis.theme import PAPER, SeriesStyle, regime_style, text_colour

PAIRS, TEXTS = "pairs", "texts"
"""Names of the data sets of arrows and of texts."""

CONFIRMED = "#C2378A"

Array = NDArray[np.float64]
Limits = tuple[float, float]


def scatter_figure(
    data: FigureData, setup: Setup, *, attack: str, loss: str, epsilon: float, curvature: str
) -> Figure | None:
    """The cells of one setup under one attack: lambda1 (log axis) against adversarial accuracy, curve by curve."""
    cells = _cells(data, setup, attack=attack, loss=loss, epsilon=epsilon, curvature=curvature)
    shown = _with_a_place(cells)
    if shown.empty:
        return None
    styles, split = _styles(shown), curvature.removeprefix("lambda1_")
    limits = _limits(shown["lambda1_seeds"], logarithmic=True), _limits(shown["accuracy_seeds"])
    under = _under(attack, loss, epsilon)
    records = _records(shown)
    return Figure(
        name=file_name(*setup.slug, "plane", attack, loss, split),
        title=f"{setup.title}: λ₁ and accuracy under {under}",
        template=_plane(styles, split, f"accuracy under {name(attack)}, ε = {epsilon:g}", *limits),
        data={DATA: records, TEXTS: _texts(records, styles, limits)},
        caption=f"Test accuracy under {under}, and λ₁ on the {SPLITS[split]} set. {_marks(cells, shown)}",
        description=f"Scatter plot. {setup.title}: top Hessian eigenvalue against adversarial accuracy under {under}, "
        "a line for each curve along the batch size.",
        legend=styles,
        attack=attack,
    )


def arrow_figure(data: FigureData, setup: Setup, pairs: pd.DataFrame) -> Figure | None:
    """The strongest confirmed pair of each curve, as arrows from the smaller batch size to the larger.

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
    most = "; the strongest of each curve is drawn" if len(arrows) < 2 * len(confirmed) else ""
    others = len(pairs) - len(confirmed)
    left = f" Not drawn: {others} that are not confirmed." if others else ""
    return replace(
        plane,
        name=file_name(*setup.slug, "counterexamples", attack, f"eps{epsilon:g}", loss, split),
        title=f"{setup.title}: counterexamples under {under}",
        template=plane.template | {"layer": [line, *_arrow_marks(), *points]},
        data={**plane.data, PAIRS: arrows},
        caption=f"{count}{most}.{left} Arrows run from the smaller to the larger batch. {plane.caption}",
        description=f"Scatter plot with arrows. {setup.title}: pairs of settings of which the sharper is the more "
        f"robust, under {under}: {count}.",
    )


def _under(attack: str, loss: str, epsilon: float) -> str:
    return f"{name(attack)} at ε = {epsilon:g}, {name(loss)}"


# -- cells


def _cells(data: FigureData, setup: Setup, *, attack: str, loss: str, epsilon: float, curvature: str) -> pd.DataFrame:
    """The planned cells. `lambda1` is NaN where a network has none or one at or below 0: `not_positive` says which."""
    cells = data.answers("cells", setup, attack=attack, loss=loss, split="test", epsilon=epsilon)
    below = data.once(_not_positive, setup, curvature)
    not_positive = np.array([cell in below for cell in cells["cell_id"]], dtype=bool)
    lambda1 = np.where(not_positive, np.nan, np.exp2(cells[f"log2_{curvature}"].to_numpy(dtype=float)))
    seeds = [np.exp2(of_cell) for of_cell in cells[f"log2_{curvature}_seeds"]]
    return cells[_READ].assign(lambda1=lambda1, not_positive=not_positive, lambda1_seeds=seeds)


_READ = ["cell_id", "regime", "momentum", "batch_size", "accuracy", "accuracy_seeds", "n_seeds", "sound"]


def _not_positive(data: FigureData, setup: Setup, curvature: str) -> set[str]:
    """The ids of the cells with an eigenvalue at or below 0."""
    eigenvalues = data.rows("lambda1", setup)
    below = (eigenvalues["split"] == curvature.removeprefix("lambda1_")) & (eigenvalues["not_positive"] > 0)
    return set(eigenvalues.loc[below, "cell_id"])


def _with_a_place(cells: pd.DataFrame) -> pd.DataFrame:
    known = np.isfinite(cells["lambda1"].to_numpy()) & np.isfinite(cells["accuracy"].to_numpy(dtype=float))
    placed: pd.DataFrame = cells.loc[known]
    return placed


def _limits(seeds: Iterable[Array], *, logarithmic: bool = False) -> Limits:
    """The limits of an axis that shows every seed, with room for names."""
    values = np.concatenate(list(seeds))
    values = np.log10(values) if logarithmic else values
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    pad = max(0.08 * (high - low), 0.05 if logarithmic else 0.005)
    if logarithmic:
        return short(10 ** (low - pad)), short(10 ** (high + pad))
    return short(max(0.0, low - pad)), short(min(1.0, high + pad))


def _marks(cells: pd.DataFrame, shown: pd.DataFrame) -> str:
    """What marks and lines are, and which cells have none."""
    low, high = int(shown["n_seeds"].min()), int(shown["n_seeds"].max())
    seeds = f"{low} to {high}" if low < high else str(low)
    several = f"the mean of {seeds} networks, the small dots" if high > 1 else "one network"
    told = [f"A mark is {several}; a line joins the batch sizes of a curve, its ends are numbered."]
    told += ["Open marks: momentum 0."] if (shown["momentum"] == 0).any() else []
    told += ["Pale marks: accuracy below 1 %, untrained, or attack unreliable."] if not shown["sound"].all() else []
    out = cells[~cells.index.isin(shown.index)]
    why = {
        "not run": int((out["n_seeds"] == 0).sum()),
        "with λ₁ ≤ 0": int(((out["n_seeds"] > 0) & out["not_positive"]).sum()),
    }
    why["without λ₁"] = len(out) - sum(why.values())
    left = ", ".join(f"{count} {words}" for words, count in why.items() if count)
    return " ".join([*told, f"Settings left out: {left}."] if left else told)


def _styles(cells: pd.DataFrame) -> tuple[SeriesStyle, ...]:
    regimes = in_order({str(regime) for regime in cells["regime"]})
    return tuple(regime_style(regime, regimes) for regime in regimes)


def _records(cells: pd.DataFrame) -> list[dict[str, Any]]:
    """A record per cell."""
    columns = ("cell_id", "regime", "momentum", "batch_size", "lambda1", "accuracy", "n_seeds", "sound")
    seeds = ("lambda1_seeds", "accuracy_seeds")
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
            "lambda1_seeds": [rounded(one, 4) for one in along],
            "accuracy_seeds": [rounded(one, 4) for one in up],
        }
        for cell_id, regime, momentum, batch_size, lambda1, accuracy, n_seeds, sound, along, up in zip(
            *(cells[column].tolist() for column in (*columns, *seeds)), strict=True
        )
    ]


def curves(records: Sequence[Mapping[str, Any]]) -> dict[tuple[str, float], list[int]]:
    """(Regime, momentum) -> the numbers of its records, from the smallest batch size on."""
    found: dict[tuple[str, float], list[int]] = {}
    for number in sorted(range(len(records)), key=lambda n: records[n]["batch_size"]):
        found.setdefault((records[number]["curve"], records[number]["momentum"]), []).append(number)
    return found


def _texts(
    records: Sequence[Mapping[str, Any]], styles: Sequence[SeriesStyle], limits: tuple[Limits, Limits]
) -> list[dict[str, Any]]:
    """The name of each curve beside one of its ends, and the batch sizes of both, where there is room."""
    (low, high), (bottom, top) = limits
    x = WIDTH * np.log([record["lambda1"] / low for record in records]) / np.log(high / low)
    marks = np.stack([x, HEIGHT * (top - np.array([r["accuracy"] for r in records])) / (top - bottom)], axis=1)
    steps = np.linspace(0.0, 1.0, 40)[:, None]
    lines, names = [marks[:0]], []
    sizes: dict[str, tuple[str, Sequence[int]]] = {}
    short = {style.label: style.short for style in styles}
    for (curve, momentum), on in curves(records).items():
        if len(on) == 1:
            continue  # most often the cell that it shares with another curve
        lines += [marks[i] + steps * (marks[j] - marks[i]) for i, j in pairwise(on)]
        names.append((f"{short[curve]}, momentum {momentum:g}", (on[-1], on[0], *on[1:-1])))
        # a cell on two curves is numbered once
        sizes |= {records[n]["cell"]: (f"{records[n]['batch_size']:,}", (n,)) for n in (on[0], on[-1])}
    asked = [*names, *sizes.values()]
    return [
        {key: records[place.mark][key] for key in ("curve", "lambda1", "accuracy")}
        | {"text": text, "is_name": n < len(names)}
        | {"dx": rounded(place.dx, 3), "dy": rounded(place.dy, 3), "align": place.align}
        for n, ((text, _), place) in enumerate(
            zip(asked, beside_marks(marks, np.concatenate(lines), asked), strict=True)
        )
        if place
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
            **{f"{axis}{n}": rounded(pair[f"{field}_{s}"]) for n, s in enumerate("ij") for axis, field in _AXES},
        }
        for number, pair in enumerate(pairs.to_dict("records"))
        for end, side in enumerate("ij")
    ]


# -- charts


@cache
def _plane(styles: tuple[SeriesStyle, ...], split: str, up: str, x: Limits, y: Limits) -> Spec:
    return layered(*_points(styles), encoding=_axes(split, up, x, y))


def _axes(split: str, up: str, x: Limits, y: Limits) -> Spec:
    along = alt.X(
        "lambda1:Q",
        title=f"λ₁ on the {SPLITS[split]} set (sharper →)",
        scale=alt.Scale(type="log", domain=list(x), nice=False),
        axis=alt.Axis(labelExpr=POWERS, values=list(log_ticks(*x)), grid=False),
    )
    accuracy = alt.Y(
        "accuracy:Q",
        title=up,
        scale=alt.Scale(zero=False, domain=list(y), nice=False),
        axis=alt.Axis(format="~%", tickCount=5),
    )
    return {"x": encoded(along), "y": encoded(accuracy)}


def _points(styles: tuple[SeriesStyle, ...]) -> list[Spec]:
    """The curves, their seeds and cells (open at momentum 0), and the texts beside these."""
    colour, shape, fill = (encoded(channel) for channel in curve_channels(styles))
    shown = [
        alt.Tooltip("curve:N", title="regime"),
        alt.Tooltip("momentum:Q"),
        alt.Tooltip("batch_size:Q", title="batch size", format="d"),
        alt.Tooltip("lambda1:Q", title="λ₁", format=".4~g"),
        alt.Tooltip("accuracy:Q", format=".2%"),
        alt.Tooltip("seeds:Q"),
    ]
    inks = [(f"datum.curve == {json.dumps(style.label)}", text_colour(style.colour)) for style in styles]
    named = {"condition": [{"test": test, "value": ink} for test, ink in inks]}
    order = encoded(alt.Order("batch_size:Q"))
    pale = {"condition": {"test": "datum.doubtful", "value": 0.3}, "value": 1}
    open_at_0 = fill | {"condition": {"test": "datum.momentum == 0", "value": PAPER}}
    one_seed = {axis: {"field": f"{field}_seed", "type": "quantitative"} for axis, field in _AXES}
    place = {"xOffset": "datum.dx", "yOffset": "datum.dy", "align": "datum.align"}
    text: Spec = {"type": "text", "aria": False, "baseline": "middle", **{k: {"expr": v} for k, v in place.items()}}
    texts: Spec = {"data": {"name": TEXTS}}
    return [
        layer({"type": "line", "strokeWidth": 1.6, "opacity": 0.6}, color=colour, detail=_MOMENTUM, order=order),
        layer({"type": "circle", "size": 9, "opacity": 0.45, "aria": False}, color=colour, **one_seed)
        | {"transform": [{"flatten": [f"{f}_seeds" for _, f in _AXES], "as": [f"{f}_seed" for _, f in _AXES]}]},
        layer(
            {"type": "point", "size": 50, "strokeWidth": 1.6},
            color=colour, shape=shape, fill=open_at_0, opacity=pale, tooltip=[encoded(one) for one in shown],
        ),
        layer(text | {"opacity": 0.8}, "!datum.is_name", text={"field": "text"}) | texts,
        layer(text | {"fontWeight": 600}, "datum.is_name", text={"field": "text"}, color=named) | texts,
    ]  # fmt: skip


_AXES = (("x", "lambda1"), ("y", "accuracy"))

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
