"""What runs in a worker: one trial, its errors made into rows."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import ray
import torch
from ray import tune

from search_spaces import Planned
from study.results.folder import Results
from study.results.rows import failed_row
from study.results.schema import TRAINED
from study.training.gpu_memory import OutOfGpuMemory, out_of_gpu_memory, too_large
from study.trials.device_data import DataKey, DeviceData, data_key
from study.trials.execute import FINAL_METRICS
from study.trials.pending import answered_probes
from study.trials.train import Report
from study.tuning.resources import Resources

Execute = Callable[..., dict[str, Any]]

STORAGE_PAUSE = 10.0
"""Seconds a worker waits after storage has failed it: with every restart used, half a minute to come back in."""

SIGN_SECONDS = 5.0
"""At most so often a worker tells the driver that another probe is answered."""


def run_trial(
    config: Mapping[str, Any],
    *,
    plan: Sequence[Any],
    references: Mapping[DataKey, tuple[Any, str]],
    location: str,
    resources: Resources,
    execute_trial: Execute,
) -> None:
    """One trial in a worker. Errors of the trial become a failed row; only lost workers are Tune's to restart."""
    set_up_torch(resources.cpus_per_trial)
    planned = _read_plan(plan[0])[config["trial_id"]]
    results = Results(location)
    report = reporter(lambda metrics: tune.report({**metrics, "epochs": planned.trial.epochs}))
    if resources.trackers.asked():
        _report_history(results, planned, report)
    try:
        row = execute_trial(
            planned,
            tensors(planned, references),
            results,
            report=report,
            checkpoint_seconds=resources.checkpoint_seconds,
            replay=resources.replay,
        )
    except OSError:
        time.sleep(STORAGE_PAUSE)
        raise  # storage may come back: let Tune try again
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        if out_of_gpu_memory(error):
            if 0 < _gpu_share() < 1:
                raise OutOfGpuMemory(reason) from None
            reason = too_large(error)
        row = failed_row(planned, reason)
        results.write_log(planned.trial.trial_id, traceback.format_exc())
        if not has_answers(results, planned):
            results.write_row(row)
    finally:
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
    tune.report({name: row[name] for name in FINAL_METRICS})


def _report_history(results: Results, planned: Planned, report: Report) -> None:
    """Report the epochs of a network that was trained as one of several, when no trial was there to be told of them."""
    row = results.read_row(planned.trial.trial_id)
    if row is not None and (row["replicas"] or 1) > 1 and not answered_probes(row):
        for epoch in row["history"]:
            report(epoch)


def reporter(tell: Report, now: Callable[[], float] = time.monotonic) -> Report:
    """`tell`, but of probes only a sign of life now and then: each report waits for the driver."""
    last = now()

    def report(metrics: Mapping[str, Any]) -> None:
        nonlocal last
        if "epoch" in metrics or now() - last >= SIGN_SECONDS:
            last = now()
            tell(metrics)

    return report


def set_up_torch(cpus: int) -> None:
    """This process computes on so many CPUs, and in whole float32 on a GPU."""
    torch.set_num_threads(cpus)
    torch.backends.cudnn.allow_tf32 = False  # curvature needs float32; TF32 in convolutions is torch's default


def _gpu_share() -> float:
    """The fraction of a GPU that this worker's trial holds."""
    held = tune.get_context().get_trial_resources()
    return float(held.required_resources.get("GPU", 0.0)) if held else 0.0


@lru_cache(maxsize=1)
def _read_plan(reference: Any) -> Mapping[str, Planned]:
    """Every trial of the run by id; a worker keeps it, for reading it takes .1 ms a trial of the grid."""
    plan: Mapping[str, Planned] = ray.get(reference)
    return plan


def has_answers(results: Results, planned: Planned) -> bool:
    """Whether a stored row answers something, if only that it diverged: a new question that fails must not cost it."""
    row = results.read_row(planned.trial.trial_id)
    return row is not None and row["status"] in TRAINED


def tensors(planned: Planned, references: Mapping[DataKey, tuple[Any, str]]) -> DeviceData:
    """The node's shared arrays as tensors: without a copy on the CPU, copied once to a GPU."""
    reference, sha256 = references[data_key(planned)]
    device = "cuda" if torch.cuda.is_available() and ray.get_gpu_ids() else "cpu"
    return DeviceData.of(ray.get(reference), sha256, device)
