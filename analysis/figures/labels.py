"""Where texts stand in a plot: names of curves beside their ends instead of a legend, numbers beside marks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

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


class Label(NamedTuple):
    """Where a text stands: the number of its mark, the distance from there in pixels (right, and down to its middle),
    and its alignment.
    """

    mark: int
    dx: float
    dy: float
    align: str


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


LETTER, LINE_HEIGHT, MARK = 7.0, 12.0, 6.0
"""Pixels: width of a letter, height of a line of text, half the side of a mark."""

SIDES = np.array([(1, 0), (-1, 0), (0, -1), (0, 1), (1, -1), (1, 1), (-1, -1), (-1, 1)])
"""Where a mark's text may stand: right, left, above, below, and at the corners."""

AWAY = np.concatenate([SIDES * np.where(SIDES.all(axis=1), 0.7, 1.0)[:, None] * MARK * times for times in (1.1, 2.2)])
"""Where the nearest edge or corner of the text is: near its mark or a little farther."""


def beside_marks(marks: Array, lines: Array, texts: Sequence[tuple[str, Sequence[int]]]) -> list[Label | None]:
    """Where each text stands; None for one that would cover a mark or another text.

    `marks` (n, 2) and `lines` (m, 2), points along the lines, are in pixels from the upper left. A text comes with the
    marks beside which it may stand, the best first. Earlier texts have the first choice. A line is covered only where
    there is no other way.
    """
    taken = np.concatenate([marks - MARK, marks + MARK], axis=1)
    crossed = np.concatenate([lines - 1, lines + 1], axis=1)
    places: list[Label | None] = []
    for text, beside in texts:
        half = np.array([LETTER * len(text) / 2, LINE_HEIGHT / 2])
        anchors = np.repeat(np.asarray(beside), len(AWAY))
        away = np.tile(AWAY, (len(beside), 1))
        middle = marks[anchors] + away + np.sign(away) * half
        boxes = np.concatenate([middle - half, middle + half], axis=1)
        inside = (boxes[:, :2] >= 0).all(axis=1) & (boxes[:, 2:] <= (WIDTH, HEIGHT)).all(axis=1)
        free = inside & (_overlaps(boxes, taken) == 0)
        places.append(None)
        if free.any():
            best = int(np.where(free, _overlaps(boxes, crossed), np.inf).argmin())
            align = ("center", "left", "right")[int(np.sign(away[best, 0]))]
            down = float(away[best, 1] + np.sign(away[best, 1]) * half[1])
            places[-1] = Label(int(anchors[best]), float(away[best, 0]), down, align)
            taken = np.concatenate([taken, boxes[best : best + 1]])
    return places


def _overlaps(boxes: Array, others: Array) -> NDArray[np.intp]:
    """How many of the others each box meets; boxes are left, top, right, bottom."""
    apart = (boxes[:, None, :2] >= others[:, 2:]) | (boxes[:, None, 2:] <= others[:, :2])
    count: NDArray[np.intp] = (~apart.any(axis=2)).sum(axis=1)
    return count


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
