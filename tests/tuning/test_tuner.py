"""A trial that goes wrong costs that trial, never the study."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from study.results.folder import Results
from tests.tuning.faults import DIES, HANGS, HOARDS, RAISES

SCRIPT = """
import sys
from search_spaces import Request, plan
from study.tuning import tuner
from study.data import load, split
from study.trials.device_data import data_key
from study.tuning.resources import Resources
from study.tuning.progress import Progress
from study.results.folder import Results
from tests.tuning.faults import faulty

results = Results(sys.argv[1]); results.create()
seeds = tuple(map(int, sys.argv[2].split(",")))
grid = plan(Request("smoke", select={"batch_size": ("32",), "regime": ("benchmark",)}, seeds=seeds,
                    epochs=1, train_size=64, test_size=20, probes="headline"))
work = list(grid.values())
whole = load("digits", "unused")
data = {data_key(p): (split(whole, train_size=64, val_size=240, test_size=20), whole.sha256) for p in work}
progress = Progress({t: 1.0 for t in grid}, {})
tuner.connect(None)
resources = Resources(trial_timeout=float(sys.argv[3]))
tuner.run_trials(work, data, results, progress, patience=progress.costs, resources=resources, execute_trial=faulty)
print("failures", sorted(progress.failures.values()))
"""


def run(tmp_path: Path, seeds: str, timeout: float = 600.0, **environment: str) -> dict[int, dict[str, object]]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path), seeds, str(timeout)],
        capture_output=True, text=True, timeout=280, env={**os.environ, "PYTHONPATH": str(Path.cwd()), **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[:3000]
    return {row["seed"]: row for row in Results(tmp_path).read_rows()[0]}


def test_an_exception_and_a_worker_that_always_dies_cost_those_trials_only(tmp_path: Path) -> None:
    rows = run(tmp_path, f"0,{RAISES},{DIES},4")
    assert {seed: row["status"] for seed, row in rows.items()} == {0: "ok", RAISES: "failed", DIES: "failed", 4: "ok"}
    assert rows[RAISES]["status_reason"] == "ZeroDivisionError: planted"
    assert rows[DIES]["status_reason"]
    log = (tmp_path / "logs" / f"{rows[RAISES]['trial_id']}.txt").read_text()
    assert "Traceback" in log


@pytest.mark.slow
def test_a_trial_that_always_hangs_is_given_up_with_its_reason(tmp_path: Path) -> None:
    rows = run(tmp_path, f"0,{HANGS},4", timeout=15.0)
    assert {seed: row["status"] for seed, row in rows.items()} == {0: "ok", HANGS: "failed", 4: "ok"}
    assert str(rows[HANGS]["status_reason"]).startswith("hung: no sign of life for 1")


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="reads /proc/meminfo")
def test_a_host_out_of_memory_costs_one_trial(tmp_path: Path) -> None:
    lines = [line.split() for line in Path("/proc/meminfo").read_text().splitlines()]
    memory = {words[0]: int(words[1]) for words in lines}
    used = memory["MemTotal:"] - memory["MemAvailable:"]
    threshold = (used + 3_500_000) / memory["MemTotal:"]  # the hoarder alone takes 6 GB
    if threshold > 0.9:
        pytest.skip("needs 4 GB of free memory")
    rows = run(
        tmp_path, f"0,{HOARDS},4", RAY_memory_usage_threshold=f"{threshold:.3f}", RAY_memory_monitor_refresh_ms="100"
    )
    assert {seed: row["status"] for seed, row in rows.items()} == {0: "ok", HOARDS: "failed", 4: "ok"}
    assert "memory" in str(rows[HOARDS]["status_reason"])
