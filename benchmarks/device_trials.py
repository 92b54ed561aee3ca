"""A part of a grid on a GPU machine that lacks ray: networks train as one program while processes answer probes.

python -m benchmarks.device_trials [--probers N] --grid GRID [--results DIR] [OPTION ...]

For grids of the package, and networks without a parent. The options are those of study.run that choose trials, probes,
folders and how to train; others are refused. Trials of large batches, which take less time, come first. Each row is
stored as it comes, so the command can be killed at any time; given again, it goes on. This brings two batch sizes back
in one file:

    timeout 300 python -m benchmarks.device_trials --grid natural_training --epsilons .1 --results paper_a \\
        --select dataset=mnist model=m1_20 batch_size=512,1024
    python -m study.pack paper_a paper_a.parquet
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import threading
import time
from collections.abc import Container, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from functools import partial
from typing import Any

import torch

from search_spaces import GridError, Planned, plan
from study import checks, options
from study.data import Splits
from study.results.folder import RecordsError, Results
from study.results.requests import with_request
from study.results.schema import TRAINED
from study.trials.device_data import DataKey, DeviceData, data_key
from study.trials.execute import execute
from study.trials.execute_batched import MAX_GROUP, execute_batched, group_trials
from study.trials.pending import pending
from study.trials.train import TrialSettings

PROBERS = 6
"""Processes that answer probes: an attack on a small network launches kernels that keep a GPU busy for a small part of
the time.
"""

READ = frozenset(
    {
        *("grid", "select", "seeds", "epochs", "train_size", "test_size", "probes", "track", "epsilons", "precision"),
        *("results", "data_dir", "cpus_per_trial", "replicas", "no_cuda_graphs", "checkpoint_seconds"),
    }
)
"""The options of study.run that mean the same here."""


def work_in_order(work: list[Planned], trained: Container[str]) -> list[list[Planned]]:
    """The trials that train together, large batches first, then each of the others alone."""
    groups = group_trials(work, trained, most=MAX_GROUP)
    together = {planned.trial.trial_id for group in groups for planned in group}
    alone = [[planned] for planned in work if planned.trial.trial_id not in together]
    return sorted(groups, key=lambda group: -group[0].trial.batch_size) + alone


class Trials:
    """The trials of a results folder on one device; each process has its own copy of the images there.

    Args:
        location: the results folder.
        data: as `study.checks.load_data` gives it.
        device: "cuda" or "cpu".
        how: how they are executed.
    """

    def __init__(
        self, location: str, data: Mapping[DataKey, tuple[Splits, str]], device: str, how: TrialSettings
    ) -> None:
        self.results, self.how = Results(location), how
        self.data = {key: DeviceData.of(*found, device) for key, found in data.items()}

    def train(self, group: list[Planned], replicas: int | None) -> None:
        """Train a group; networks that it leaves are trained before they are probed."""
        leader, started = group[0], time.monotonic()
        groups = {leader.trial.trial_id: group}
        try:
            execute_batched(
                leader, self.data[data_key(leader)], self.results, groups=groups, replicas=replicas, settings=self.how
            )
        except Exception as error:
            print(f"group of {len(group)}: {type(error).__name__}: {error}", flush=True)
        seconds = time.monotonic() - started
        print(f"batch {leader.trial.batch_size}: {len(group)} networks, {seconds:.1f} s", flush=True)

    def probe(self, planned: Planned) -> str:
        """Answer the probes of a trial; its row in words."""
        if torch.cuda.is_initialized():
            torch.cuda.reset_peak_memory_stats()  # a row has the peak of its own trial
        row = execute(planned, self.data[data_key(planned)], self.results, settings=self.how)
        return (
            f"{row['status']}, train {row['train_seconds']:.1f} s ({row['replicas']} together), probes "
            f"{row['probe_seconds'] or 0:.1f} s, test {row['test_acc']}, pgd {row['pgd_acc']}, "
            f"lambda1 {row['lambda1_train']}"
        )


_trials: Trials
"""In a process that answers probes."""


def _start(threads: int, *of_trials: Any) -> None:
    global _trials
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    _trials = Trials(*of_trials)


def _end_with_parent() -> None:
    """A parent that is killed leaves its processes waiting for work, with their memory of the GPU."""
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)


def _probe(planned: Planned) -> str:
    return _trials.probe(planned)


def main() -> int:
    """Train and probe what is pending; returns the exit status, 1 if a trial failed."""
    own = argparse.ArgumentParser(
        prog="python -m benchmarks.device_trials",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    own.add_argument("--probers", type=int, default=PROBERS, metavar="N", help="processes that probe; %(default)s")
    chosen, given = own.parse_known_args()
    parser = options.parser()
    arguments = parser.parse_args(given)
    for name, value in vars(arguments).items():
        if name not in READ and value != parser.get_default(name):
            raise options.OptionError(f"--{name.replace('_', '-')} is an option of study.run only")
    request, settings = options.request(arguments), options.run_settings(arguments)
    results = Results(arguments.results or f"results/{request.grid}")
    results.create()
    results.write_study(with_request(results.read_study(), request, options.command(given)))
    rows, _ = results.read_rows()
    work = pending(plan(request), rows)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    how = TrialSettings(settings.checkpoint_seconds, settings.cuda_graphs, settings.track)
    of_trials = results.location, checks.load_data(work, arguments.data_dir), device, how
    torch.set_num_threads(settings.cpus_per_trial)
    trials, failed = Trials(*of_trials), list[str]()

    def ended(planned: Planned, future: Future[str]) -> None:
        error = future.exception()
        if error:
            failed.append(planned.trial.trial_id)
        outcome = f"{type(error).__name__}: {error}" if error else future.result()
        print(f"{planned.trial.trial_id} batch {planned.trial.batch_size}: {outcome}", flush=True)

    pool = ProcessPoolExecutor(
        chosen.probers,
        multiprocessing.get_context("spawn"),
        initializer=_start,
        initargs=(settings.cpus_per_trial, *of_trials),
    )
    with pool:
        for group in work_in_order(work, {row["trial_id"] for row in rows if row["status"] in TRAINED}):
            if len(group) > 1:
                trials.train(group, settings.replicas)
            for planned in group:
                pool.submit(_probe, planned).add_done_callback(partial(ended, planned))
    print(f"{len(work) - len(failed)} rows in {results.location}")
    return int(bool(failed))


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except (GridError, RecordsError, options.OptionError, checks.InputError) as error:
        raise SystemExit(f"device_trials: {error}") from None
