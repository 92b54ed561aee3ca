"""Trials and measurements that pretend to run on a GPU, for workers and measurers to run in place of the real ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from ray import tune

from search_spaces import Planned
from study.execute import Tensors, execute
from study.gpu_shares import Need
from study.records import Results

NEEDED = {0: 0.25, 1: 0.5, 2: 1.0, 3: 2.0}
"""What share of a GPU holds the trial of a seed; no GPU holds that of seed 3."""


def hungry(planned: Planned, data: Tensors, results: Results, **options: Any) -> dict[str, Any]:
    """A trial that runs out of GPU memory until its share suffices; notes every share it was given."""
    held = tune.get_context().get_trial_resources().required_resources["GPU"]
    with Path(results.location, f"shares-{planned.trial.seed}.txt").open("a") as file:
        file.write(f"{held:g}\n")
    if held < NEEDED[planned.trial.seed]:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. (planted)")
    return execute(planned, data, results, **options)


def pretend(planned: Planned, data: Tensors) -> Need:
    """A GPU of 8 GiB on which large batches take four times the memory of small ones."""
    memory = 2**30 if planned.trial.batch_size <= 32 else 4 * 2**30
    return Need("simulated", 8 * 2**30, memory, busy=0.1)


def refuse(planned: Planned, data: Tensors) -> Need:
    """What is known need not be measured."""
    raise AssertionError("measured again")
