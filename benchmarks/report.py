"""What a report of a large study costs: seconds, memory and bytes, once its planted truths are found.

python -m benchmarks report
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from analysis.findings import Findings, find
from analysis.tables.table import load
from benchmarks.planted_study import EXCEPTION, write_study
from benchmarks.row import Row

EXPECTED = {"A3": "supported", "A7": "supported", "A9": "supported"}
"""Claim -> its verdict on the planted rows: the benchmark's curvature rises, attacks succeed more with larger batches
at a constant rate, and the paper's own exception is found."""


def command(results: Path, out: Path) -> tuple[float, str]:
    """Make the report in a process of its own: wall-clock seconds, and peak memory and the page's size in words.

    Raises:
        RuntimeError: it failed; its message is on the standard error.
    """
    started = time.perf_counter()
    words = [sys.executable, "-m", "analysis.report", str(results), "--out", str(out)]
    child = os.posix_spawn(sys.executable, words, dict(os.environ))
    _, status, usage = os.wait4(child, 0)
    if status:
        raise RuntimeError(f"no report of {results}: exit status {os.waitstatus_to_exitcode(status)}")
    seconds, page = time.perf_counter() - started, (out / "report.html").stat().st_size
    memory = usage.ru_maxrss * 1024  # Linux counts in kilobytes
    return seconds, f"{memory / 1e6:.0f} MB, page {page / 1e6:.1f} MB"


def rows(count: int = 10_000) -> Iterator[Row]:
    """The report of `count` planted rows; there is no peer to compare with."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "rows"
        write_study(count, folder)
        seconds, size = command(folder, Path(scratch) / "report")
        if wrong := untrue(find(load(folder))):
            raise SystemExit("; ".join(wrong))
    yield Row("report", f"{count:,} rows", "", [seconds], [], f"planted truths found; {size}")


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
