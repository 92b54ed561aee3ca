"""A study whose workers and nodes are killed at random: what it loses, and what that costs in time.

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
"""In the mean, between two kills: by rows and not by time, so that a slow machine meets no more of them."""

LOOK_SECONDS = 0.2

NODE_SHARE = 0.3
"""Of kills that take a whole node; another joins at once, as an autoscaler's would."""

MOST_COMMANDS = 5
"""The same command at most so often: a trial that met four kills is failed, and asked again by the next one."""

OF_THE_RUN = {"started_at", "finished_at", "train_seconds", "probe_seconds", "peak_memory_bytes", "seconds"}
"""Columns, at any depth, in which two equal runs may differ."""


@dataclass(frozen=True)
class Outcome:
    """What a run came to; `rows` by trial id, without OF_THE_RUN."""

    seconds: float
    commands: int
    restarts: int
    killed: Mapping[str, int]
    doubled: int
    rows: Mapping[str, Row]


def study(seeds: int, killing: random.Random | None) -> Outcome:
    """Run the grid to its end on a fresh cluster, with kills drawn from `killing` if it is given."""
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
    sound = {row["trial_id"]: _lasting(row) for row in rows if row["status"] in ("ok", "diverged")}
    doubled = sum(times.values()) - len(times) + len(unreadable)
    return Outcome(seconds, commands, restarts, killed, doubled, sound)


def _command(address: str, folder: str, seeds: int) -> tuple[int, int]:
    """The user's command, given again while it fails; how often, and the restarts that it told of."""
    command = [
        sys.executable, "-m", "study.run", "--grid", "smoke", "--seeds", ",".join(map(str, range(seeds))),
        "--epochs", "1", "--train-size", "100", "--test-size", "20", "--probes", "headline", "--gpus-per-trial", "0.5",
        "--checkpoint-seconds", "0", "--no-report", "--address", address, "--results", folder,
    ]  # fmt: skip
    restarts = 0
    for number in range(1, MOST_COMMANDS + 1):
        done = subprocess.run(command, capture_output=True, text=True)
        told = re.findall(r"(\d+) restarted", done.stdout)
        restarts += int(told[-1]) if told else 0
        if done.returncode == 0:
            return number, restarts
    raise RuntimeError(f"not finished after {MOST_COMMANDS} commands: {done.stdout[-2000:]} {done.stderr[-2000:]}")


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


def _lasting(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _lasting(entry) for name, entry in value.items() if name not in OF_THE_RUN}
    if isinstance(value, list):
        return [_lasting(entry) for entry in value]
    return "not a number" if value != value else value


def main() -> None:
    """Run undisturbed, then with kills, and print what differs."""
    arguments = [int(text) for text in sys.argv[1:]]
    trials, seed = (arguments + [210, 0][len(arguments) :])[:2]
    seeds = -(-trials // 14)
    calm = study(seeds, None)
    print(f"undisturbed: {len(calm.rows)} trials in {calm.seconds:.0f} s, {calm.restarts} restarted", flush=True)
    wild = study(seeds, random.Random(seed))
    asked = plan(Request("smoke", seeds=tuple(range(seeds)), epochs=1, train_size=100, test_size=20, probes="headline"))
    equal = sum(wild.rows.get(trial_id) == calm.rows[trial_id] for trial_id in calm.rows)
    print(f"killed {wild.killed['workers']} workers and {wild.killed['nodes']} nodes of {NODES}, seed {seed}")
    print(f"{wild.restarts} trials restarted; commands given: {wild.commands}")
    print(f"rows lost {len(asked.keys() - wild.rows.keys())}, doubled or torn {wild.doubled} of {len(asked)}")
    print(f"rows with every metric equal, bit for bit: {equal} of {len(calm.rows)}")
    print(f"time {wild.seconds:.0f} s, {wild.seconds / calm.seconds:.2f} of the undisturbed run")


if __name__ == "__main__":
    main()
