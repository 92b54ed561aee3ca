"""The first picture of a report: adversarial accuracy and lambda1 against batch size, a dot a network."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.figures.batch_size import log_ticks
from analysis.figures.curve_sets import CurveSet, Setup, curve_sets
from analysis.figures.figure import POWERS, Figure, Spec, layer, layered, rounded
from analysis.figures.figure_data import FigureData, curve_id
from analysis.figures.labels import ROOM, spread
from analysis.tables.cells import CELL
from analysis.tables.epsilons import at_headline
from analysis.tables.words import name
from analysis.theme import PAPER, SeriesStyle, number, percent

Record = dict[str, Any]

LOSSES = ("ce", "stable")

DODGE = 0.14
"""Doublings of the batch size between the dots of two curves, so that they do not cover each other."""


@dataclass(frozen=True)
class Lead:
    """The first picture: two panels over batch size of the networks of `setup`, one of `setups`, with its curves."""

    setup: Setup
    setups: int
    regimes: tuple[tuple[str, SeriesStyle], ...]
    figures: tuple[Figure, ...]


def lead(data: FigureData) -> Lead | None:
    """The picture of the setup with most networks under attack; None if no network was attacked."""
    attacked: list[tuple[int, Setup, pd.DataFrame]] = []
    for setup in data.setups:
        cells = data.rows("cells", setup)
        cells = cells[(cells["split"] == "test") & (cells["n_seeds"] > 0) & cells["loss"].isin(LOSSES)]
        cells = at_headline(data.table, cells)
        if len(cells):
            attacked.append((int(cells.drop_duplicates(list(CELL))["n_seeds"].sum()), setup, cells))
    if not attacked:
        return None
    _, setup, cells = max(attacked, key=lambda found: found[0])
    sizes = cells.groupby(["regime", "momentum"])["batch_size"].nunique()
    curves = curve_sets({(str(r), float(m)) for r, m in sizes[sizes >= min(2, int(sizes.max()))].index})[0]
    cells = curves.select(cells)
    figures = [_accuracy(setup, cells, curves), _lambda1(setup, cells, curves)]
    regimes = tuple((str(key[0]), style) for key, style in curves.curves)
    return Lead(setup, len(attacked), regimes, tuple(figure for figure in figures if figure is not None))


def _accuracy(setup: Setup, cells: pd.DataFrame, curves: CurveSet) -> Figure:
    epsilon = float(cells["epsilon"].iloc[0])
    asked = cells.groupby("attack")
    count = asked["cell_id"].nunique()
    usual = count == count.max()  # the mean of an attack on fewer cells is that of other networks
    attack = str(asked["accuracy"].mean()[usual].idxmin())
    cells = cells[cells["attack"] == attack]
    losses = [loss for loss in LOSSES if (cells["loss"] == loss).any()]
    dots = [dot for cell, style, shift in _placed(cells, curves) for dot in _accuracies(cell, style, shift)]
    lines = _lines(cells[cells["loss"] == losses[-1]], curves, "accuracy")
    values = [dot["value"] for dot in dots]
    pad = 0.06 * max(max(values) - min(values), 0.02)
    domain = (max(0.0, min(values) - pad), min(1.0, max(values) + pad))
    what = f"Adversarial accuracy ({name(attack)}, ε = {epsilon:g})"
    told = f"under the {name(losses[-1])}; the lines join the means"
    if len(losses) > 1:
        told = (
            f"hollow under the {name('ce')}, solid under the {name('stable')}; the lines join the means under the "
            f"{name('stable')}"
        )
    return Figure(
        name="lead-accuracy",
        title=f"{setup.title}: {what[0].lower()}{what[1:]}",
        template=_template(curves, dots, {"type": "linear", "domain": list(domain), "nice": False},
                           {"format": ".0%", "tickCount": 5}, "adversarial accuracy", ".1%"),
        data={"dots": dots, "lines": lines, "labels": _labels(lines, domain)},
        caption=f"A dot is a network (one seed), {told}.",
        description=f"{setup.title}, {what} against batch size. {_ends(lines, percent)}",
    )  # fmt: skip


def _accuracies(cell: Record, style: SeriesStyle, shift: float) -> Iterator[Record]:
    published = cell["loss"] == "ce"
    for seed, accuracy in zip(cell["seeds"], cell["accuracy_seeds"], strict=True):
        yield {
            **_dot(cell, style, shift + (-0.03 if published else 0.03)),
            "seed": int(seed),
            "value": rounded(float(accuracy)),
            "hollow": bool(published),
            "of": name(str(cell["loss"])),
        }


def _lambda1(setup: Setup, cells: pd.DataFrame, curves: CurveSet) -> Figure | None:
    cells = cells.drop_duplicates(list(CELL))
    dots = [dot for cell, style, shift in _placed(cells, curves) for dot in _eigenvalues(cell, style, shift)]
    if not dots:
        return None
    known = cells.assign(lambda1=np.exp2(cells["log2_lambda1_train"].astype(float)))
    complete = [bool(np.isfinite(seeds.astype(float)).all()) for seeds in known["log2_lambda1_train_seeds"]]
    lines = _lines(known[complete], curves, "lambda1")
    values = [dot["value"] for dot in dots]
    domain = (min(values) / 1.25, max(values) * 1.25)
    once = cells.drop_duplicates("cell_id")["log2_lambda1_train_seeds"]  # a cell may be on two curves
    nowhere = sum(int((~np.isfinite(seeds.astype(float))).sum()) for seeds in once)
    left_out = f" {nowhere} network{'s' if nowhere > 1 else ''} without a positive eigenvalue " if nowhere else ""
    left_out += ("are not drawn." if nowhere > 1 else "is not drawn.") if nowhere else ""
    hollow = " Hollow: not converged." if any(dot["hollow"] for dot in dots) else ""
    return Figure(
        name="lead-lambda1",
        title=f"{setup.title}: λ₁ on the training set",
        template=_template(curves, dots, {"type": "log", "domain": list(domain), "nice": False},
                           {"values": list(log_ticks(*domain)), "labelExpr": POWERS}, "λ₁ (training set)", ".4~g"),
        data={"dots": dots, "lines": lines, "labels": _labels(lines, domain, logarithmic=True)},
        caption=f"Top eigenvalue λ₁ of the Hessian of the training loss; the lines join geometric means.{left_out}"
        f"{hollow}",
        description=f"{setup.title}, top Hessian eigenvalue against batch size, log axis. {_ends(lines, number)}",
    )  # fmt: skip


def _eigenvalues(cell: Record, style: SeriesStyle, shift: float) -> Iterator[Record]:
    for seed, log2 in zip(cell["seeds"], cell["log2_lambda1_train_seeds"], strict=True):
        if math.isfinite(log2):
            yield {
                **_dot(cell, style, shift),
                "seed": int(seed),
                "value": rounded(2.0 ** float(log2)),
                "hollow": not cell["converged_train"],
                "of": "training set",
            }


def _placed(cells: pd.DataFrame, curves: CurveSet) -> Iterator[tuple[Record, SeriesStyle, float]]:
    """Each cell with its curve's style and the doublings by which its dots are moved aside."""
    styles = list(curves.styles)
    for cell, style in zip(cells.to_dict("records"), curves.styles_of(cells), strict=True):
        yield {str(k): v for k, v in cell.items()}, style, DODGE * (styles.index(style) - (len(styles) - 1) / 2)


def _dot(cell: Record, style: SeriesStyle, shift: float) -> Record:
    size = int(cell["batch_size"])
    return {"cell": str(cell["cell_id"]), "curve": style.label, "batch": size, "x": rounded(size * 2.0**shift)}


def _lines(cells: pd.DataFrame, curves: CurveSet, column: str) -> list[Record]:
    """The means along each curve, from the smallest batch size on."""
    return [
        {**_dot(cell, style, shift), "along": curve_id(cell), "value": rounded(cell[column]), "short": style.short}
        for cell, style, shift in _placed(cells.sort_values("batch_size"), curves)
    ]


def _labels(lines: Sequence[Record], domain: tuple[float, float], *, logarithmic: bool = False) -> list[Record]:
    """Each curve's name at the end of its line, moved apart where two would cover each other."""
    scaled, back = (math.log, math.exp) if logarithmic else (float, float)
    low, high = map(scaled, domain)
    ends = sorted({record["curve"]: record for record in lines}.values(), key=lambda end: end["value"])
    places = spread([(scaled(end["value"]) - low) / (high - low) for end in ends])
    right = max((record["x"] for record in lines), default=0.0)
    return [
        {"curve": end["curve"], "text": end["short"], "x": right, "value": rounded(back(low + place * (high - low)))}
        for end, place in zip(ends, places, strict=True)
    ]


def _template(
    curves: CurveSet, dots: Sequence[Record], scale: Spec, axis: Spec, title: str, number_format: str
) -> Spec:
    names, colours = [s.label for s in curves.styles], [s.colour for s in curves.styles]
    paint = {"field": "curve", "type": "nominal", "scale": {"domain": names, "range": colours}, "legend": None}
    fill = paint | {"condition": {"test": "datum.hollow", "value": PAPER}}
    sizes = sorted({dot["batch"] for dot in dots})
    x = {
        "field": "x", "type": "quantitative", "title": "batch size",
        "scale": {"type": "log", "base": 2, "domain": [sizes[0] / 1.3, sizes[-1] * 1.3], "nice": False},
        "axis": {"values": sizes, "format": "d", "grid": False, "labelOverlap": True, "labelFlush": False},
    }  # fmt: skip
    y = {"field": "value", "type": "quantitative", "title": title, "scale": scale, "axis": axis}
    tooltip = [
        {"field": "curve", "type": "nominal", "title": "curve"},
        {"field": "batch", "type": "quantitative", "title": "batch size", "format": "d"},
        {"field": "value", "type": "quantitative", "title": title, "format": number_format},
        {"field": "of", "type": "nominal", "title": "of"},
        {"field": "seed", "type": "quantitative", "title": "seed", "format": "d"},
    ]
    return layered(
        {"data": {"name": "lines"}}
        | layer({"type": "line", "strokeWidth": 2, "opacity": 0.75}, x=x, y=y, color=paint),
        {"data": {"name": "dots"}}
        | layer({"type": "circle", "size": 34, "strokeWidth": 1.3, "opacity": 1, "filled": False},
                x=x, y=y, color=paint, fill=fill, tooltip=tooltip),
        {"data": {"name": "labels"}}
        | layer({"type": "text", "align": "left", "dx": 13, "fontWeight": 600, "fontSize": 11.5},
                x=x, y=y, color=paint, text={"field": "text", "type": "nominal"}),
        **ROOM,
    )  # fmt: skip


def _ends(lines: Sequence[Record], show: Any) -> str:
    """The first and the last mean of each curve in words."""
    curves: dict[str, list[Record]] = {}
    for record in lines:
        curves.setdefault(record["curve"], []).append(record)
    return " ".join(
        f"{curve}: {show(along[0]['value'])} at batch {along[0]['batch']}, "
        f"{show(along[-1]['value'])} at {along[-1]['batch']}."
        for curve, along in curves.items()
    )
