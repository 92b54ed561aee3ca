"""A figure: a chart with the words that belong to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import altair as alt

from analysis.theme import FONT, SeriesStyle, config

WIDTH = 340
HEIGHT = 230
"""Size of one panel's plotting area in pixels; on the page its width follows the reader's screen."""

Chart = alt.Chart | alt.LayerChart


@dataclass(frozen=True)
class Figure:
    """One panel.

    `name` is its file name and its id on the page, `caption` says what is seen and how intervals are made,
    `description` says it in full to those who cannot see it. `legend` lists its curves for a legend outside it.
    """

    name: str
    title: str
    chart: Chart
    caption: str
    description: str
    legend: tuple[SeriesStyle, ...] = ()

    def spec(self) -> dict[str, Any]:
        """The Vega-Lite specification for the page: without a title or legend, as wide as its place."""
        spec: dict[str, Any] = self.chart.to_dict(validate=False)
        spec.pop("$schema", None)
        spec["width"], spec["height"] = "container", HEIGHT
        spec["description"] = self.description
        settings = config()
        spec["config"] = settings | {"legend": {"disable": True}}
        return spec

    def export_spec(self) -> dict[str, Any]:
        """The Vega-Lite specification for a file: titled, with its legend, black on white."""
        spec: dict[str, Any] = self.chart.to_dict(validate=False)
        spec["width"], spec["height"] = WIDTH, HEIGHT
        spec["title"] = {"text": self.title, "fontSize": 12}
        spec["description"] = self.description
        spec["config"] = config() | {"background": "#ffffff", "font": FONT, "padding": 12}
        return spec
