"""A study in a notebook: the report's tables and figures as data frames and charts, each computed on first use."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import uuid4

import altair as alt
import pandas as pd

from analysis.claims import evaluate
from analysis.claims.claim import to_frame
from analysis.figures import FIGURES, Figure, FigureData
from analysis.findings import Findings, find
from analysis.output.downloads import aggregated, comparisons_frame, conflicts_frame, networks
from analysis.output.export import picture
from analysis.output.latex import latex_tables
from analysis.published.paper_versus_ours import comparisons
from analysis.report import write_report
from analysis.reports.correlation import correlation_report
from analysis.reports.counterexamples import counterexample_report
from analysis.reports.measures import measure_report
from analysis.tables.table import StudyTable, load
from search_spaces.outside import load_study


class Study:
    """The study in a results folder, or in several as one; docs/python_api.md is the guide.

    Attributes:
        table: the rows themselves in long form (`analysis.tables.table.StudyTable`).

    `grid` is the study file that made the results, if one did; it is executed, for what it planned and claims.

    Raises:
        RecordsError: there are no results at a location, or it is named twice.
        GridError: the study file cannot be executed.
    """

    def __init__(self, *locations: str | Path, grid: str | Path | None = None) -> None:
        if grid is not None:
            load_study(grid)
        self.table: StudyTable = load(*locations)

    def __repr__(self) -> str:
        return f"<Study of {len(self.table.trials)} networks in {self.table.where}>"

    @cached_property
    def networks(self) -> pd.DataFrame:
        """One row a trained network; the columns of `networks.csv`."""
        return networks(self.table)

    @cached_property
    def cells(self) -> pd.DataFrame:
        """One row a cell and attack: means over seeds, intervals and flags; the columns of `cells.csv`."""
        return aggregated(self._data.cells)

    @property
    def conflicts(self) -> pd.DataFrame:
        """Where several results folders disagree, one row a trial; the columns of `conflicts.csv`."""
        return conflicts_frame(self.table.conflicts)

    def claims(self) -> pd.DataFrame:
        """One row a claim and attack loss with its verdict; the columns of `claims.csv`."""
        return to_frame(evaluate(self.table))

    def correlations(self) -> pd.DataFrame:
        """One row a statistic; the columns of `correlations.csv`."""
        return correlation_report(self.table).correlations

    def counterexamples(self) -> pd.DataFrame:
        """Confirmed pairs, candidates and floor artefacts, each strongest first; columns of `counterexamples.csv`."""
        return counterexample_report(self.table).found

    def measures(self) -> pd.DataFrame:
        """One row a pair of measures of sharpness and of robustness; the columns of `measures.csv`."""
        return measure_report(self.table).summary

    def paper_versus_ours(self) -> pd.DataFrame:
        """One row a printed number with ours next to it; the columns of `paper_versus_ours.csv`."""
        return comparisons_frame(comparisons(self.table))

    def figures(self) -> dict[str, str]:
        """Name -> title of every figure of the report."""
        return {figure.name: figure.title for figure in self._findings.figures}

    def figure(self, name: str) -> alt.TopLevelMixin:
        """A figure by its name, or a paper's panel by its id ("A-1L"), as an altair chart that a notebook displays.

        It shows as a picture where Vega cannot be loaded: offline, and wherever a stored notebook is only read.

        Raises:
            ValueError: there is no such figure, or the panel has several; the message lists the choices.
        """
        found = self._panel(name) or [figure for figure in self._findings.figures if figure.name == name]
        exact = [figure for figure in found if figure.name == name] or found
        if len(exact) == 1 or len({figure.name for figure in exact}) == 1:
            return _with_picture(exact[0].chart)
        if exact:
            raise ValueError(f"{name} has several figures; ask for one of {', '.join(f.name for f in exact)}")
        raise ValueError(f"no figure {name}; there are: {', '.join(self.figures()) or 'none'}")

    def latex(self) -> dict[str, str]:
        """File name -> LaTeX of `claims.tex`, `counterexamples.tex` and `paper_versus_ours.tex`."""
        return latex_tables(self._findings)

    def report(self, out: str | Path | None = None, formats: Sequence[str] = ()) -> Path:
        """Write the report as `python -m analysis.report` does; returns the page's path.

        Raises:
            ReportError: an unknown format, or a folder that cannot be written to.
        """
        return write_report(self._findings, out, formats)[0]

    def _panel(self, name: str) -> list[Figure]:
        """The figures of the panel whose id is `name` or begins it, drawn without the rest of the report."""
        ids = [panel_id for panel_id in FIGURES if name == panel_id or name.startswith(f"{panel_id}-")]
        drawn = [figure for panel_id in ids for figure in FIGURES[panel_id](self._data)]
        return drawn if name in ids else [figure for figure in drawn if figure.name == name]

    @cached_property
    def _data(self) -> FigureData:
        return FigureData(self.table)

    @cached_property
    def _findings(self) -> Findings:
        return find(self.table)


def _with_picture(chart: alt.TopLevelMixin) -> alt.TopLevelMixin:
    """The chart, which displays as the interactive form of altair's renderer and as a picture (PNG) together.

    In HTML the picture gives way to the interactive form once that is drawn, and stands in for the error if it is not.
    """

    def bundle(*args: Any, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        shown = type(chart)._repr_mimebundle_(chart, *args, **options) or {}
        forms, about = shown if isinstance(shown, tuple) else (shown, {})
        image = picture(chart.to_dict())
        size = {name: int.from_bytes(image[at : at + 4]) // 2 for name, at in (("width", 16), ("height", 20))}
        found: dict[str, Any] = {"image/png": image, **forms}
        if "text/html" in found:
            place, source = f"figure-{uuid4().hex}", base64.b64encode(image).decode()
            style = f"#{place} .error, #{place}:has(.vega-embed) > img {{ display: none }}"
            still = f'<img src="data:image/png;base64,{source}" width="{size["width"]}" alt="">'
            found["text/html"] = f'<div id="{place}"><style>{style}</style>{still}{found["text/html"]}</div>'
        return found, {"image/png": size, **about}

    object.__setattr__(chart, "_repr_mimebundle_", bundle)  # of this chart alone: altair's own setter would add a field
    return chart
