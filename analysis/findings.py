"""Everything the page shows, worked out once from a table."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from altair.utils.schemapi import debug_mode

from analysis.beside import beside
from analysis.claims import evaluate
from analysis.claims.verdict import Verdict
from analysis.figures import FIGURES, Figure, FigureData, FigureGroup, study_figures
from analysis.figures.forest import forest_figure
from analysis.figures.large_batch import LANDSCAPES
from analysis.figures.plane import arrow_figure, scatter_figure
from analysis.figures.sweep import SHARED, Setting, shared_values
from analysis.published.paper_versus_ours import Comparison, compare
from analysis.published.printed_rows import PRINTED
from analysis.reports.correlation import CorrelationReport, correlation_report
from analysis.reports.counterexamples import CounterexampleReport, counterexample_report
from analysis.tables.cells import cells
from analysis.tables.table import PROTOCOL, StudyTable
from search_spaces import HEADLINE_EPSILON

CURVATURE = "lambda1_train"
"""The curvature of the page's correlation and counterexample sections, as of its claims; the CSV files hold both."""

STUDY = ("dataset", "model", *PROTOCOL)

ARROW_KEYS = [*SHARED, "attack", "loss", "split", "epsilon"]

MOST_ARROW_FIGURES = 4


@dataclass(frozen=True)
class Findings:
    """The parts of the report, ready to be shown or written to files."""

    table: StudyTable
    made_at: datetime
    verdicts: list[Verdict]
    correlations: CorrelationReport
    counterexamples: CounterexampleReport
    groups: list[FigureGroup]
    panels: dict[str, list[Figure]]
    planes: list[Figure]
    forests: list[Figure]
    arrows: list[Figure]
    landscapes: dict[str, list[Figure]]
    comparisons: list[Comparison]

    @property
    def figures(self) -> list[Figure]:
        """Every figure, those of the study before the papers' panels."""
        grouped = [figure for group in self.groups for figure in group.figures]
        numbered = [figure for figures in self.panels.values() for figure in figures]
        shapes = [figure for figures in self.landscapes.values() for figure in figures]
        return [*grouped, *self.planes, *self.forests, *self.arrows, *numbered, *shapes]


def find(table: StudyTable, *, apart: bool = False) -> Findings:
    """All statistics, verdicts and figures of a results folder; `apart`: half of them on a second core (`beside`)."""
    cells(table)  # both halves need them
    # altair would check each part of each chart against its schema; the tests do that
    with debug_mode(False), beside(partial(_judge_papers, table), apart=apart) as judged:
        correlations = correlation_report(table)
        data = FigureData(table)
        groups = study_figures(data)
        panels = {panel_id: panel(data) for panel_id, panel in FIGURES.items()}
        planes = _planes(data)
        papers = judged()
        return Findings(
            table=table,
            made_at=datetime.now(UTC),
            verdicts=papers.verdicts,
            correlations=correlations,
            counterexamples=papers.counterexamples,
            groups=groups,
            panels=panels,
            planes=planes,
            forests=_forests(correlations),
            arrows=_arrows(data, papers.counterexamples),
            landscapes=papers.landscapes,
            comparisons=papers.comparisons,
        )


class _Papers(NamedTuple):
    """What a folder says of the papers that needs nothing of the other figures."""

    counterexamples: CounterexampleReport
    verdicts: list[Verdict]
    landscapes: dict[str, list[Figure]]
    comparisons: list[Comparison]


def _judge_papers(table: StudyTable) -> _Papers:
    return _Papers(
        counterexample_report(table),
        evaluate(table),
        {panel_id: panel(table) for panel_id, panel in LANDSCAPES.items()},
        [compare(table, printed, model) for printed in PRINTED for model in printed.models],
    )


def headline(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows at the epsilon of paper A's figures, or at the largest one where a study did not ask for that."""
    if frame.empty:
        return frame
    usual = frame["dataset"].map(HEADLINE_EPSILON).astype(float)
    study = frame.groupby([key for key in STUDY if key in frame], dropna=False)["epsilon"]
    asked = study.transform(lambda epsilons: np.isclose(epsilons, usual[epsilons.index]).any())
    return frame[np.isclose(frame["epsilon"], usual.where(asked.astype(bool), study.transform("max")))]


def _planes(data: FigureData) -> list[Figure]:
    cells = headline(data.cells[(data.cells["split"] == "test") & (data.cells["n_seeds"] > 0)])
    questions = cells[[*SHARED, "attack", "loss", "epsilon"]].drop_duplicates()
    asked: dict[tuple[Any, ...], list[tuple[str, str, float]]] = {}
    for *shared, attack, loss, epsilon in questions.itertuples(index=False, name=None):
        asked.setdefault(shared_values(shared), []).append((attack, loss, epsilon))
    figures = []
    for setting in data.settings:
        for attack, loss, epsilon in sorted(asked.get(setting.values, [])):
            figure = scatter_figure(data, setting, attack=attack, loss=loss, epsilon=epsilon, curvature=CURVATURE)
            figures += [figure] if figure is not None else []
    return figures


def _forests(report: CorrelationReport) -> list[Figure]:
    forest = report.forest
    if forest.empty:
        return []
    at_headline = headline(forest[forest["scope"] == "stratum"])
    sound = pd.concat([at_headline, forest[forest["scope"] != "stratum"]])
    sound = sound[sound["cells"] == "sound"]
    figures = []
    for attack, loss in sorted(set(zip(at_headline["attack"], at_headline["loss"], strict=True))):
        figure = forest_figure(sound, attack=attack, loss=loss, curvature=CURVATURE)
        figures += [figure] if figure is not None else []
    return figures


def _arrows(data: FigureData, report: CounterexampleReport) -> list[Figure]:
    found = report.found
    if found.empty:
        return []
    chosen = found[(found["curvature"] == CURVATURE) & (found["direction"] == "sharper, yet more robust")]
    chosen = chosen[chosen["label"] != "floor artefact"]
    figures = []
    for values, pairs in chosen.groupby(ARROW_KEYS, dropna=False, sort=False):
        shared: tuple[Any, ...] = values[: len(SHARED)]
        setting = Setting(shared_values(shared))
        figure = arrow_figure(data, setting, pairs)
        figures += [figure] if figure is not None else []
        if len(figures) == MOST_ARROW_FIGURES:
            break
    return figures
