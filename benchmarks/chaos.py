"""A study whose workers and nodes are killed at random: what is lost, and how much longer it takes.

python -m benchmarks.chaos [TRIALS [SEED]]
"""

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

from benchmarks.simulated_cluster import SimulatedCluster
from search_spaces import Request, plan
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

    seconds: float
    commands: int
    restarts: int
    killed: Mapping[str, int]
    duplicates: int
    rows: Mapping[str, Row]


def study(seeds: int, killing: random.Random | None) -> Outcome:
    """Run the grid to its end on a new cluster, with kills drawn from `killing` if it is given."""
    killed: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="study-chaos-") as folder, SimulatedCluster(NODES) as cluster:
        started = time.monotonic()
        with ThreadPoolExecutor(1) as pool:
            command = pool.submit(_command, cluster.address, folder, seeds)
            if killing:  # in this thread: Ray starts nodes in a main thread only
                _kill_at_random(cluster, killing, killed, command, Path(folder))
            commands, restarts = command.result()
        seconds = time.monotonic() - started
        rows, unreadable = Results(folder).read_rows()
    times = Counter(row["trial_id"] for row in rows)
    complete = {row["trial_id"]: _without_times(row) for row in rows if row["status"] in ("ok", "diverged")}
    duplicates = sum(times.values()) - len(times) + len(unreadable)
    return Outcome(seconds, commands, restarts, killed, duplicates, complete)


def _command(address: str, folder: str, seeds: int) -> tuple[int, int]:
    """Give the user's command until it succeeds; returns how often, and the number of restarts that it printed."""
    command = [
        sys.executable, "-m", "study.run", "--grid", "smoke", "--seeds", ",".join(map(str, range(seeds))),
        "--epochs", "1", "--train-size", "100", "--test-size", "20", "--probes", "headline", "--gpus-per-trial", "0.5",
        "--replicas", "1", "--checkpoint-seconds", "0", "--no-report", "--address", address, "--results", folder,
    ]  # fmt: skip
    restarts = 0
    for number in range(1, MAX_COMMANDS + 1):
        done = subprocess.run(command, capture_output=True, text=True)
        restarted = re.findall(r"(\d+) restarted", done.stdout)
        restarts += int(restarted[-1]) if restarted else 0
        if done.returncode == 0:
            return number, restarts
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


def main() -> None:
    """Run undisturbed, then with kills, and print what differs."""
    arguments = [int(text) for text in sys.argv[1:]]
    trials, seed = (arguments + [210, 0][len(arguments) :])[:2]
    seeds = -(-trials // 14)
    undisturbed = study(seeds, None)
    print(
        f"undisturbed: {len(undisturbed.rows)} trials in {undisturbed.seconds:.0f} s, {undisturbed.restarts} restarted",
        flush=True,
    )
    disturbed = study(seeds, random.Random(seed))
    grid = plan(Request("smoke", seeds=tuple(range(seeds)), epochs=1, train_size=100, test_size=20, probes="headline"))
    equal = sum(disturbed.rows.get(trial_id) == undisturbed.rows[trial_id] for trial_id in undisturbed.rows)
    print(f"killed {disturbed.killed['workers']} workers and {disturbed.killed['nodes']} nodes of {NODES}, seed {seed}")
    print(f"{disturbed.restarts} trials restarted; commands given: {disturbed.commands}")
    lost = len(grid.keys() - disturbed.rows.keys())
    print(f"rows lost {lost}, duplicate or unreadable {disturbed.duplicates} of {len(grid)}")
    print(f"rows with every metric equal, bit for bit: {equal} of {len(undisturbed.rows)}")
    print(f"time {disturbed.seconds:.0f} s, {disturbed.seconds / undisturbed.seconds:.2f} of the undisturbed run")


if __name__ == "__main__":
    main()
