"""Figures: templates, the papers' panels by id, and the figures of whatever was run."""

from __future__ import annotations

from analysis.figures.figure import Figure
from analysis.figures.figure_data import FigureData
from analysis.figures.natural_training import PANELS
from analysis.figures.panels import Panel
from analysis.figures.sgd_variants import PANELS as VARIANT_PANELS
from analysis.figures.study import FigureGroup, study_figures
from analysis.figures.variants import VariantPanel

FIGURES: dict[str, Panel | VariantPanel] = {
    **{panel.id: panel for panel in PANELS},
    **{panel.id: panel for panel in VARIANT_PANELS},
}
"""Id -> panel, callable with `FigureData(table)`. Another paper is one file of panels and one term here."""

__all__ = ["FIGURES", "Figure", "FigureData", "FigureGroup", "Panel", "VariantPanel", "study_figures"]
