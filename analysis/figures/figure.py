"""A figure: a chart with its title, caption and description; and what charts have in common."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import altair as alt

from analysis import theme
from analysis.theme import SeriesStyle

WIDTH = 340
HEIGHT = 230
"""Size of the plotting area in pixels; on the page the width follows the screen."""

DATA = "cells"
"""Name of the data set that templates read."""

Spec = dict[str, Any]

_SIZE = "floor(log(abs(datum.value)) / LN10 + 1e-9)"
_RAISED = "'⁰¹²³⁴⁵⁶⁷⁸⁹'"
POWERS = (
    "datum.value == 0 || (abs(datum.value) > 9e-4 && abs(datum.value) < 9999) ? format(datum.value, '~g') : "
    f"replace(format(datum.value / pow(10, {_SIZE}), '.2~g') + '×', /^(−?)1×/, '$1') + '10' + ({_SIZE} < 0 ? '⁻' : '') "
    f"+ (abs({_SIZE}) > 9 ? {_RAISED}[floor(abs({_SIZE}) / 10)] : '') + {_RAISED}[abs({_SIZE}) % 10]"
)
"""Vega expression for the labels of a logarithmic axis: plain numbers from 0.001 to 9,999, else "10⁹" or "2×10⁻⁴"."""


@dataclass(frozen=True)
class Figure:
    """One chart with its texts.

    Attributes:
        name: File name, and id on the page.
        title: Data set, model and what is shown.
        template: Vega-Lite specification without data.
        data: The named data sets that the template reads.
        caption: What is drawn and how the intervals are computed.
        description: The same for screen readers, with the main numbers.
        legend: The curves, for a legend outside the chart.
        missing: What the paper's panel shows and was not measured or not run, in sentences.
        attack: The attack that is shown, if any, and at which epsilon (pixels in [0, 1]).
        cell: Id of the cell to which the whole figure belongs; in other figures each record has its own `cell`.
    """

    name: str
    title: str
    template: Spec
    data: Mapping[str, Sequence[Mapping[str, Any]]]
    caption: str
    description: str
    legend: tuple[SeriesStyle, ...] = ()
    missing: str = ""
    attack: str = ""
    epsilon: float | None = None
    cell: str = ""

    @property
    def chart(self) -> alt.TopLevelMixin:
        """The figure as an altair chart, which notebooks display."""
        chart: alt.TopLevelMixin = alt.Chart.from_dict(self.export_spec())
        return chart

    def spec(self) -> Spec:
        """The Vega-Lite specification for the page, as wide as its container, without configuration and legend."""
        spec = self._bare() | {"width": "container"}
        del spec["description"]  # the page has it as the label of the chart's container
        layers = {"layer": [_without_legends(layer) for layer in spec["layer"]]} if "layer" in spec else {}
        return _without_legends(spec) | layers

    def export_spec(self) -> Spec:
        """The Vega-Lite specification for a file: titled, with its legend, black on white."""
        config = theme.config() | {"background": "#ffffff", "font": theme.PRINT_FONT, "padding": 12}
        spec = self._bare() | {"title": {"text": self.title, "fontSize": 12}, "config": config}
        text = json.dumps(spec).replace("\\u2081", "1")  # few print fonts have the subscript of "λ₁"
        printable: Spec = json.loads(text)
        return printable

    def _bare(self) -> Spec:
        datasets = {name: list(records) for name, records in self.data.items()}
        return self.template | {"datasets": datasets, "description": self.description}


class CurveChannels(NamedTuple):
    """Encodings that tell curves apart by the field `curve`; colour and shape have legends."""

    color: alt.Color
    shape: alt.Shape
    fill: alt.Fill


def curve_channels(styles: Sequence[SeriesStyle], *, legend: bool = True) -> CurveChannels:
    """The channels for curves with these styles, in this order."""
    names = [style.label for style in styles]
    colours = alt.Scale(domain=names, range=[style.colour for style in styles])
    shapes = alt.Scale(domain=names, range=[style.shape for style in styles])
    return CurveChannels(
        alt.Color("curve:N", scale=colours, legend=alt.Legend(title=None, symbolOpacity=1) if legend else None),
        alt.Shape("curve:N", scale=shapes, legend=alt.Legend(title=None) if legend else None),
        alt.Fill("curve:N", scale=colours, legend=None),
    )


def styles_of(figures: Sequence[Figure]) -> tuple[SeriesStyle, ...]:
    """The styles in the legends of some figures, each once."""
    return tuple(dict.fromkeys(style for figure in figures for style in figure.legend))


def file_name(*parts: str) -> str:
    """The name of a figure: its parts, with a hyphen for what has no place in a file name ("lr/bs") or an id."""
    return "-".join(re.sub(r"[^\w.]+", "-", part) for part in parts)


def rounded(value: float, digits: int = 6) -> float | None:
    """A finite value to `digits` significant digits, which keeps the page small; None for any other."""
    return float(f"{value:.{digits}g}") if math.isfinite(value) else None


def layer(mark: Spec, *filters: str, **channels: Spec | list[Spec]) -> Spec:
    """One layer of a chart, as a dictionary: its mark, the filters of its records, and its encodings.

    Charts are built from dictionaries: altair's own copy everything that they hold whenever a mark, a filter or a
    channel is added.
    """
    shown = {"transform": [{"filter": condition} for condition in filters]} if filters else {}
    return {"mark": mark, "encoding": channels, **shown}


def layered(*layers: Spec, **shared: Any) -> Spec:
    """The specification of a panel with these layers, which read `DATA` unless they name other data.

    `shared` are further parts of it: an `encoding` of all layers, a `transform` of their records.
    """
    return {
        "$schema": alt.SCHEMA_URL,
        "data": {"name": DATA},
        "layer": list(layers),
        "width": WIDTH,
        "height": HEIGHT,
    } | shared


def encoded(channel: Any) -> Spec:
    """An altair channel as a dictionary for `layer`."""
    spec: Spec = channel.to_dict(validate=False, context={})
    return spec


def lines(
    styles: Sequence[SeriesStyle],
    x: Any,
    y: Any,
    *shown: Any,
    known: Sequence[str] = (),
    marked: Sequence[str] | None = (),
    hollow_unless: str = "",
) -> list[Spec]:
    """The layers of a line chart with a line a curve and, if `marked` is not None, its marks, with `shown` in tooltips.

    `x`, `y` and `shown` are altair channels. `known` and `marked` are conditions on the records of both and of marks.
    """
    colour, shape, fill = (encoded(channel) for channel in curve_channels(styles))
    places = {"x": encoded(x), "y": encoded(y), "color": colour}
    tooltip = [encoded(one) for one in (alt.Tooltip("curve:N"), *shown)]
    line: Spec = {"type": "line", "strokeWidth": 1.6, "opacity": 0.8}
    if marked is None:
        return [layer(line, *known, **places, tooltip=tooltip)]
    if hollow_unless:
        fill = {"condition": {"test": hollow_unless, **fill}, "value": theme.PAPER}
    mark: Spec = {"type": "point", "size": 30, "strokeWidth": 1.4, "opacity": 1}
    return [
        layer(line, *known, **places),
        layer(mark, *known, *marked, **places, shape=shape, fill=fill, tooltip=tooltip),
    ]


def _without_legends(view: Spec) -> Spec:
    if "encoding" not in view:
        return view
    encoding = {
        channel: coding | {"legend": None} if channel != "tooltip" and "legend" in coding else coding
        for channel, coding in view["encoding"].items()
    }
    return view | {"encoding": encoding}
