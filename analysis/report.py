"""The report's command line: `python -m analysis.report RESULTS [RESULTS ...] [--out DIR] [--formats png,svg,pdf]`."""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from analysis.claims.claim import to_frame
from analysis.findings import Findings, find
from analysis.output.downloads import aggregated, comparisons_frame, conflicts_frame, networks, write_tables
from analysis.output.export import FORMATS, export_figures
from analysis.output.latex import TABLES, write_latex
from analysis.output.page import render
from analysis.tables.cells import cells_and_worst
from analysis.tables.merge import conflicts_in_words
from analysis.tables.table import StudyTable, load
from search_spaces import GridError
from search_spaces.outside import load_study
from study.results.folder import RecordsError
from study.results.packed import is_packed
from study.results.storage import masked

DESCRIPTION = """Write the report of a study: report.html, its tables beside it (CSV, and Parquet with a description of
each column) and latex/ with the tables of a paper (booktabs). Several results folders are united by trial id, with what
was asked of the same network in each. Where a trial has other weights in another folder, the folder that is named first
counts, and conflicts.csv lists the trial."""

FORMATS_HELP = f"also write every figure, one column wide, into figures/: {','.join(FORMATS)}"

Locations = str | Path | Sequence[str | Path]
"""A results folder or URI, or several."""


class ReportError(Exception):
    """The report cannot be made; the message says why."""


class UnwritableError(ReportError):
    """The report's folder cannot be written to."""


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Pause the search for reference cycles: a report has few, and the search takes a fifth of its time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@_without_garbage_collection()
def write_report(
    study: Locations | Findings, out: str | Path | None = None, formats: Sequence[str] = ()
) -> tuple[Path, Findings]:
    """Write report.html, its tables (CSV, Parquet, LaTeX) and, if `formats` names any, every figure.

    Args:
        study: a results folder or URI, or several, which are united (`analysis.tables.merge`); or what was found there.
        out: the report's folder; by default `report/` in a local results folder, beside a packed study, and `./report`
            for a URI or several.
        formats: any of `analysis.output.export.FORMATS`.

    Returns:
        The path of report.html, and what it shows.

    Raises:
        ReportError: an unknown format, no readable trial, or a folder that cannot be written to.
    """
    unknown = [name for name in formats if name not in FORMATS]
    if unknown:
        raise ReportError(f"unknown format {', '.join(unknown)}; valid formats: {', '.join(FORMATS)}")
    if isinstance(study, Findings):
        findings, folder = study, _folder(study.table.locations, out)
    else:
        locations = [study] if isinstance(study, str | Path) else study
        findings, folder = find(_table(locations)), _folder(locations, out)
    page = folder / "report.html"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tables = frames(findings)
        write_tables(tables, folder)
        write_latex(findings, folder / "latex")
        files = [f"{name}.{kind}" for name in tables for kind in ("csv", "parquet")]
        files += [f"latex/{name}" for name in TABLES]
        page.write_text(render(findings, files), encoding="utf-8")
        if formats:
            export_figures(findings.figures, folder / "figures", formats)
    except OSError as error:
        raise UnwritableError(f"cannot write the report to {folder}: {error}") from error
    return page, findings


def _table(locations: Sequence[str | Path]) -> StudyTable:
    try:
        return load(*locations)
    except RecordsError as error:
        raise ReportError(str(error)) from error
    except (OSError, RuntimeError) as error:  # a file, a loop of links, a home that does not exist, no network
        names = " and ".join(masked(str(one)) for one in locations)
        raise ReportError(f"cannot read {names}: {masked(str(error))}") from error


def frames(findings: Findings) -> dict[str, pd.DataFrame]:
    """File name without suffix -> the table written under it; that of conflicts only where there are any."""
    conflicts = findings.table.conflicts
    return {
        "claims": to_frame(findings.verdicts),
        "correlations": findings.correlations.correlations,
        "measures": findings.measures.summary,
        "measures_by_curve": findings.measures.strata,
        "counterexamples": findings.counterexamples.found,
        "paper_versus_ours": comparisons_frame(findings.comparisons),
        "cells": aggregated(cells_and_worst(findings.table)),
        "networks": networks(findings.table),
    } | ({"conflicts": conflicts_frame(conflicts)} if conflicts else {})


def _folder(locations: Sequence[str | Path], out: str | Path | None) -> Path:
    if out is not None:
        return Path(out).expanduser()
    only = str(locations[0])
    if len(locations) > 1 or "://" in only:
        return Path("report")
    place = Path(only).expanduser()
    return (place.parent if is_packed(only) else place) / "report"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status, 2 if no report could be made."""
    parser = argparse.ArgumentParser(prog="python -m analysis.report", description=DESCRIPTION)
    told = "results folders or URIs that study.run wrote, or files that study.pack wrote"
    parser.add_argument("results", metavar="RESULTS", nargs="+", help=told)
    parser.add_argument("--grid", metavar="FILE", help="the study file that made the results, for its plan and claims")
    parser.add_argument(
        "--out", metavar="DIR", help="where the report goes (default: RESULTS/report; of several: ./report)"
    )
    parser.add_argument("--formats", default="", metavar="LIST", help=FORMATS_HELP)
    arguments = parser.parse_args(argv)
    formats = [name.strip() for name in arguments.formats.split(",") if name.strip()]
    try:
        if arguments.grid:
            load_study(arguments.grid)
        page, findings = write_report(arguments.results, arguments.out, formats)
    except (ReportError, GridError) as error:
        remedy = "; give another folder with --out" if isinstance(error, UnwritableError) else ""
        print(f"error: {error}{remedy}", file=sys.stderr)
        return 2
    if damaged := findings.table.unreadable:
        files = "1 file is" if len(damaged) == 1 else f"{len(damaged)} files are"
        told = f"{files} left out as unreadable ({damaged[0].name}: {damaged[0].reason})"
        print(f"{told}; run the study's command again to replace them", file=sys.stderr)
    for file in findings.table.not_given:
        print(f"{file} was not loaded, so its plan and claims are missing; add --grid {file}", file=sys.stderr)
    if findings.table.conflicts:
        told = "; ".join(conflicts_in_words(findings.table.conflicts))
        print(f"{told}: see {page.with_name('conflicts.csv')}", file=sys.stderr)
    print(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
