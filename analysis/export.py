"""Figures as files for a paper: PNG at 300 dpi, SVG and PDF."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import vl_convert

from analysis.figures import Figure

VEGA_LITE = "6.4"

SCALE = 300 / 72
"""300 dots an inch: a Vega pixel is a point, 1/72 inch."""


def _png(spec: dict[str, Any]) -> bytes:
    image: bytes = vl_convert.vegalite_to_png(spec, vl_version=VEGA_LITE, scale=SCALE, ppi=72)
    return image


def _svg(spec: dict[str, Any]) -> bytes:
    text: str = vl_convert.vegalite_to_svg(spec, vl_version=VEGA_LITE)
    return text.encode()


def _pdf(spec: dict[str, Any]) -> bytes:
    document: bytes = vl_convert.vegalite_to_pdf(spec, vl_version=VEGA_LITE)
    return document


FORMATS: dict[str, Callable[[dict[str, Any]], bytes]] = {"png": _png, "svg": _svg, "pdf": _pdf}
"""Format -> how a specification becomes its bytes."""


def export_figures(figures: Iterable[Figure], folder: Path, formats: Sequence[str]) -> list[Path]:
    """Write each figure once in each format as `folder/name.format`."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, figure in {figure.name: figure for figure in figures}.items():
        spec = figure.export_spec()
        for chosen in formats:
            path = folder / f"{name}.{chosen}"
            path.write_bytes(FORMATS[chosen](spec))
            written.append(path)
    return written
