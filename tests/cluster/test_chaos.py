"""Random kills of workers and nodes under two hundred short trials: no row is lost, duplicated or changed."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from benchmarks.simulated_cluster import SimulatedCluster
from study.results.folder import Results
from study.results.schema import Row

NODES = 3
ROWS_BETWEEN = 8.0
"""Mean number of rows between two kills; counted in rows so that a slow machine has no more kills."""

LOOK_SECONDS = 0.2

NODE_SHARE = 0.3
"""The fraction of kills that are of a whole node; another joins at once, as with an autoscaler."""

MAX_COMMANDS = 5
"""How often the command is given at most: a trial that was killed four times has failed, and the next one runs it."""

TIMES = {"started_at", "finished_at", "train_seconds", "probe_seconds", "peak_memory_bytes", "seconds"}
"""Columns, at any depth, in which two equal runs may differ."""


@dataclass(frozen=True)
class Outcome:
    """The outcome of a run; `rows` are by trial id, without TIMES."""

    restarts: int
    killed: Mapping[str, int]
    duplicates: int
    rows: Mapping[str, Row]


def study(seeds: int, killing: random.Random | None) -> Outcome:
    """Run the grid to its end on a new cluster, with kills drawn from `killing` if it is given."""
    killed: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="study-chaos-") as folder, SimulatedCluster(NODES) as cluster:
        with ThreadPoolExecutor(1) as pool:
            command = pool.submit(_command, cluster.address, folder, seeds)
            if killing:  # in this thread: Ray starts nodes in a main thread only
                _kill_at_random(cluster, killing, killed, command, Path(folder))
            restarts = command.result()
        rows, unreadable = Results(folder).read_rows()
    times = Counter(row["trial_id"] for row in rows)
    complete = {row["trial_id"]: _without_times(row) for row in rows if row["status"] in ("ok", "diverged")}
    duplicates = sum(times.values()) - len(times) + len(unreadable)
    return Outcome(restarts, killed, duplicates, complete)


def _command(address: str, folder: str, seeds: int) -> int:
    """Give the user's command until it succeeds; returns the number of restarts that it printed."""
    command = [
        sys.executable, "-m", "study.run", "--grid", "smoke", "--seeds", ",".join(map(str, range(seeds))),
        "--epochs", "1", "--train-size", "128", "--test-size", "20", "--probes", "headline", "--gpus-per-trial", "0.5",
        "--replicas", "1", "--checkpoint-seconds", "0", "--no-report", "--address", address, "--results", folder,
    ]  # fmt: skip
    restarts = 0
    for _ in range(MAX_COMMANDS):
        done = subprocess.run(command, capture_output=True, text=True)
        restarted = re.findall(r"(\d+) restarted", done.stdout)
        restarts += int(restarted[-1]) if restarted else 0
        if done.returncode == 0:
            return restarts
    raise RuntimeError(f"not finished after {MAX_COMMANDS} commands: {done.stdout[-2000:]} {done.stderr[-2000:]}")


def _kill_at_random(
    cluster: SimulatedCluster, draw: random.Random, killed: Counter[str], command: Future[Any], results: Path
) -> None:
    """Kill a worker or a node whenever some more rows are there, until the run is over."""
    due = 1.0
    while not command.done():
        time.sleep(LOOK_SECONDS)
        if len(list(results.glob("trials/*.parquet"))) < due:
            continue
        due += draw.expovariate(1 / ROWS_BETWEEN)
        if draw.random() < NODE_SHARE:
            cluster.kill(draw.choice(cluster.nodes))
            killed["nodes"] += 1
            cluster.add()
            continue
        workers = cluster.workers()
        if workers:
            try:
                os.kill(draw.choice(workers), signal.SIGKILL)
            except ProcessLookupError:
                continue
            killed["workers"] += 1


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_times(entry) for name, entry in value.items() if name not in TIMES}
    if isinstance(value, list):
        return [_without_times(entry) for entry in value]
    return "not a number" if value != value else value


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes in /proc")
def test_random_kills_lose_and_change_nothing() -> None:
    undisturbed, disturbed = study(15, None), study(15, random.Random(0))
    assert len(undisturbed.rows) == 210
    assert disturbed.killed["workers"] >= 3
    assert disturbed.killed["nodes"] >= 1
    assert disturbed.restarts >= 3
    assert disturbed.duplicates == 0
    assert disturbed.rows == undisturbed.rows
