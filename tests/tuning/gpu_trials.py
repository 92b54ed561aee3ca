"""Trials and measurements that pretend to run on a GPU, for workers and measurers to run in place of the real ones."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import torch
from ray import tune

from search_spaces import Planned
from study.results.folder import Results
from study.trials.device_data import DeviceData
from study.trials.execute import execute
from study.tuning.gpu_shares import Need
from study.tuning.tuner import MAX_FAILURES

NEEDED = {0: 0.25, 1: 0.5, 2: 1.0, 3: 2.0, 4: 0.5}
"""What share of a GPU holds the trial of a seed; no GPU holds that of seed 3."""

LOSES_WORKERS = 4
"""The seed of a trial that loses a worker as often as Tune restarts it, and only then runs out of GPU memory."""


def hungry(planned: Planned, data: DeviceData, results: Results, **options: Any) -> dict[str, Any]:
    """A trial that runs out of GPU memory until its share suffices; notes every share it was given."""
    held = tune.get_context().get_trial_resources().required_resources["GPU"]
    notes = Path(results.location, f"shares-{planned.trial.seed}.txt")
    with notes.open("a") as file:
        file.write(f"{held:g}\n")
    if planned.trial.seed == LOSES_WORKERS and len(notes.read_text().split()) <= MAX_FAILURES:
        os._exit(1)
    if held < NEEDED[planned.trial.seed]:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. (planted)")
    return execute(planned, data, results, **options)


def pretend(planned: Planned, data: DeviceData) -> Need:
    """A GPU of 8 GiB on which large batches take four times the memory of small ones."""
    memory = 2**30 if planned.trial.batch_size <= 32 else 4 * 2**30
    return Need("simulated", 8 * 2**30, memory, busy=0.1)


def refuse(planned: Planned, data: DeviceData) -> Need:
    """What is known need not be measured."""
    raise AssertionError("measured again")


def hang_on_large(planned: Planned, data: DeviceData) -> Need:
    """A GPU on which the measurement of a large batch never ends."""
    if planned.trial.batch_size > 32:
        time.sleep(3600)
    return pretend(planned, data)
