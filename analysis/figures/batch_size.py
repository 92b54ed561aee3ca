"""Curves along the batch size: bands, lines, marks and gaps, the layers that both templates share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import altair as alt
import pandas as pd

from analysis.figures.curve_sets import Curves
from analysis.figures.figure import HEIGHT, Spec, encoded, layer, layered
from analysis.theme import ADVERSARIAL_DASH, CLEAN_DASH, PAPER, SeriesStyle

Record = dict[str, Any]


def records(cells: pd.DataFrame, curves: Curves, kind: str, show: Callable[[float], str]) -> list[Record]:
    """One record a cell (of `FigureData`): what the layers below read, `None` where there is no number.

    `show` writes a value for a reader.
    """
    names, out = [str(column) for column in cells], []
    for values, style in zip(cells.to_numpy(dtype=object).tolist(), curves.styles_of(cells), strict=True):
        cell = dict(zip(names, values, strict=True))
        drawn = cell["drawn"]
        out.append(
            {
                **({"epsilon": cell["epsilon"]} if "epsilon" in cell else {}),
                "cell": str(cell["cell_id"]),
                "curve": style.label,
                "kind": kind,
                "batch_size": int(cell["batch_size"]),
                "mean": _finite(cell["mean"]) if drawn else None,
                "low": _finite(cell["low"]) if drawn else None,
                "high": _finite(cell["high"]) if drawn else None,
                "seeds": int(cell["n"]),
                "state": _state(cell),
                "line": f"{style.label} {kind} {cell['segment']}",
                "alone": bool(cell["alone"]),
                "hollow": bool(cell["hollow"]),
                "interval": _interval(cell, show),
                "note": _note(cell),
            }
        )
    return out


_FLAGS = {"floor": "attack at its floor", "untrained": "untrained", "suspect": "suspect attack"}


def _finite(value: float) -> float | None:
    return float(f"{value:.6g}") if math.isfinite(value) else None


def _state(cell: Record) -> str:
    if cell["drawn"]:
        return "ok"
    return next((s for s in ("diverged", "failed", "missing") if cell[s]), "no value")


def _note(cell: Record) -> str:
    notes = [f"{cell[s]} {s}" for s in ("diverged", "failed", "missing") if cell[s]]
    notes += [text for flag, text in _FLAGS.items() if cell.get(flag)]
    if cell.get("converged") is False:
        notes.append("eigenvalue not converged")
    return ", ".join(notes) or "–"


def _interval(cell: Record, show: Callable[[float], str]) -> str:
    known = cell["drawn"] and math.isfinite(cell["low"])
    return f"{show(cell['low'])} to {show(cell['high'])}" if known else "–"


@dataclass(frozen=True)
class ValueAxis:
    """The vertical axis: its title, d3 formats of labels and tooltips, and its scale.

    With `ticks` it is logarithmic and labelled there, else linear. `domain` is what it spans.
    """

    title: str
    label_format: str
    value_format: str
    domain: tuple[float, float] = (0.0, 1.0)
    ticks: tuple[float, ...] = ()

    def encode(self, field: str) -> Spec:
        """The encoding of `field` along this axis."""
        scale = alt.Scale(type="log" if self.ticks else "linear", domain=list(self.domain), nice=False)
        labels = {"values": list(self.ticks)} if self.ticks else {"tickCount": 5}
        axis = alt.Axis(format=self.label_format, **labels)
        return encoded(alt.Y(field, title=self.title, scale=scale, axis=axis))


@cache
def template(
    sizes: tuple[int, ...],
    kinds: tuple[str, ...],
    styles: tuple[SeriesStyle, ...],
    value_axis: ValueAxis,
    epsilon: float | None = None,
) -> Spec:
    """The panel: intervals, lines, marks (hollow where the record says so) and a cross where a cell diverged.

    It reads the data set `DATA` of `records`. With `epsilon` it has a parameter of that name, at this value until
    a picker sets it, that chooses among the adversarial records.
    """
    every = [] if epsilon is None else ["!isValid(datum.epsilon) || datum.epsilon == epsilon"]
    drawn, seeded = "isValid(datum.mean)", "isValid(datum.low)"
    x, y = _batch_axis(sizes), value_axis.encode("mean:Q")
    limits = {"x": x, "y": value_axis.encode("low:Q"), "y2": encoded(alt.Y2("high:Q"))}
    colours, shapes = _scale(styles, "colour"), _scale(styles, "shape")
    colour = encoded(alt.Color("curve:N", scale=colours, legend=alt.Legend(title=None, symbolOpacity=1)))
    shape = encoded(alt.Shape("curve:N", scale=shapes, legend=alt.Legend(title=None)))
    fill = encoded(alt.Fill("curve:N", scale=colours, legend=None))
    fill["condition"] = {"test": "datum.hollow", "value": PAPER}
    detail, dash, tooltip = encoded(alt.Detail("line:N")), _dash(kinds), _tooltip(kinds, value_axis)
    spec = layered(
            layer({"type": "area", "opacity": 0.13, "clip": True}, *every, f"{seeded} && !datum.alone",
                  **limits, color=colour, detail=detail),
            layer({"type": "rule", "opacity": 0.6, "strokeWidth": 1.5, "clip": True},
                  *every, f"{seeded} && datum.alone", **limits, color=colour),
            layer({"type": "line", "strokeWidth": 1.9, "clip": True}, *every, drawn,
                  x=x, y=y, color=colour, strokeDash=dash, detail=detail),
            layer({"type": "point", "size": 46, "strokeWidth": 1.6, "opacity": 1, "clip": False}, *every, drawn,
                  x=x, y=y, color=colour, shape=shape, fill=fill, tooltip=tooltip),
            layer({"type": "text", "text": "✕", "fontSize": 11, "fontWeight": "bold", "clip": False},
                  *every, "datum.state == 'diverged'", x=x, y={"value": HEIGHT - 7}, color=colour, tooltip=tooltip),
    )  # fmt: skip
    return spec if epsilon is None else spec | {"params": [{"name": "epsilon", "value": epsilon}]}


def _dash(kinds: Sequence[str]) -> Spec:
    dashes = [CLEAN_DASH, ADVERSARIAL_DASH][: len(kinds)]
    legend = alt.Legend(title=None, symbolType="stroke") if len(kinds) > 1 else None
    return encoded(alt.StrokeDash("kind:N", scale=alt.Scale(domain=list(kinds), range=dashes), legend=legend))


def _tooltip(kinds: Sequence[str], value_axis: ValueAxis) -> list[Spec]:
    kind = [alt.Tooltip("kind:N", title="accuracy")] if len(kinds) > 1 else []
    lines = [
        alt.Tooltip("curve:N", title="curve"),
        *kind,
        alt.Tooltip("batch_size:Q", title="batch size", format="d"),
        alt.Tooltip("mean:Q", format=value_axis.value_format),
        alt.Tooltip("interval:N", title="95 % interval"),
        alt.Tooltip("seeds:Q", title="seeds"),
        alt.Tooltip("note:N", title="note"),
    ]
    return [encoded(line) for line in lines]


def batch_sizes(data: Iterable[Record]) -> tuple[int, ...]:
    """The batch sizes of some records, ascending."""
    return tuple(sorted({record["batch_size"] for record in data}))


def _batch_axis(sizes: Sequence[int]) -> Spec:
    domain = [sizes[0] / 1.25, sizes[-1] * 1.25]
    axis = alt.X(
        "batch_size:Q",
        title="batch size",
        scale=alt.Scale(type="log", base=2, domain=domain, nice=False),
        axis=alt.Axis(values=list(sizes), format="d", grid=False, labelOverlap=True, labelFlush=False),
    )
    return encoded(axis)


def _scale(styles: Sequence[SeriesStyle], channel: str) -> alt.Scale:
    return alt.Scale(domain=[s.label for s in styles], range=[getattr(s, channel) for s in styles])
