"""A figure: a chart with the words that belong to it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from analysis import theme
from analysis.theme import SeriesStyle

WIDTH = 340
HEIGHT = 230
"""Size of one panel's plotting area in pixels; on the page its width follows the reader's screen."""

DATA = "cells"
"""Name of the data set that templates read."""

Spec = dict[str, Any]


@dataclass(frozen=True)
class Figure:
    """One panel.

    `template` is a Vega-Lite specification without data, `data` the named data sets that it reads. `name` is its
    file name and its id on the page, `caption` says what is seen and how intervals are made, `description` says it
    to those who cannot see it. `legend` lists its curves for a legend outside it, `missing` what of a paper's panel
    was not run. `attack` is the one that it shows, `cell` the id of the cell that all of it belongs to, if any; in
    other figures each record of a cell has its id as `cell`.
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
    cell: str = ""

    @property
    def chart(self) -> alt.TopLevelMixin:
        """The figure as altair and notebooks take it."""
        chart: alt.TopLevelMixin = alt.Chart.from_dict(self.export_spec())
        return chart

    def spec(self) -> Spec:
        """The Vega-Lite specification for the page, which adds configuration and legend; as wide as its place."""
        spec = self._bare() | {"width": "container"}
        del spec["description"]  # its place is labelled with it
        if "layer" in spec:
            return spec | {"layer": [_without_legends(layer) for layer in spec["layer"]]}
        return _without_legends(spec)

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


def specification(chart: alt.TopLevelMixin) -> Spec:
    """A chart that reads named data sets as a specification without them or a configuration.

    The data join later: altair would copy and hash them for every layer.
    """
    spec: Spec = chart.to_dict(validate=False)
    return {key: value for key, value in spec.items() if key not in ("config", "datasets")}


def layer(mark: Spec, *filters: str, **channels: Spec | list[Spec]) -> Spec:
    """A layer of a chart of many: marks, the records it shows, and what its channels encode.

    altair's own charts copy all that they hold whenever they are given a mark, a filter or a channel.
    """
    shown = {"transform": [{"filter": condition} for condition in filters]} if filters else {}
    return {"mark": mark, "encoding": channels, **shown}


def layered(*layers: Spec) -> Spec:
    """The specification of a panel of these layers, which read `DATA` if they name no other data."""
    return {
        "$schema": alt.SCHEMA_URL,
        "data": {"name": DATA},
        "layer": list(layers),
        "width": WIDTH,
        "height": HEIGHT,
    }


def encoded(channel: Any) -> Spec:
    """What an altair channel says, to be given to `layer`."""
    spec: Spec = channel.to_dict(validate=False, context={})
    return spec


def _without_legends(view: Spec) -> Spec:
    encoding = {
        channel: coding | {"legend": None} if "legend" in coding else coding
        for channel, coding in view.get("encoding", {}).items()
        if channel != "tooltip"
    }
    return view | {"encoding": view.get("encoding", {}) | encoding}
