"""Figures: the papers' panels by id, and the figures of whatever was run."""

from __future__ import annotations

from analysis.figures import natural_training, sgd_variants
from analysis.figures.figure import Figure
from analysis.figures.figure_data import FigureData
from analysis.figures.panels import Panel
from analysis.figures.study import FigureGroup, Lead, lead, study_figures

FIGURES: dict[str, Panel] = {panel.id: panel for panel in (*natural_training.PANELS, *sgd_variants.PANELS)}
"""Id -> panel, callable with `FigureData(table)`. Another paper needs one file of panels and its entry here."""

__all__ = ["FIGURES", "Figure", "FigureData", "FigureGroup", "Lead", "Panel", "lead", "study_figures"]
