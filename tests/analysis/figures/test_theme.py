"""Colours can be told from the page in both themes, and curves from each other without colour."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray

from analysis import theme
from analysis.figures.forest import MEAN_STYLE
from analysis.figures.landscapes import SURFACES
from analysis.figures.plane import CONFIRMED
from analysis.output.page.charts import GLYPHS

LIGHT, DARK = 0, 1

TEXT = ("ink", "soft", "link", "supported", "refuted", "inconclusive", "not-run")

STYLES = [*theme.REGIMES.values(), *theme.MOMENTA.values(), *theme.OPTIMIZERS.values(), *SURFACES.values(), MEAN_STYLE]

MARKS = {style.colour for style in STYLES} | set(theme.COLOURS) | {CONFIRMED}


def luminance(colour: str) -> float:
    """Relative luminance of a colour `#rrggbb` (WCAG 2.2)."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def over(colour: str, paper: str, opacity: float) -> str:
    """What a colour of this opacity looks like on paper."""
    mixed = (round(opacity * int(colour[i : i + 2], 16) + (1 - opacity) * int(paper[i : i + 2], 16)) for i in (1, 3, 5))
    return "#" + "".join(f"{channel:02x}" for channel in mixed)


@pytest.mark.parametrize("mode", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("role", TEXT)
def test_text_has_a_contrast_of_four_and_a_half_on_paper_and_on_wash(role: str, mode: int) -> None:
    for ground in ("paper", "wash"):
        assert contrast(theme.PAGE[role][mode], theme.PAGE[ground][mode]) >= 4.5


@pytest.mark.parametrize("mode", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("colour", sorted(MARKS))
def test_marks_have_a_contrast_of_three(colour: str, mode: int) -> None:
    shown = theme.IN_THE_DARK.get(colour, colour) if mode == DARK else colour
    assert contrast(shown, theme.PAGE["paper"][mode]) >= 3


@pytest.mark.parametrize("style", theme.REGIMES.values(), ids=lambda style: style.label)
def test_the_names_of_curves_have_a_contrast_of_four_and_a_half(style: theme.SeriesStyle) -> None:
    named = theme.text_colour(style.colour)
    dark = theme.IN_THE_DARK.get(style.colour, style.colour)
    assert contrast(named, theme.PAGE["paper"][LIGHT]) >= 4.5
    assert contrast(dark, theme.PAGE["paper"][DARK]) >= 3
    assert f'[fill="{named}"]{{fill:light-dark({named},{dark})}}' in theme.style_sheet()


@pytest.mark.parametrize("mode", [LIGHT, DARK], ids=["light", "dark"])
def test_axes_are_read_and_controls_seen(mode: int) -> None:
    ink, paper = theme.PAGE["ink"][mode], theme.PAGE["paper"][mode]
    assert contrast(over(ink, paper, theme.config()["axis"]["labelOpacity"]), paper) >= 4.5
    for ground in ("paper", "wash"):
        assert contrast(theme.PAGE["edge"][mode], theme.PAGE[ground][mode]) >= 3


SEEN = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
"""What the colour blind see of linear RGB: Machado, Oliveira & Fernandes 2009 (IEEE TVCG 15), severity 1."""


def seen_as(colour: str, by: str) -> NDArray[np.float64]:
    """A colour in CIELAB as the colour blind see it."""
    channels = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.array(SEEN[by]) @ linear, 0, 1)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    x, y, z = np.cbrt(to_xyz @ seen / [0.9505, 1.0, 1.089])
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


CURVES = {
    "the papers' regimes": [theme.REGIMES[regime] for regime in ("lr", "lr_bs", "benchmark")],
    "momenta": list(theme.MOMENTA.values()),
    "optimizers": list(theme.OPTIMIZERS.values()),
}


@pytest.mark.parametrize("mode", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("by", SEEN)
@pytest.mark.parametrize("curves", CURVES)
def test_the_colour_blind_tell_the_curves_of_a_figure_apart(curves: str, by: str, mode: int) -> None:
    colours = [theme.IN_THE_DARK.get(s.colour, s.colour) if mode == DARK else s.colour for s in CURVES[curves]]
    for one, other in combinations(colours, 2):
        assert np.linalg.norm(seen_as(one, by) - seen_as(other, by)) > 10, (one, other)  # 2.3 can just be noticed


@pytest.mark.parametrize("curves", CURVES)
def test_the_curves_of_a_figure_differ_in_shape_and_legends_can_draw_it(curves: str) -> None:
    shapes = {style.shape for style in CURVES[curves]}
    assert len(shapes) == len(CURVES[curves])
    assert shapes <= set(GLYPHS)


def test_regimes_and_networks_differ_in_colour_and_legends_can_draw_them() -> None:
    regimes = theme.REGIMES.values()
    assert len({style.colour for style in regimes}) == len(regimes)
    assert {style.shape for style in regimes} <= set(GLYPHS)
    assert len(set(theme.SHAPES)) == len(set(theme.COLOURS)) == len(theme.SHAPES) == len(theme.COLOURS) == 8
    assert set(theme.SHAPES) <= set(GLYPHS)


def test_curves_that_no_paper_has_differ_from_the_papers_and_from_each_other() -> None:
    momenta = [0.0, 0.2, 0.3, 0.5, 0.9, 0.95, 0.99]
    regimes = ["lr", "lr_bs", "benchmark", "mine", "yours"]
    found = [
        [theme.momentum_style(one, momenta) for one in momenta],
        [theme.regime_style(one, regimes) for one in regimes],
        [theme.optimizer_style(one) for one in (*theme.OPTIMIZERS, "lion")],
    ]
    for styles in found:
        assert len({(style.colour, style.shape) for style in styles}) == len(styles)


def test_batch_sizes_of_a_figure_differ_and_a_doubling_looks_alike_in_every_figure() -> None:
    sizes = [3, 8, 16, 32, 96, 100, 128, 256, 512, 1024, 2048, 4096, 8192]
    styles = theme.batch_styles(reversed(sizes))
    assert list(styles) == sizes
    assert len({(style.colour, style.shape) for style in styles.values()}) == len(sizes)
    for size in (16, 32, 128, 4096):
        assert theme.batch_styles([size])[size] == styles[size]
    assert styles[32] == theme.SeriesStyle("batch 32", theme.COLOURS[1], theme.SHAPES[1])
