"""Curves along the batch size: bands, lines, marks and gaps, the layers that both templates share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import altair as alt
import pandas as pd

from analysis.figures.figure import DATA, HEIGHT, WIDTH, Spec, specification
from analysis.figures.sweep import Curves
from analysis.theme import ADVERSARIAL_DASH, CLEAN_DASH, PAPER, SeriesStyle

Record = dict[str, Any]


def records(cells: pd.DataFrame, sweep: Curves, kind: str, show: Callable[[float], str]) -> list[Record]:
    """One record a cell (of `FigureData`): what the layers below read, `None` where there is no number.

    `show` writes a value for a reader.
    """
    columns = [column for column in _READ if column in cells]
    out = []
    for values, style in zip(
        zip(*(cells[c].tolist() for c in columns), strict=True), sweep.styles_of(cells), strict=True
    ):
        cell = dict(zip(columns, values, strict=True))
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

_READ = (
    *("cell_id", "epsilon", "batch_size", "mean", "low", "high", "n", "drawn", "segment", "alone", "hollow"),
    *("diverged", "failed", "missing", "converged", *_FLAGS),
)


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

    def encode(self, field: str) -> alt.Y:
        """The encoding of `field` along this axis."""
        scale = alt.Scale(type="log" if self.ticks else "linear", domain=list(self.domain), nice=False)
        labels = {"values": list(self.ticks)} if self.ticks else {"tickCount": 5}
        axis = alt.Axis(format=self.label_format, **labels)
        return alt.Y(field, title=self.title, scale=scale, axis=axis)


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
    y = value_axis.encode("mean:Q")
    base = alt.Chart(alt.NamedData(name=DATA))
    if epsilon is not None:
        base = base.transform_filter("!isValid(datum.epsilon) || datum.epsilon == epsilon")
    x = _batch_axis(sizes)
    colour = alt.Color("curve:N", scale=_scale(styles, "colour"), legend=alt.Legend(title=None, symbolOpacity=1))
    drawn, seeded = "isValid(datum.mean)", "isValid(datum.low)"
    dashes = [CLEAN_DASH, ADVERSARIAL_DASH][: len(kinds)]
    dash = alt.StrokeDash(
        "kind:N",
        scale=alt.Scale(domain=list(kinds), range=dashes),
        legend=alt.Legend(title=None, symbolType="stroke") if len(kinds) > 1 else None,
    )
    band = base.transform_filter(f"{seeded} && !datum.alone").mark_area(opacity=0.13, clip=True)
    rule = base.transform_filter(f"{seeded} && datum.alone").mark_rule(opacity=0.6, strokeWidth=1.5, clip=True)
    line = base.transform_filter(drawn).mark_line(strokeWidth=1.9, clip=True)
    point = base.transform_filter(drawn).mark_point(size=46, strokeWidth=1.6, opacity=1, clip=False)
    cross = base.transform_filter("datum.state == 'diverged'").mark_text(
        text="✕", fontSize=11, fontWeight="bold", clip=False
    )
    shape = alt.Shape("curve:N", scale=_scale(styles, "shape"), legend=alt.Legend(title=None))
    own_colour = alt.Fill("curve:N", scale=_scale(styles, "colour"), legend=None)
    fill = alt.condition("datum.hollow", alt.value(PAPER), own_colour)
    tooltip = [
        alt.Tooltip("curve:N", title="curve"),
        alt.Tooltip("kind:N", title="accuracy"),
        alt.Tooltip("batch_size:Q", title="batch size", format="d"),
        alt.Tooltip("mean:Q", format=value_axis.value_format),
        alt.Tooltip("interval:N", title="95 % interval"),
        alt.Tooltip("seeds:Q", title="seeds"),
        alt.Tooltip("note:N", title="note"),
    ]
    if len(kinds) == 1:
        tooltip.pop(1)
    limits = {"y": value_axis.encode("low:Q"), "y2": alt.Y2("high:Q")}
    chart = alt.layer(
        band.encode(x=x, color=colour, detail="line:N", **limits),
        rule.encode(x=x, color=colour, **limits),
        line.encode(x=x, y=y, color=colour, strokeDash=dash, detail="line:N"),
        point.encode(x=x, y=y, color=colour, shape=shape, fill=fill, tooltip=tooltip),
        cross.encode(x=x, y=alt.value(HEIGHT - 7), color=colour, tooltip=tooltip),
    ).properties(width=WIDTH, height=HEIGHT)
    if epsilon is not None:
        chart = chart.add_params(alt.param(name="epsilon", value=epsilon))
    return specification(chart)


def batch_sizes(data: Iterable[Record]) -> tuple[int, ...]:
    """The batch sizes of some records, ascending."""
    return tuple(sorted({record["batch_size"] for record in data}))


def _batch_axis(sizes: Sequence[int]) -> alt.X:
    domain = [sizes[0] / 1.25, sizes[-1] * 1.25]
    return alt.X(
        "batch_size:Q",
        title="batch size",
        scale=alt.Scale(type="log", base=2, domain=domain, nice=False),
        axis=alt.Axis(values=list(sizes), format="d", grid=False, labelOverlap=True, labelFlush=False),
    )


def _scale(styles: Sequence[SeriesStyle], channel: str) -> alt.Scale:
    return alt.Scale(domain=[s.label for s in styles], range=[getattr(s, channel) for s in styles])
