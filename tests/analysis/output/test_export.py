"""Figures for a paper: their size on paper, their text, their fonts and their ink."""

from __future__ import annotations

import re
import struct
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from analysis.figures import Figure, FigureData, study_figures
from analysis.figures.forest import forest_figures
from analysis.figures.plane import arrow_figure, scatter_figure
from analysis.output.export import COLUMN_INCHES, DPI, FORMATS, POINTS, draw, export_figures, print_spec
from analysis.reports.correlation import correlation_report
from analysis.reports.counterexamples import counterexample_report
from analysis.tables.table import from_rows
from analysis.theme import REGIMES, text_colour
from tests.analysis.synthetic import curve_rows, line

NAMES = {text_colour(style.colour) for style in REGIMES.values()}
"""Curves are named in dark forms of their colours."""


@pytest.fixture(scope="module")
def figures() -> dict[str, Figure]:
    """One figure of each kind."""
    rows = curve_rows(batch_sizes=(16, 32, 64, 128, 256), fgsm=line(0.3, 0.05), log2_lambda1=line(2.0, 0.7))
    table = from_rows(rows)
    data = FigureData(table)
    (setup,) = data.setups
    under: dict[str, Any] = {"attack": "fgsm", "loss": "ce", "curvature": "lambda1_train"}
    pairs = counterexample_report(table).found.query(
        "attack == 'fgsm' and loss == 'ce' and curvature == 'lambda1_train'"
    )
    forest = correlation_report(table).forest
    drawn = {
        "plane": scatter_figure(data, setup, epsilon=0.3, **under),
        "counterexamples": arrow_figure(data, setup, pairs),
        "forest": forest_figures(forest, attack="fgsm", curvature="lambda1_train")[0],
    }
    of_study = [figure for group in study_figures(data) for figure in group.figures]
    drawn |= {kind: next(f for f in of_study if kind in f.name) for kind in ("regimes-fgsm", "lambda1")}
    assert all(drawn.values())
    return {kind: figure for kind, figure in drawn.items() if figure}


@pytest.fixture(scope="module")
def drawings(figures: dict[str, Figure]) -> dict[str, str]:
    return {kind: draw(print_spec(figure)) for kind, figure in figures.items()}


def sizes(drawing: str) -> tuple[float, float]:
    found = re.search(r'<svg[^>]* width="([\d.]+)" height="([\d.]+)"', drawing)
    assert found
    return float(found[1]), float(found[2])


def test_every_figure_is_one_column_wide(drawings: dict[str, str]) -> None:
    assert [sizes(drawing)[0] for drawing in drawings.values()] == pytest.approx([72 * COLUMN_INCHES] * len(drawings))


def test_text_has_seven_to_nine_points(drawings: dict[str, str]) -> None:
    for drawing in drawings.values():
        points = {float(size) * POINTS for size in re.findall(r'font-size="([\d.]+)px"', drawing)}
        assert points
        assert 7 <= min(points) <= max(points) <= 9


def test_it_is_black_on_white(drawings: dict[str, str]) -> None:
    for drawing in drawings.values():
        assert re.search(r'<rect width="[\d.]+" height="[\d.]+" fill="#ffffff"', drawing)
        assert "currentColor" not in drawing
        assert set(re.findall(r'<text[^>]*? fill="([^"]*)"', drawing)) <= {"#000000", *NAMES}


def test_a_png_has_300_dots_an_inch(drawings: dict[str, str]) -> None:
    for drawing in drawings.values():
        png = FORMATS["png"](drawing)
        width, height = struct.unpack(">II", png[16:24])
        at = png.index(b"pHYs")
        x, y, unit = struct.unpack(">IIB", png[at + 4 : at + 13])
        assert unit == 1  # per metre
        assert (x * 0.0254, y * 0.0254) == pytest.approx((DPI, DPI), abs=0.05)
        assert width == round(COLUMN_INCHES * DPI)
        assert height == pytest.approx(sizes(drawing)[1] / 72 * DPI, abs=1)


def test_nothing_is_cut_at_the_edge(drawings: dict[str, str]) -> None:
    for kind, drawing in drawings.items():
        picture = np.asarray(Image.open(BytesIO(FORMATS["png"](drawing))).convert("L"))
        inside = picture.copy()
        inside[3:-3, 3:-3] = 255
        assert inside.min() == 255, f"ink at the edge of {kind}"
        assert picture.min() == 0


def test_a_pdf_embeds_its_fonts(drawings: dict[str, str]) -> None:
    for drawing in drawings.values():
        pdf = FORMATS["pdf"](drawing)
        fonts = re.findall(rb"/Type\s*/FontDescriptor.*?endobj", pdf, flags=re.DOTALL)
        assert fonts
        assert all(re.search(rb"/FontFile[23]?\s", font) for font in fonts)
        box = re.search(rb"/MediaBox\s*\[0 0 ([\d.]+) ([\d.]+)\]", pdf)
        assert box
        assert (float(box[1]), float(box[2])) == pytest.approx(sizes(drawing), abs=0.01)


def test_an_svg_says_its_size_in_points(drawings: dict[str, str]) -> None:
    for drawing in drawings.values():
        width, height = sizes(drawing)
        assert f'width="{width:.2f}pt" height="{height:.2f}pt"' in FORMATS["svg"](drawing).decode()[:300]


def test_signs_without_a_glyph_in_print_fonts_are_replaced(figures: dict[str, Figure]) -> None:
    figure = replace(figures["lambda1"], title="λ₁, v₂ and ✕")
    assert print_spec(figure)["title"]["text"] == ["λ1, v2 and ×"]


def test_a_long_title_is_broken_after_its_colon(figures: dict[str, Figure]) -> None:
    title = "Fashion-MNIST · StdCNN: counterexamples under FGSM at ε = 0.05, published loss"
    head, rest = print_spec(replace(figures["plane"], title=title))["title"]["text"]
    assert (head, rest) == ("Fashion-MNIST · StdCNN:", "counterexamples under FGSM at ε = 0.05, published loss")


def test_figures_that_several_panels_show_are_the_same_bytes(figures: dict[str, Figure], tmp_path: Path) -> None:
    twice = [figures["lambda1"], replace(figures["lambda1"], name="A-1R", caption="another")]
    written = export_figures(twice, tmp_path / "figures", ["png", "svg"])
    assert [path.name for path in written] == [f"{figure.name}.{kind}" for figure in twice for kind in ("png", "svg")]
    assert written[0].read_bytes() == written[2].read_bytes()
