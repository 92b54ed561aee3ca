"""Figures as files for a paper: PNG at 300 dots an inch, SVG and PDF, one column wide."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any

import vl_convert

from analysis.figures import Figure

VEGA_LITE = "6.4"
"""The Vega-Lite release that altair 6 writes for."""

DPI = 300

COLUMN_INCHES = 3.3
"""Width of a figure: one column of the usual two-column styles (3.25 to 3.5 inches)."""

CANVAS = 400
"""Width in Vega pixels that becomes one column; it scales marks that were designed for a screen."""

POINTS = COLUMN_INCHES * 72 / CANVAS
"""Points on paper of one Vega pixel."""

INK = "#000000"

LINE_LENGTH = 56
"""Characters of a title that fit on one line."""

Spec = dict[str, Any]


def _pixels(points: float) -> float:
    return round(points / POINTS, 2)


STYLES: dict[str, Spec] = {
    "axis": {
        "labelFontSize": _pixels(7.5), "titleFontSize": _pixels(8), "labelOpacity": 1, "domainOpacity": 0.8,
        "tickOpacity": 0.8,
    },
    "legend": {
        "labelFontSize": _pixels(7.5), "titleFontSize": _pixels(7.5), "columns": 2, "labelLimit": CANVAS,
        "rowPadding": 3, "columnPadding": 14, "layout": {"bottom": {"direction": "vertical", "anchor": "start"}},
    },
    "title": {"fontSize": _pixels(8), "offset": 8, "frame": "bounds"},
    "text": {"fontSize": _pixels(7.5)},
}  # fmt: skip
"""Configuration for print: text of 7.5 and 8 points, legend entries in two columns."""


def print_spec(figure: Figure) -> Spec:
    """The figure's specification for paper: `CANVAS` pixels wide with everything inside, black on white.

    The pixels become points when the file is written (`POINTS`).
    """
    text = json.dumps(figure.export_spec())
    text = text.replace("currentColor", INK).replace("\\u2715", "\\u00d7")  # few print fonts have the heavy cross ...
    text = re.sub(r"\\u208(\d)", r"\1", text)  # ... or subscripts: one missing sign changes the font of its line
    spec: Spec = json.loads(text)
    config = {part: spec["config"][part] | style for part, style in STYLES.items()}
    title = {"text": _lines(spec["title"]["text"])}
    return spec | {
        "config": spec["config"] | config | {"padding": 8}, "title": title, "width": CANVAS,
        "autosize": {"type": "fit-x", "contains": "padding"},
    }  # fmt: skip


def _lines(title: str) -> list[str]:
    """The title on as many lines as it needs, broken after its colon and then between words."""
    if len(title) <= LINE_LENGTH:
        return [title]
    head, colon, rest = title.partition(": ")
    parts = [f"{head}:", rest] if colon else [title]
    return [line for part in parts for line in wrap(part, LINE_LENGTH)]


def draw(spec: Spec) -> str:
    """A specification as an SVG document whose user units are points on paper."""
    drawn: str = vl_convert.vegalite_to_svg(spec, vl_version=VEGA_LITE)
    return re.sub(r'(<svg[^>]*?) width="([\d.]+)" height="([\d.]+)"', _on_paper, drawn, count=1)


def _on_paper(found: re.Match[str]) -> str:
    width, height = (float(found[i]) * POINTS for i in (2, 3))
    return f'{found[1]} width="{width:.2f}" height="{height:.2f}"'


def picture(spec: Spec) -> bytes:
    """A specification as a PNG for a screen, with two dots a pixel."""
    image: bytes = vl_convert.vegalite_to_png(spec, vl_version=VEGA_LITE, scale=2)
    return image


def _png(drawing: str) -> bytes:
    image: bytes = vl_convert.svg_to_png(drawing, ppi=DPI)
    return image


def _svg(drawing: str) -> bytes:
    in_points = re.sub(r'(<svg[^>]*? width="[\d.]+)(" height="[\d.]+)"', r'\1pt\2pt"', drawing, count=1)
    return in_points.encode()


def _pdf(drawing: str) -> bytes:
    document: bytes = vl_convert.svg_to_pdf(drawing)
    return document


FORMATS: dict[str, Callable[[str], bytes]] = {"png": _png, "svg": _svg, "pdf": _pdf}
"""Format -> how a drawing becomes its bytes."""


def export_figures(figures: Iterable[Figure], folder: Path, formats: Sequence[str]) -> list[Path]:
    """Write each figure once in each format as `folder/name.format`; returns what was written.

    A figure that several panels show is drawn once.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, dict[str, bytes]] = {}
    written = []
    for name, figure in {figure.name: figure for figure in figures}.items():
        spec = print_spec(figure)
        key = json.dumps(spec)
        if key not in files:
            drawing = draw(spec)
            files[key] = {chosen: FORMATS[chosen](drawing) for chosen in formats}
        for chosen, content in files[key].items():
            path = folder / f"{name}.{chosen}"
            path.write_bytes(content)
            written.append(path)
    return written
