"""What workers run in these tests in place of the real functions: trials that fail, simulated GPUs."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from ray import tune

from search_spaces import Planned
from study.results.folder import Results
from study.results.rows import new_row
from study.results.schema import Row
from study.trials.device_data import DeviceData
from study.trials.execute import execute
from study.tuning.tuner import MAX_FAILURES

RAISES, DIES, FILLS_MEMORY, HANGS = 1, 2, 3, 5
"""The seed says what goes wrong, every time; other seeds run as usual."""


def faulty(planned: Planned, data: DeviceData, results: Results, **options: Any) -> Row:
    """Raises, kills its own worker, takes more memory than the host may use, or hangs."""
    if planned.trial.seed == RAISES:
        raise ZeroDivisionError("planted")
    if planned.trial.seed == DIES:
        os._exit(1)
    if planned.trial.seed == FILLS_MEMORY:
        memory = []
        for _ in range(60):
            memory.append(b"x" * (100 << 20))
            time.sleep(0.02)
        time.sleep(60)
    if planned.trial.seed == HANGS:
        time.sleep(3600)
    return execute(planned, data, results, **options)


AT_ONCE = 32
"""Trials that must run at the same time before any of them ends."""


def waits_for_all_others(planned: Planned, data: DeviceData, results: Results, **options: Any) -> Row:
    """Writes down the GPUs that this process sees, and ends when AT_ONCE trials have done so."""
    folder = Path(results.location)
    (folder / f"gpus-{planned.trial.seed}.txt").write_text(f"{os.getpid()} {os.environ['CUDA_VISIBLE_DEVICES']}")
    deadline = time.monotonic() + 400
    while len(list(folder.glob("gpus-*.txt"))) < AT_ONCE and time.monotonic() < deadline:
        time.sleep(0.2)
    time.sleep(5)  # Ray's figures lag behind
    options["report"]({"epoch": 1})
    row = new_row(planned) | {"status": "diverged", "status_reason": "planted"}
    results.write_row(row)
    return row


def no_batched_training(leader: Planned, data: DeviceData, results: Results, **options: Any) -> Row:
    """A group that cannot be trained as one program."""
    raise RuntimeError("vmap: this model branches on its data (planted)")


def all_diverge(
    leader: Planned, data: DeviceData, results: Results, *, groups: Mapping[str, Sequence[Planned]], **options: Any
) -> Row:
    """A group in which every network diverges."""
    for planned in groups[leader.trial.trial_id]:
        results.write_row(new_row(planned) | {"status": "diverged", "status_reason": "planted"})
    return results.read_row(leader.trial.trial_id) or {}


NEEDED_SHARE = {0: 0.25, 1: 0.5, 2: 1.0, 3: 2.0, 4: 0.5}
"""The share of a GPU that a trial needs, by its seed; no GPU is large enough for seed 3."""

LOSES_WORKERS = 4
"""The seed of a trial that loses a worker as often as Tune restarts it, and only then runs out of GPU memory."""


def out_of_memory_below_its_share(planned: Planned, data: DeviceData, results: Results, **options: Any) -> Row:
    """Runs out of GPU memory until its share suffices; writes down every share that it was given."""
    share = tune.get_context().get_trial_resources().required_resources["GPU"]
    shares = Path(results.location, f"shares-{planned.trial.seed}.txt")
    with shares.open("a") as file:
        file.write(f"{share:g}\n")
    if planned.trial.seed == LOSES_WORKERS and len(shares.read_text().split()) <= MAX_FAILURES:
        os._exit(1)
    if share < NEEDED_SHARE[planned.trial.seed]:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. (planted)")
    return execute(planned, data, results, **options)
