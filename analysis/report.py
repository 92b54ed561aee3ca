"""The report's command line: `python -m analysis.report RESULTS [--out DIR] [--formats png,svg,pdf]`."""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pandas as pd

from analysis.beside import beside
from analysis.claims.verdict import to_frame
from analysis.findings import Findings, find
from analysis.output.columns import DESCRIPTIONS
from analysis.output.downloads import aggregated, comparisons_frame, networks, write_tables
from analysis.output.export import FORMATS, export_figures
from analysis.output.latex import TABLES, write_latex
from analysis.output.page import render
from analysis.tables.cells import cells
from analysis.tables.table import load
from study.results.folder import RecordsError

DESCRIPTION = """Write the report of a study: report.html, its tables beside it (CSV, and Parquet with a description of
each column) and latex/ with the tables of a paper (booktabs)."""


FORMATS_HELP = f"also write every figure, one column wide, into figures/: {','.join(FORMATS)}"


WORTH_A_COPY = 500
"""Networks from which on a second process pays for its start and for what it hands back."""

FILES = (
    *(f"{name}.{kind}" for name in DESCRIPTIONS for kind in ("csv", "parquet")),
    *(f"latex/{name}" for name in TABLES),
)
"""What is written beside the page."""


class ReportError(Exception):
    """No report can be made as asked; the message says what to do."""


@contextmanager
def _without_search_for_cycles() -> Iterator[None]:
    """A report keeps millions of objects and hardly drops a cycle: looking for some takes a fifth of its time."""
    searched = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if searched:
            gc.enable()


@_without_search_for_cycles()
def write_report(
    location: str | Path, out: str | Path | None = None, formats: Sequence[str] = (), *, apart: bool = False
) -> Path:
    """Write report.html, its tables (CSV, Parquet, LaTeX) and, if `formats` are named, every figure.

    Returns the page's path.

    `apart`: with half of the work of a large study on a second core, as `analysis.beside.beside` does it.

    Without `out` the report goes to `report/` in a local results folder, and to `./report` for a URI.

    Raises:
        ReportError: an unknown format, nothing to read, or a folder that cannot be written to.
    """
    unknown = [name for name in formats if name not in FORMATS]
    if unknown:
        raise ReportError(f"unknown format {', '.join(unknown)}; valid formats: {', '.join(FORMATS)}")
    try:
        table = load(location)
    except RecordsError as error:
        raise ReportError(str(error)) from error
    if table.trials.empty and table.planned.empty:
        why = f" ({table.unreadable[0].name}: {table.unreadable[0].reason})" if table.unreadable else ""
        raise ReportError(f"no trial of {location} can be read{why}; run the study first: python -m study.run --help")
    folder = _folder(str(location), out)
    apart = apart and len(table.trials) >= WORTH_A_COPY
    findings = find(table, apart=apart)
    page = folder / "report.html"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with beside(partial(_write_tables, findings, folder), apart=apart) as written:
            content = render(findings, FILES)
            write_latex(findings, folder / "latex")
            written()
        page.write_text(content, encoding="utf-8")
        if formats:
            export_figures(findings.figures, folder / "figures", formats)
    except OSError as error:
        raise ReportError(f"cannot write the report to {folder}: {error}; give another folder with --out") from error
    return page


def _write_tables(findings: Findings, folder: Path) -> None:
    write_tables(frames(findings), folder)


def frames(findings: Findings) -> dict[str, pd.DataFrame]:
    """The tables that are written beside the page, by the names of their files."""
    return {
        "claims": to_frame(findings.verdicts),
        "correlations": findings.correlations.correlations,
        "counterexamples": findings.counterexamples.found,
        "paper_versus_ours": comparisons_frame(findings.comparisons),
        "cells": aggregated(cells(findings.table)),
        "networks": networks(findings.table),
    }


def _folder(location: str, out: str | Path | None) -> Path:
    if out is not None:
        return Path(out).expanduser()
    return Path("report") if "://" in location else Path(location).expanduser() / "report"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status, 2 when no report could be made."""
    parser = argparse.ArgumentParser(prog="python -m analysis.report", description=DESCRIPTION)
    parser.add_argument("results", metavar="RESULTS", help="a results folder or URI that study.run wrote")
    parser.add_argument("--out", metavar="DIR", help="where the report goes (default: RESULTS/report)")
    parser.add_argument("--formats", default="", metavar="LIST", help=FORMATS_HELP)
    arguments = parser.parse_args(argv)
    formats = [name.strip() for name in arguments.formats.split(",") if name.strip()]
    try:
        page = write_report(arguments.results, arguments.out, formats, apart=True)
    except ReportError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
