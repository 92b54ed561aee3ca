"""What a report of a large study costs: seconds, memory and bytes, once its planted truths are found.

python -m benchmarks.report [ROWS ...] [--results DIR]

For each number of planted rows: whether their truths are found, the CPU seconds of each part, and for the whole
command, `python -m analysis.report` in a process of its own, seconds of wall clock and CPU, the peak of resident memory
and the size of the page. The command is run twice: first it reads every row file, then the copy of them that it wrote.
With `--results` the rows are kept in DIR, or read from there.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from analysis.claims import evaluate
from analysis.findings import Findings, find
from analysis.output.downloads import write_tables
from analysis.output.latex import write_latex
from analysis.output.page import render
from analysis.report import frames
from analysis.reports.correlation import correlation_report
from analysis.reports.counterexamples import counterexample_report
from analysis.tables.cells import cells
from analysis.tables.table import load
from benchmarks.planted_study import EXCEPTION, write_study
from benchmarks.row import Row
from study.results.row_cache import CACHE, SETTLED_SECONDS

ROWS = (1_000, 10_000)

EXPECTED = {"A3": "supported", "A7": "supported", "A9": "supported"}
"""Claim -> its verdict on the planted rows: the benchmark's curvature rises, attacks succeed more with larger batches
at a constant rate, and the paper's own exception is found."""

T = TypeVar("T")


@dataclass(frozen=True)
class Cost:
    """What one report took: seconds of wall clock and of CPU, the peak of resident memory and the page in bytes."""

    wall: float
    cpu: float
    memory: int
    page: int

    def __str__(self) -> str:
        return f"{self.wall:8.1f} {self.cpu:8.1f} {self.memory / 1e6:9.0f} {self.page / 1e6:8.2f}"


def command(results: Path, out: Path) -> Cost:
    """Make the report of a results folder in a process of its own.

    Raises:
        RuntimeError: it failed; its message is on the standard error.
    """
    started = time.perf_counter()
    words = [sys.executable, "-m", "analysis.report", str(results), "--out", str(out)]
    child = os.posix_spawn(sys.executable, words, dict(os.environ))
    _, status, usage = os.wait4(child, 0)
    if status:
        raise RuntimeError(f"no report of {results}: exit status {os.waitstatus_to_exitcode(status)}")
    page = (out / "report.html").stat().st_size
    kilobytes = usage.ru_maxrss  # Linux counts in kilobytes
    return Cost(time.perf_counter() - started, usage.ru_utime + usage.ru_stime, kilobytes * 1024, page)


def by_part(results: Path, out: Path) -> tuple[Findings, dict[str, float]]:
    """Make the report part by part in this process; returns the CPU seconds of each part."""
    spent: dict[str, float] = {}

    def clock(part: str, work: Callable[[], T]) -> T:
        started = time.process_time()
        made = work()
        spent[part] = time.process_time() - started
        return made

    table = clock("read rows", lambda: load(results))
    clock("cells", lambda: cells(table))
    clock("correlations", lambda: correlation_report(table))
    clock("counterexamples", lambda: counterexample_report(table))
    clock("claims", lambda: evaluate(table))
    findings = clock("figures and paper versus ours", lambda: find(table))
    spent["figures and paper versus ours"] -= spent["correlations"] + spent["claims"]  # `find` computes them again
    out.mkdir(parents=True, exist_ok=True)
    files = clock("tables", lambda: write_tables(frames(findings), out))
    clock("LaTeX", lambda: write_latex(findings, out / "latex"))
    clock("page", lambda: render(findings, files))
    return findings, spent


def rows(count: int = 10_000) -> Iterator[Row]:
    """The first and the second report of `count` planted rows; there is no peer to compare with."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = _planted(count, Path(scratch) / "rows")
        first, second = command(folder, Path(scratch) / "first"), command(folder, Path(scratch) / "second")
        if wrong := untrue(find(load(folder))):
            raise SystemExit("; ".join(wrong))
    for what, cost in (("first report", first), ("second report", second)):
        found = f"planted truths found; {cost.memory / 1e6:.0f} MB, page {cost.page / 1e6:.1f} MB"
        yield Row("report", f"{count:,} rows, {what}", "", [cost.wall], [], found)


def _planted(count: int, folder: Path) -> Path:
    """Write the planted rows to `folder` if they are not there, and delete the copy of them in one file."""
    if not (folder / "study.json").exists():
        write_study(count, folder)
        time.sleep(SETTLED_SECONDS + 1)  # younger files are not copied
    (folder / CACHE).unlink(missing_ok=True)
    return folder


def untrue(findings: Findings) -> list[str]:
    """The planted truths that the report does not find, in words."""
    verdicts = {(v.claim, v.loss): v.verdict for v in findings.verdicts}
    wrong = [
        f"{claim} ({loss}) is {found}, planted {EXPECTED[claim]}"
        for (claim, loss), found in verdicts.items()
        if found != EXPECTED.get(claim, found)
    ]
    found = findings.counterexamples.found
    confirmed = found[found["label"] == "confirmed"]
    planted = (confirmed[list(EXCEPTION)] == list(EXCEPTION.values())).all(axis=1)
    if not planted.any():
        wrong.append("no counterexample is confirmed on the planted curve")
    if not planted.all():
        wrong.append(f"{(~planted).sum()} of {len(planted)} counterexamples are confirmed where none was planted")
    return wrong


def main() -> int:
    """Print the costs; returns the exit status, 1 if a planted truth was not found."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description="Time the report.")
    parser.add_argument("rows", nargs="*", type=int, default=list(ROWS), metavar="ROWS")
    parser.add_argument("--results", type=Path, metavar="DIR", help="keep the rows here, one folder per number")
    arguments = parser.parse_args()
    wrong = []
    with tempfile.TemporaryDirectory() as scratch:
        for count in arguments.rows:
            folder = _planted(count, (arguments.results or Path(scratch)) / str(count))
            first = command(folder, Path(scratch) / f"{count}-first")
            second = command(folder, Path(scratch) / f"{count}-second")
            findings, spent = by_part(folder, Path(scratch) / f"{count}-parts")
            wrong += untrue(findings)
            print(f"{count} rows:", "; ".join(untrue(findings)) or "every planted truth is found")
            print(f"{'':14} {'wall s':>8} {'CPU s':>8} {'peak MB':>9} {'page MB':>8}")
            print(f"{'first report':14} {first}\n{'second report':14} {second}")
            print("\n".join(f"{seconds:8.1f} CPU s  {part}" for part, seconds in spent.items()), flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
