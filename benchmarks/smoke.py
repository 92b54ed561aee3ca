"""Wall clock of the smoke study, from the command to its report, against the work that is in its rows.

python -m benchmarks.smoke

The peer is the same trials' training and probes one after the other on one core, without a start of Python, Ray or a
report, as the rows recorded them: the ratio is how much of the machine's cores the whole command keeps busy.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.row import HEADER, Row
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
    yield Row(
        "smoke study", f"{len(found)} trials and the report", "its trials, one core", [wall], [work], "no failure"
    )


def main() -> None:
    """Print the row."""
    print(HEADER)
    for row in rows():
        print(row)


if __name__ == "__main__":
    main()
