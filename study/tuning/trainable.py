"""What runs in a worker: one trial, whose errors become a row."""

from __future__ import annotations

import errno
import os
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any

import ray
import torch
from ray import tune

from search_spaces import Planned
from study.results.folder import Results
from study.results.rows import failed_row
from study.results.schema import TRAINED, Row, empty_row
from study.training.gpu_memory import out_of_gpu_memory, release, too_large
from study.trials.device_data import DataKey, DeviceData, data_key
from study.trials.execute import FINAL_METRICS
from study.trials.train import Report, TrialSettings
from study.tuning.settings import RunSettings

Execute = Callable[..., Row]

References = Mapping[DataKey, tuple[Any, str]]
"""Ray's reference to the images and labels, and the hash of the data set, by data set and sizes."""

OUT_OF_GPU_MEMORY = "out of GPU memory"
"""The status that is reported of a trial whose share of a GPU is too small. It has no row; a larger share is tried."""

STORAGE_PAUSE_SECONDS = 10.0
"""How long a worker waits after an error of the storage, which so has half a minute to recover over all restarts."""

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""Storage errors that waiting does not mend: no space, no quota, read-only."""

REPORT_SECONDS = 2.0
"""How often a worker reports an epoch or a probe, at most."""


def run_trial(
    config: Mapping[str, Any],
    *,
    plan: Sequence[Any],
    references: References,
    location: str,
    settings: RunSettings,
    execute_trial: Execute,
) -> None:
    """Run one trial in a worker. Its errors become a failed row; Tune restarts only what a lost worker ran.

    Args:
        config: the trial's id.
        plan: Ray's reference to all trials by id, in a list: so it stays a reference.
        references: the images.
        location: of the results.
        settings: of the run.
        execute_trial: `study.trials.execute.execute`, or another function with its arguments.

    Raises:
        OSError: the results folder cannot be written to for another reason than being full; Tune tries again.
    """
    torch.set_num_threads(settings.cpus_per_trial)
    planned = _read_plan(plan[0])[config["trial_id"]]
    results = Results(location)

    def report_now(metrics: Mapping[str, Any]) -> None:
        tune.report({**metrics, "epochs": planned.trial.epochs})

    report = report_now if settings.trackers else throttled(report_now)
    try:
        how = TrialSettings(
            settings.checkpoint_seconds, settings.cuda_graphs, settings.track, memory_fraction=_gpu_share() or 1.0
        )
        row = execute_trial(planned, tensors(planned, references), results, report=report, settings=how)
    except OSError as error:
        if error.errno not in FULL:
            time.sleep(STORAGE_PAUSE_SECONDS)
            raise
        remedy = "make it writable" if error.errno == errno.EROFS else "free some"
        reason = f"{os.strerror(error.errno)}: {remedy} and give the same command again"
        row = failed_row(planned, reason)
        with suppress(OSError):  # the full storage may refuse this row as well
            store_failure(planned, reason, traceback.format_exc(), results)
    except Exception as error:
        if out_of_gpu_memory(error) and 0 < _gpu_share() < 1:
            row = empty_row() | {"status": OUT_OF_GPU_MEMORY}
        else:
            reason = too_large(error) if out_of_gpu_memory(error) else f"{type(error).__name__}: {error}"
            row = store_failure(planned, reason, traceback.format_exc(), results)
    finally:
        if torch.cuda.is_initialized():  # a trial on a CPU leaves the GPUs alone
            release()  # also what only the frames of an error held
            torch.cuda.reset_peak_memory_stats()
    tune.report({name: row[name] for name in FINAL_METRICS})


@lru_cache(maxsize=1)
def _read_plan(reference: Any) -> Mapping[str, Planned]:
    """Every trial of the run by id; a worker keeps it, as reading takes 0.1 ms for each trial of the grid."""
    plan: Mapping[str, Planned] = ray.get(reference)
    return plan


def throttled(report: Report) -> Report:
    """`report`, but only every REPORT_SECONDS: each report waits for the driver, longer than a small epoch takes."""
    last = time.monotonic()

    def report_some(metrics: Mapping[str, Any]) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= REPORT_SECONDS:
            last = now
            report(metrics)

    return report_some


def tensors(planned: Planned, references: References) -> DeviceData:
    """A trial's images and labels as tensors: on the CPU the node's shared arrays themselves, on a GPU a copy."""
    reference, sha256 = references[data_key(planned)]
    device = "cuda" if torch.cuda.is_available() and ray.get_gpu_ids() else "cpu"
    return DeviceData.of(ray.get(reference), sha256, device)


def _gpu_share() -> float:
    """The fraction of a GPU that this worker's trial holds."""
    resources = tune.get_context().get_trial_resources()
    return float(resources.required_resources.get("GPU", 0.0)) if resources else 0.0


def store_failure(planned: Planned, reason: str, log: str, results: Results) -> Row:
    """Store a trial's log and its failed row, unless its stored row has answers; returns the failed row."""
    failed = failed_row(planned, reason)
    results.write_log(planned.trial.trial_id, log)
    stored = results.read_row(planned.trial.trial_id)
    if stored is None or stored["status"] not in TRAINED:
        results.write_row(failed)
    return failed
