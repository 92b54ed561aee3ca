"""Everything that the report shows, computed once from the tables of a study."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pandas as pd
from altair.utils.schemapi import debug_mode

from analysis.claims import evaluate
from analysis.claims.claim import Verdict
from analysis.figures import FIGURES, Figure, FigureData, FigureGroup, Lead, lead, study_figures
from analysis.figures.curve_sets import SHARED, Setup, shared_values
from analysis.figures.forest import forest_figures
from analysis.figures.large_batch import LANDSCAPES
from analysis.figures.measures import measure_figures
from analysis.figures.plane import arrow_figure, scatter_figure
from analysis.figures.robust_curves import robust_curves
from analysis.figures.sharpness import Track, density_figures, tracks
from analysis.published.paper_versus_ours import TableComparison, comparisons
from analysis.reports import budgets
from analysis.reports.correlation import CorrelationReport, correlation_report
from analysis.reports.counterexamples import CounterexampleReport, counterexample_report
from analysis.reports.measures import MeasureReport, measure_report
from analysis.tables.epsilons import at_headline
from analysis.tables.table import StudyTable

CURVATURE = "lambda1_train"
"""The curvature shown in the page's correlation and counterexample sections; the CSV files hold both."""

ARROW_KEYS = [*SHARED, "attack", "loss", "epsilon"]

MOST_ARROW_FIGURES = 4

FIRST_PLANE = ("pgd", "stable")
"""Attack and loss of the first scatter plots."""


@dataclass(frozen=True)
class Findings:
    """The parts of the report."""

    table: StudyTable
    made_at: datetime
    verdicts: list[Verdict]
    correlations: CorrelationReport
    counterexamples: CounterexampleReport
    measures: MeasureReport
    lead: Lead | None
    groups: list[FigureGroup]
    panels: dict[str, list[Figure]]
    planes: list[Figure]
    forests: list[Figure]
    arrows: list[Figure]
    curves: list[Figure]
    maps: list[Figure]
    landscapes: dict[str, list[Figure]]
    tracks: list[Track]
    densities: list[Figure]
    optimizers: list[budgets.OptimizerComparison]
    comparisons: list[TableComparison]

    @property
    def figures(self) -> list[Figure]:
        """All figures, those of the study before the papers' panels."""
        grouped = [figure for group in self.groups for figure in group.figures]
        numbered = [figure for figures in self.panels.values() for figure in figures]
        shapes = [figure for figures in self.landscapes.values() for figure in figures]
        tracked = [figure for track in self.tracks for figure in track.figures]
        others = [*self.planes, *self.forests, *self.arrows, *self.curves, *self.maps, *numbered, *shapes]
        return [*grouped, *others, *tracked, *self.densities]


def find(table: StudyTable) -> Findings:
    """All statistics, verdicts and figures of a results folder."""
    with debug_mode(False):  # altair would check every part of every chart against its schema; the tests do that
        correlations = correlation_report(table)
        counterexamples = counterexample_report(table)
        measures = measure_report(table)
        data = FigureData(table)
        groups = study_figures(data)
        return Findings(
            table=table,
            made_at=datetime.now(UTC),
            verdicts=evaluate(table),
            correlations=correlations,
            counterexamples=counterexamples,
            measures=measures,
            lead=lead(data, groups),
            groups=groups,
            panels={panel_id: panel(data) for panel_id, panel in FIGURES.items()},
            planes=_planes(data),
            forests=_forests(table, correlations),
            arrows=_arrows(data, counterexamples),
            curves=robust_curves(data),
            maps=measure_figures(measures),
            landscapes={panel_id: panel(table) for panel_id, panel in LANDSCAPES.items()},
            tracks=tracks(table),
            densities=density_figures(table),
            optimizers=budgets.comparisons(table),
            comparisons=comparisons(table),
        )


def _planes(data: FigureData) -> list[Figure]:
    cells = at_headline(data.table, data.cells[(data.cells["split"] == "test") & (data.cells["n_seeds"] > 0)])
    attacks: dict[tuple[Any, ...], list[tuple[str, str, float]]] = {}
    distinct = cells[[*SHARED, "attack", "loss", "epsilon"]].drop_duplicates()
    for *shared, attack, loss, epsilon in distinct.itertuples(index=False, name=None):
        attacks.setdefault(shared_values(shared), []).append((attack, loss, epsilon))
    asked = [(setup, *attack) for setup in data.setups for attack in sorted(attacks.get(setup.values, []))]
    asked.sort(key=lambda one: one[1:3] != FIRST_PLANE)
    found = (
        scatter_figure(data, setup, attack=attack, loss=loss, epsilon=epsilon, curvature=CURVATURE)
        for setup, attack, loss, epsilon in asked
    )
    return [figure for figure in found if figure is not None]


def _forests(table: StudyTable, report: CorrelationReport) -> list[Figure]:
    forest = on_test_images(report.forest)
    if forest.empty:
        return []
    shown = at_headline(table, forest[forest["scope"].isin(("stratum", "study"))])
    attacks = sorted(shown["attack"].unique())
    return [figure for attack in attacks for figure in forest_figures(shown, attack=attack, curvature=CURVATURE)]


def on_test_images(rows: pd.DataFrame) -> pd.DataFrame:
    """Of the rows of a report those on attacked test images, which page and LaTeX show; the CSV files hold all."""
    return rows[rows["split"] == "test"]


def _arrows(data: FigureData, report: CounterexampleReport) -> list[Figure]:
    found = on_test_images(report.found)
    if found.empty:
        return []
    chosen = found[(found["curvature"] == CURVATURE) & (found["direction"] == "sharper, yet more robust")]
    chosen = chosen[chosen["label"] != "floor artefact"]
    figures: list[Figure] = []
    for values, pairs in chosen.groupby(ARROW_KEYS, dropna=False, sort=False):
        shared: tuple[Any, ...] = values[: len(SHARED)]
        figure = arrow_figure(data, Setup(shared_values(shared)), pairs)
        if figure is not None and len(figures) == MOST_ARROW_FIGURES:
            more = " Further data sets, models and attacks have confirmed pairs; counterexamples.csv holds them all."
            return [replace(one, caption=f"{one.caption}{more}") for one in figures]
        figures += [figure] if figure is not None else []
    return figures
