"""Where texts stand in a plot: names of curves beside their ends instead of a legend, numbers beside marks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from analysis.figures.figure import HEIGHT, WIDTH, Spec, layer, rounded
from analysis.theme import SeriesStyle

END_LABELS = "labels"
"""Name of the data set of the labels."""

LINE = 14.0 / HEIGHT
"""Least distance of two labels, as a fraction of the plot's height."""

MOST_LETTERS = 12
"""Longer names go into a legend."""

ROOM: Spec = {"padding": {"left": 8, "top": 8, "bottom": 8, "right": 20}}
"""Vega measures text before it knows its font: the padding of a chart that keeps its labels inside."""

Array = NDArray[np.float64]

Place = Callable[[float], float]


def fits_beside(styles: Sequence[SeriesStyle]) -> bool:
    """Whether the short names of these curves tell them apart and fit beside a plot."""
    names = [style.short for style in styles]
    return len(set(names)) == len(names) and max(map(len, names), default=0) <= MOST_LETTERS


def end_labels(
    records: Sequence[Mapping[str, Any]],
    styles: Sequence[SeriesStyle],
    kinds: Sequence[str],
    position: Place,
    value: Place,
) -> list[dict[str, Any]]:
    """A label for each curve at its last mean, of the first of `kinds` that has one.

    `position` turns a value into a fraction of the axis and `value` turns it back. Labels that would overlap are moved
    apart as little as possible in the sense of least squares.
    """
    if not fits_beside(styles):
        return []
    last: dict[Any, Mapping[str, Any]] = {}
    for record in records:
        if record["mean"] is not None:
            last[record["curve"], record["kind"]] = record
    found = [(style, next((r for kind in kinds if (r := last.get((style.label, kind)))), None)) for style in styles]
    shown = [(position(record["mean"]), style, record["batch_size"]) for style, record in found if record]
    shown.sort(key=lambda label: label[0])
    places = spread([place for place, *_ in shown])
    return [
        {"curve": style.label, "label": style.short, "batch_size": size, "at": rounded(value(place))}
        for place, (_, style, size) in zip(places, shown, strict=True)
    ]


def spread(places: Sequence[float]) -> list[float]:
    """The nearest places, `LINE` apart and within the plot. Ascending fractions of the axis."""
    steps = LINE * np.arange(len(places))
    moved = isotonic_regression(np.asarray(places) - steps).x
    apart: list[float] = (np.clip(moved, 0.0, max(0.0, 1.0 - steps[-1])) + steps).tolist()
    return apart


LETTER, LINE_HEIGHT, MARK = 7.0, 12.0, 5.0
"""Pixels: width of a digit, height of a line of text, half the side of a mark."""

SIDES = np.array([(0, -1), (0, 1), (1, 0), (-1, 0)])
"""Where a mark's text may stand: above, below, right, left."""


def beside_marks(x: Array, y: Array, texts: Sequence[str]) -> list[tuple[float, float] | None]:
    """How far from its mark each text stands, in pixels; None for a text that would cover a mark or another text.

    `x`, `y`: the marks in pixels from the upper left, of which the first have texts, the more important ones first.
    """
    count = len(x)
    boxes = np.empty((count + len(texts), 4))
    boxes[:count] = np.stack([x - MARK, y - MARK, x + MARK, y + MARK], axis=1)
    filled = count
    places: list[tuple[float, float] | None] = []
    for here_x, here_y, text in zip(x, y, texts, strict=False):
        half = np.array([LETTER * len(text) / 2, LINE_HEIGHT / 2])
        away = SIDES * (half + MARK)
        middle = np.array([here_x, here_y]) + away
        low, high = middle - half, middle + half
        apart = (boxes[:filled, None, :2] >= high) | (boxes[:filled, None, 2:] <= low)
        free = apart.any(axis=2).all(axis=0) & (low[:, 0] >= 0) & (high[:, 0] <= WIDTH)
        side = int(free.argmax())
        places.append((float(away[side, 0]), float(away[side, 1])) if free[side] else None)
        if free[side]:
            boxes[filled] = (*low[side], *high[side])
            filled += 1
    return places


def label_layers(y: Spec, shape: Spec) -> list[Spec]:
    """The layers that draw the labels, each after its curve's mark; `y` encodes the field `at`."""
    data = {"data": {"name": END_LABELS}}
    mark = layer(
        {"type": "point", "filled": True, "aria": False, "size": 36, "xOffset": 17, "opacity": 1}, y=y, shape=shape
    )
    text = layer(
        {"type": "text", "aria": False, "align": "left", "dx": 24, "baseline": "middle"},
        y=y, text={"field": "label"}, color={"value": "currentColor"},
    )  # fmt: skip
    return [mark | data, text | data]
