"""How the study looks: colours, shapes and the chart configuration shared by every figure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import pandas as pd

from analysis.tables.words import OPTIMIZER_NAMES, name
from search_spaces import REGIME_NAMES

T = TypeVar("T", str, float)

INK = "currentColor"
"""Axis and text colour: a chart takes the colour of the page around it, and black on paper."""

PAPER = "#ffffff"
"""Fill of a hollow mark: the background; the dark theme has its own."""

PAGE: dict[str, tuple[str, str]] = {
    "paper": (PAPER, "#14171c"),
    "ink": ("#1b1f24", "#e6e9ed"),
    "soft": ("#58606b", "#a3abb6"),
    "line": ("#dfe3e8", "#2c323a"),
    "wash": ("#f5f7f9", "#1b2027"),
    "edge": ("#7d8590", "#7a828d"),
    "link": ("#1f5fa8", "#82b4ee"),
    "supported": ("#1e7a4c", "#4cc38a"),
    "refuted": ("#c0272d", "#f0706f"),
    "inconclusive": ("#8a5a09", "#e0a63f"),
    "not-run": ("#626974", "#969ea9"),
}
"""Role -> its colour in the light and in the dark theme. Text has a contrast of at least 4.5:1 on paper and on wash,
the edge of a control 3:1; lines need none, for the layout alone separates what they separate."""

IN_THE_DARK: dict[str, str] = {
    PAPER: PAGE["paper"][1],
    "#6A1B9A": "#e3c2fb",
    "#8A6D1A": "#d9b84a",
    "#D62728": "#ef5350",
}
"""Colour of a mark -> its replacement in the dark theme; colours that are not here serve both themes."""


def text_colour(colour: str) -> str:
    """A darker form of a curve's colour, in which its name has a contrast of at least 4.5:1 against white."""
    return "#" + "".join(f"{int(colour[place : place + 2], 16) * 7 // 10:02x}" for place in (1, 3, 5))


FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"

PRINT_FONT = "Roboto, Arial, sans-serif"
"""Font of exported figures; vl-convert includes Roboto."""

SOLID = [1, 0]
_SOLID_KINDS = ("clean", "eigenvalue", "training set", *map(name, ("stable", "dlr", "any_loss")))
_DASHED_KINDS = (name("ce"), "test set")
DASHES = dict.fromkeys(_SOLID_KINDS, SOLID) | {kind: [4, 3] for kind in _DASHED_KINDS}
"""Kind of a line (an attack's loss, the images of an eigenvalue) -> its dashes. Marks on dashed lines are hollow."""

OTHER_DASHES = [1, 3]
"""Dashes of any other kind."""


@dataclass(frozen=True)
class SeriesStyle:
    """How one curve is drawn: its name in legends, its colour and its Vega shape."""

    label: str
    colour: str
    shape: str

    @property
    def short(self) -> str:
        """Its name beside the curve: "LR/BS" for "LR/BS constant, momentum 0"."""
        return self.label.partition(", ")[0].removesuffix(" constant")


REGIMES: dict[str, SeriesStyle] = {
    "lr": SeriesStyle(REGIME_NAMES["lr"], "#2E9BD6", "circle"),
    "lr_bs": SeriesStyle(REGIME_NAMES["lr_bs"], "#6A1B9A", "square"),
    "benchmark": SeriesStyle(REGIME_NAMES["benchmark"], "#D62728", "triangle-up"),
    "adversarial": SeriesStyle(REGIME_NAMES["adversarial"], "#8A6D1A", "triangle-down"),
    "lr_0.1": SeriesStyle(REGIME_NAMES["lr_0.1"], "#1E8E5A", "diamond"),
    "step": SeriesStyle(REGIME_NAMES["step"], "#D9730D", "triangle-down"),
    "step_0.1": SeriesStyle(REGIME_NAMES["step_0.1"], "#C2378A", "cross"),
    "lr_0.0005": SeriesStyle(REGIME_NAMES["lr_0.0005"], "#7C6BD6", "circle"),
}
"""Regime label -> style. Light blue, purple and red as in the natural-training paper (section 2.1), darkened. Every
colour of a curve has a contrast of at least 3:1 against white, and its dark form against the dark background."""

MOMENTA: dict[float, SeriesStyle] = {
    0.0: SeriesStyle("momentum 0", "#2E9BD6", "circle"),
    0.2: SeriesStyle("momentum 0.2", "#1E8E5A", "diamond"),
    0.5: SeriesStyle("momentum 0.5", "#D9730D", "square"),
    0.9: SeriesStyle("momentum 0.9", "#C2378A", "triangle-up"),
}
"""Momentum -> style."""

OPTIMIZERS: dict[str, SeriesStyle] = {
    "sgd": SeriesStyle(OPTIMIZER_NAMES["sgd"], "#2E9BD6", "circle"),
    "svrg": SeriesStyle(OPTIMIZER_NAMES["svrg"], "#1E8E5A", "diamond"),
    "msgd": SeriesStyle(OPTIMIZER_NAMES["msgd"], "#D9730D", "square"),
    "selective_backprop": SeriesStyle(OPTIMIZER_NAMES["selective_backprop"], "#C2378A", "triangle-up"),
    "adam": SeriesStyle(OPTIMIZER_NAMES["adam"], "#7C6BD6", "cross"),
    "adamw": SeriesStyle(OPTIMIZER_NAMES["adamw"], "#8A6D1A", "triangle-down"),
}
"""Optimizer -> style."""

COLOURS = ("#2A8CC4", "#6A1B9A", "#D62728", "#1E8E5A", "#C4640A", "#C2378A", "#6B7280", "#8C6D1F")
SHAPES = (
    "circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right", "triangle-left",
)  # fmt: skip
"""By index; each colour has a contrast of at least 3:1 against white and against the dark background."""

SMALLEST_BATCH = 16
"""The index of a batch size is its number of doublings from this one, rounded."""


def regime_style(regime: str, among: Iterable[str] = ()) -> SeriesStyle:
    """The style of a regime's curve in a figure of the regimes `among`."""
    return _style(regime, [*REGIME_NAMES, *among], REGIMES, REGIME_NAMES.get(regime, regime))


def momentum_style(momentum: float, among: Iterable[float] = ()) -> SeriesStyle:
    """The style of a momentum's curve in a figure of the momenta `among`."""
    return _style(momentum, among, MOMENTA, f"momentum {momentum:g}")


def optimizer_style(optimizer: str) -> SeriesStyle:
    """The style of an optimizer."""
    return _style(optimizer, OPTIMIZER_NAMES, OPTIMIZERS, OPTIMIZER_NAMES.get(optimizer, optimizer))


def _style(value: T, among: Iterable[T], papers: Mapping[T, SeriesStyle], label: str) -> SeriesStyle:
    """The papers' style of a value; others take in turn the regimes' marks from the last on, unused colours first."""
    if value in papers:
        return papers[value]
    used, from_last = {style.colour for style in papers.values()}, list(REGIMES.values())[::-1]
    marks = sorted(from_last, key=lambda style: style.colour in used)
    others = [one for one in dict.fromkeys([*among, value]) if one not in papers]
    return replace(marks[others.index(value) % len(marks)], label=label)


def batch_styles(sizes: Iterable[int]) -> dict[int, SeriesStyle]:
    """The style of each batch size of a figure, from the smallest on: that of a doubling is the same in every figure,
    another size has the next one that is free.
    """
    doublings = {size: math.log2(size / SMALLEST_BATCH) for size in sorted(set(sizes))}
    marks = [(colour, shape) for colour in COLOURS for shape in SHAPES]
    free = set(marks)
    found: dict[int, SeriesStyle] = {}
    for size, doubled in sorted(doublings.items(), key=lambda one: abs(one[1] - round(one[1]))):
        styles = [indexed_style(f"batch {size}", round(doubled) + n) for n in range(len(marks))]
        found[size] = next((style for style in styles if (style.colour, style.shape) in free), styles[0])
        free.discard((found[size].colour, found[size].shape))
    return {size: found[size] for size in doublings}


def indexed_style(label: str, index: int) -> SeriesStyle:
    """The style with the colour and the shape at an index; 64 differ."""
    rounds, place = divmod(index, len(COLOURS))
    return SeriesStyle(label, COLOURS[place], SHAPES[(place + rounds) % len(SHAPES)])


def style_sheet() -> str:
    """The page's colours as custom properties, and the marks' colours in the dark theme, as CSS.

    `light-dark` follows the `color-scheme` of the element: that of the reader's system, or the one chosen on the page.
    """
    roles = "".join(f"--{role}:light-dark({light},{dark});" for role, (light, dark) in PAGE.items())
    texts = {text_colour(style.colour): IN_THE_DARK.get(style.colour, style.colour) for style in REGIMES.values()}
    swaps = "".join(
        f'svg [{part}="{light}"]{{{part}:light-dark({light},{dark})}}'
        for light, dark in (IN_THE_DARK | texts).items()
        for part in ("fill", "stroke")
    )
    return f":root{{{roles}}}\n{swaps}\n"


def percent(value: float | None, digits: int = 1) -> str:
    """A fraction as a percentage; a dash for an absent value."""
    return "–" if value is None or pd.isna(value) else f"{100 * value:.{digits}f} %"


def number(value: float | None, digits: int = 3) -> str:
    """A number with `digits` significant ones; a dash for an absent value."""
    return "–" if value is None or pd.isna(value) else f"{value:.{digits}g}".replace("-", "−")


def correlation(value: float) -> str:
    """A number between -1 and 1 with two decimals; a dash for an absent one."""
    return "–" if pd.isna(value) else f"{value:.2f}".replace("-", "−")


def config() -> dict[str, Any]:
    """Vega-Lite configuration: quiet axes, transparent background, one font."""
    return {
        "background": "transparent",
        "font": FONT,
        "view": {"stroke": None},
        "axis": {
            "labelColor": INK, "titleColor": INK, "domainColor": INK, "tickColor": INK, "gridColor": INK,
            "gridOpacity": 0.12, "domainOpacity": 0.4, "tickOpacity": 0.4, "labelOpacity": 0.8,
            "labelFontSize": 11, "titleFontSize": 11.5, "titleFontWeight": 500, "titlePadding": 8, "tickSize": 4,
        },
        "legend": {
            "labelColor": INK, "titleColor": INK, "orient": "bottom", "columns": 3, "labelFontSize": 11,
            "symbolSize": 70, "symbolStrokeWidth": 1.8, "symbolOpacity": 1, "titleFontSize": 11,
        },
        "title": {"color": INK, "fontSize": 13, "fontWeight": 600, "anchor": "start", "offset": 10},
        "text": {"color": INK, "fontSize": 11},
    }  # fmt: skip
