"""What a large grid costs in addition to its work: no-op trials on a simulated cluster, then the time to resume.

python -m benchmarks.scale [--trials N] [--nodes N]
"""

from __future__ import annotations

import argparse
import itertools
import os
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from benchmarks.simulated_cluster import SimulatedCluster
from search_spaces import AttackProbe, Planned, Probe, Request, plan
from study.data import load, split
from study.results.folder import Results
from study.results.provenance import peak_memory_bytes
from study.results.rows import new_row
from study.results.schema import Row
from study.trials import pending
from study.trials.device_data import DataKey, data_key
from study.tuning import tuner
from study.tuning.cluster import connected
from study.tuning.costs import CostModel
from study.tuning.progress import Progress
from study.tuning.settings import RunSettings

EVERY_SECONDS = 0.5
MEGABYTE = 2**20

MIN_TRIALS = 10
"""One in ten is left to do when the command is given again."""


def no_op(planned: Planned, data: Any, results: Results, **options: Any) -> Row:
    """A trial that only stores its row, with answers as long as real ones."""
    row = new_row(planned) | {
        "status": "ok",
        "train_seconds": 0.0,
        "probe_seconds": 0.0,
        "attacks": [{**asdict(probe), "n": 1, "accuracy": 0.5, "seconds": 0.0} for probe in attacks(planned)],
    }
    results.write_row(row)
    return row


class Sampler(threading.Thread):
    """Trials done, the driver's peak memory and the size of Tune's files, twice a second."""

    def __init__(self, progress: Progress) -> None:
        super().__init__(daemon=True)
        self.progress = progress
        self.samples: list[tuple[float, int, int, int]] = []
        self._end = threading.Event()

    def run(self) -> None:
        """Sample until `end`."""
        while not self._end.wait(EVERY_SECONDS):
            self.samples.append((time.monotonic(), len(self.progress.done), peak_memory_bytes(), _tune_bytes()))

    def end(self) -> None:
        """No more samples."""
        self._end.set()
        self.join()

    def when(self, done: int) -> tuple[float, int, int, int]:
        """The first sample with so many trials done."""
        return next((sample for sample in self.samples if sample[1] >= done), self.samples[-1])


def main() -> None:
    """Print both parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=500, help="default 500: some minutes on two cores")
    parser.add_argument("--nodes", type=int, default=3, help="simulated ones, of a CPU and a GPU each; default 3")
    arguments = parser.parse_args()
    if arguments.trials < MIN_TRIALS or arguments.nodes < 1:
        parser.error(f"at least {MIN_TRIALS} trials and one node")
    with tempfile.TemporaryDirectory(prefix="study-scale-") as folder:
        results = Results(folder)
        results.create()
        grid = _grid(arguments.trials)
        _run(grid, results, arguments.nodes)
        _resume(grid, results)


def _grid(trials: int) -> dict[str, Planned]:
    """The smoke study, its attacks only, with as many seeds as it takes."""
    seeds = tuple(range(-(-trials // 14)))
    request = Request("smoke", seeds=seeds, epochs=1, train_size=64, test_size=20)
    first = itertools.islice(plan(request).items(), trials)
    return {trial_id: replace(planned, probes=attacks(planned)) for trial_id, planned in first}


def attacks(planned: Planned) -> frozenset[Probe]:
    """The planned probes that are attacks."""
    return frozenset(probe for probe in planned.probes if isinstance(probe, AttackProbe))


def _run(grid: Mapping[str, Planned], results: Results, nodes: int) -> None:
    progress = Progress(dict.fromkeys(grid, 1.0), {})
    with SimulatedCluster(nodes) as cluster, connected(cluster.address):
        sampler = Sampler(progress)
        sampler.start()
        started = time.monotonic()
        tuner.run_trials(
            list(grid.values()),
            tuner.put(_data(grid)),
            results,
            progress,
            settings=RunSettings(gpus_per_trial=0.5),
            execute_trial=no_op,
        )
        wall = time.monotonic() - started
        sampler.end()
    rows, unreadable = results.read_rows(("trial_id",))
    print(f"{len(grid)} no-op trials on {nodes} nodes: {wall:.1f} s, {len(rows)} rows, {len(unreadable)} unreadable")
    print("   share of trials   ms a trial   peak driver MB   Tune's files MB")
    for quarter in range(4):
        first, last = (sampler.when(max(1, len(grid) * i // 4)) for i in (quarter, quarter + 1))
        pace = 1000 * (last[0] - first[0]) / max(1, last[1] - first[1])
        print(
            f"   {25 * quarter:3d} % to {25 * (quarter + 1):3d} %  {pace:11.1f} {last[2] / MEGABYTE:11.0f} "
            f"{last[3] / MEGABYTE:17.1f}"
        )
    peak = max(sample[3] for sample in sampler.samples)
    print(f"   Tune's files at most {peak / MEGABYTE:.1f} MB, {peak / len(grid) / 1024:.1f} KB a trial", flush=True)


def _data(grid: Mapping[str, Planned]) -> dict[DataKey, tuple[Any, str]]:
    whole = load("digits_8x8", "unused")
    keys = {data_key(planned) for planned in grid.values()}
    return {
        key: (split(whole, train_size=key[1], val_size=key[2], test_size=key[3]), whole.sha256) for key in sorted(keys)
    }


def _resume(grid: Mapping[str, Planned], results: Results) -> None:
    """Time the planning of the same command when nine trials in ten are answered, without the imports."""
    rows = sorted(Path(results.location, "trials").glob("*.parquet"))
    for path in rows[: len(rows) // 10]:
        path.unlink()
    started = time.perf_counter()
    stored, _ = results.read_rows(pending.COLUMNS)
    read = time.perf_counter()
    left = pending.pending(dict(grid), stored)
    CostModel(grid, stored)
    planned = time.perf_counter()
    print(
        f"resume with {len(stored)} of {len(grid)} rows: reading {read - started:.2f} s "
        f"({1000 * (read - started) / len(stored):.2f} ms a row), planning {planned - read:.2f} s; {len(left)} left"
    )


def _tune_bytes() -> int:
    """Bytes below Tune's folders of this process: what it stores, and where it stages that."""
    folders = [*Path(tempfile.gettempdir()).glob("study-tune-*"), *Path(tempfile.gettempdir()).glob("ray-*")]
    total = 0
    for folder in folders:
        for root, _, names in os.walk(folder):
            for name in names if "logs" not in root else ():
                try:
                    total += Path(root, name).lstat().st_size
                except OSError:
                    continue  # deleted meanwhile
    return total


if __name__ == "__main__":
    main()
