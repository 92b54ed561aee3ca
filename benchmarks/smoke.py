"""Wall clock of the smoke study, from the command to its report, against the work that is in its rows.

python -m benchmarks.smoke

It is compared with the time that training and probes took according to the rows, one trial after the other on one
core, without starting Python and Ray and without a report. The ratio says how many cores the command keeps busy.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.row import Row, print_rows
from study.results.folder import Results


def rows() -> Iterator[Row]:
    """One row.

    Raises:
        SystemExit: the study failed, or a trial of it did.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "study.run", "--grid", "smoke", "--results", folder]
        started = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        wall = time.perf_counter() - started
        if done.returncode or not (Path(folder) / "report" / "report.html").exists():
            raise SystemExit(f"the smoke study failed: {done.stderr[-500:]}")
        found = Results(folder).read_rows()[0]
    bad = [row["trial_id"] for row in found if row["status"] == "failed"]
    if bad:
        raise SystemExit(f"{len(bad)} trials of the smoke study failed: {', '.join(bad)}")
    work = sum((row["train_seconds"] or 0.0) + (row["probe_seconds"] or 0.0) for row in found)
    what = f"{len(found)} trials and the report"
    yield Row("smoke study", what, "its trials, one core", [wall], [work], "no failure")


if __name__ == "__main__":
    print_rows(rows())
