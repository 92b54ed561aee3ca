"""Pending trials as a Ray Tune experiment; only this file and what it tells (integrations, nodes) import ray."""

from __future__ import annotations

import os
import tempfile
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")  # a file and a rewrite per report otherwise
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # Ctrl-C ends the run at once; rows are already safe
os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "600")  # we resume from our own rows, not from Tune's state
os.environ.setdefault("TUNE_PRINT_ALL_TRIAL_ERRORS", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import ray
import torch
from ray import tune
from ray.exceptions import RayError
from torch.utils.dlpack import from_dlpack

from search_spaces import Planned
from study.data import Splits
from study.execute import FINAL_METRICS, Report, Tensors, execute
from study.integrations import tracker_callbacks
from study.nodes import gpu_use
from study.options import Resources
from study.progress import Display, Progress
from study.records import Results
from study.rows import failed_row

MAX_FAILURES = 3
"""Restarts of a trial whose worker was lost, before it is recorded as failed."""

DataKey = tuple[str, int, int, int]
"""Data set, train, validation and test size: what the trials of a node share one copy of."""

Execute = Callable[..., dict[str, Any]]


AUTO_GPU_SHARE = 0.25
"""A trial's share when the cluster has GPUs and the user names none. Not yet measured per model."""


class ClusterError(Exception):
    """Ray cannot be started or reached, or the trials fit on no node."""


def connect(address: str | None) -> None:
    """Start Ray on this machine, or join the cluster at `address` (or the one that runs here already).

    Raises:
        ClusterError: the cluster cannot be reached.
    """
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": True}
    if address is None and "RAY_ADDRESS" not in os.environ:
        options["include_dashboard"] = False
    try:
        ray.init(address=address, ignore_reinit_error=True, **options)
    except (RayError, ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        where = f"the Ray cluster at {address}" if address else "Ray"
        raise ClusterError(
            f"cannot reach {where}: {error}. Check the address, and that RAY_AUTH_MODE and the token are the cluster's"
        ) from error


def disconnect() -> None:
    """Leave the cluster; one that `connect` started is shut down."""
    ray.shutdown()


def gpu_share(asked: float | None) -> float:
    """The GPUs that each trial gets: as asked, else a quarter when the cluster has GPUs, else none."""
    if asked is not None:
        return asked
    return AUTO_GPU_SHARE if ray.cluster_resources().get("GPU", 0) > 0 else 0.0


def check_fit(resources: Resources) -> None:
    """Refuse trials that no node of the cluster can ever run.

    Raises:
        ClusterError: a trial asks for more CPUs or GPUs than the largest node has.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    for name, asked in (("CPU", resources.cpus_per_trial), ("GPU", gpu_share(resources.gpus_per_trial))):
        largest = max((node.get(name, 0.0) for node in nodes), default=0.0)
        if asked > largest:
            raise ClusterError(
                f"each trial asks for {asked:g} {name}s but the largest node has {largest:g}; "
                f"lower --{name.lower()}s-per-trial"
            )


def run_trials(
    work: Sequence[Planned],
    data: Mapping[DataKey, tuple[Splits, str]],
    results: Results,
    progress: Progress,
    *,
    resources: Resources,
    execute_trial: Execute = execute,
) -> None:
    """Run every trial of `work`, in this order, until each has a row or has failed MAX_FAILURES + 1 times.

    An error that ends Tune itself (a host out of memory does) costs the trials that were running one attempt each,
    never the study. `progress` is told of every event and holds the failures afterwards.
    """
    references = {key: (ray.put(splits), sha256) for key, (splits, sha256) in data.items()}
    plan = {planned.trial.trial_id: planned for planned in work}
    attempts = dict.fromkeys(plan, 0)
    progress.gpu_use = gpu_use
    with Display(progress) as display:
        while left := [trial_id for trial_id in plan if trial_id not in progress.done]:
            events = _Events(progress, display, results, plan)
            try:
                _fit(left, plan, references, results, events, resources, execute_trial)
            except Exception as error:  # whatever ends Tune, the study goes on with what is pending
                reason = _first_line(error)
            else:
                reason = "the trial ended without a result"
            lost = [trial_id for trial_id in left if trial_id not in progress.done]
            blamed = [trial_id for trial_id in lost if trial_id in progress.running] or lost
            for trial_id in blamed:
                attempts[trial_id] += 1
                progress.retry(trial_id)
                if attempts[trial_id] > MAX_FAILURES:
                    events.record_failure(trial_id, reason)


def _fit(
    trial_ids: Sequence[str],
    plan: Mapping[str, Planned],
    references: Mapping[DataKey, tuple[Any, str]],
    results: Results,
    events: _Events,
    resources: Resources,
    execute_trial: Execute,
) -> None:
    share = gpu_share(resources.gpus_per_trial)
    trainable = tune.with_parameters(
        _trainable,
        plan=dict(plan),
        references=dict(references),
        location=results.location,
        resources=resources,
        execute_trial=execute_trial,
    )
    with tempfile.TemporaryDirectory(prefix="study-tune-", ignore_cleanup_errors=True) as storage:
        tune.Tuner(
            tune.with_resources(trainable, {"cpu": resources.cpus_per_trial, "gpu": share}),
            param_space={"trial_id": tune.grid_search(list(trial_ids))},
            tune_config=tune.TuneConfig(
                reuse_actors=True,
                max_concurrent_trials=resources.max_concurrent,
                trial_name_creator=lambda trial: str(trial.config["trial_id"]),
                trial_dirname_creator=lambda trial: str(trial.config["trial_id"]),
            ),
            run_config=tune.RunConfig(
                name="study",
                storage_path=storage,
                verbose=0,
                callbacks=[events, *tracker_callbacks(resources.trackers, plan)],
                failure_config=tune.FailureConfig(max_failures=MAX_FAILURES),
            ),
        ).fit()


def _trainable(
    config: Mapping[str, Any],
    *,
    plan: Mapping[str, Planned],
    references: Mapping[DataKey, tuple[Any, str]],
    location: str,
    resources: Resources,
    execute_trial: Execute,
) -> None:
    """One trial in a worker. Errors of the trial become a failed row; only lost workers are Tune's to restart."""
    torch.set_num_threads(resources.cpus_per_trial)
    torch.backends.cudnn.allow_tf32 = False  # curvature needs float32; TF32 in convolutions is torch's default
    planned = plan[config["trial_id"]]
    results = Results(location)
    report: Report = lambda metrics: tune.report({**metrics, "epochs": planned.trial.epochs})  # noqa: E731
    try:
        row = execute_trial(
            planned,
            _tensors(planned, references),
            results,
            report=report,
            checkpoint_seconds=resources.checkpoint_seconds,
        )
    except OSError:
        raise  # storage may come back: let Tune try again
    except Exception as error:
        row = failed_row(planned, f"{type(error).__name__}: {error}")
        results.write_log(planned.trial.trial_id, traceback.format_exc())
        if not _has_answers(results, planned):
            results.write_row(row)
    finally:
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
    tune.report({name: row[name] for name in FINAL_METRICS})


def _has_answers(results: Results, planned: Planned) -> bool:
    """Whether a stored row answers something: a new question that fails must not cost it."""
    row = results.read_row(planned.trial.trial_id)
    return row is not None and row["status"] == "ok"


def _tensors(planned: Planned, references: Mapping[DataKey, tuple[Any, str]]) -> Tensors:
    """The node's shared arrays as tensors: without a copy on the CPU, copied once to a GPU."""
    reference, sha256 = references[data_key(planned)]
    splits: Splits = ray.get(reference)
    device = torch.device("cuda" if torch.cuda.is_available() and ray.get_gpu_ids() else "cpu")
    parts = [
        (from_dlpack(x).to(device), from_dlpack(y).to(device))
        for x, y in (
            (splits.train_x, splits.train_y),
            (splits.val_x, splits.val_y),
            (splits.test_x, splits.test_y),
        )
    ]
    return Tensors(parts[0], parts[1], parts[2], sha256)


def data_key(planned: Planned) -> DataKey:
    """Which shared arrays a trial needs."""
    trial = planned.trial
    return trial.dataset, trial.train_size, trial.val_size, trial.test_size


class _Events(tune.Callback):
    """Tells the driver's Progress what Tune does. An exception in a hook would end the study: each is guarded."""

    def __init__(self, progress: Progress, display: Display, results: Results, plan: Mapping[str, Planned]) -> None:
        self._progress, self._display, self._results, self._plan = progress, display, results, plan

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles callbacks; a display is of this process only

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._guard(lambda trial_id: self._progress.start(trial_id), trial)

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: Any, **info: Any) -> None:
        self._guard(lambda trial_id: self._progress.metrics(trial_id, result), trial)

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._guard(lambda trial_id: self._progress.retry(trial_id), trial)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        def finish(trial_id: str) -> None:
            status = (trial.last_result or {}).get("status")
            if status is not None:
                self._progress.finish(trial_id, status, trial.last_result)

        self._guard(finish, trial)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._guard(lambda trial_id: self.record_failure(trial_id, _reason(trial)), trial)

    def record_failure(self, trial_id: str, reason: str) -> None:
        """Give up on a trial: its row says why, the rest goes on."""
        try:
            self._results.write_log(trial_id, f"{reason}\n")
            if not _has_answers(self._results, self._plan[trial_id]):
                self._results.write_row(failed_row(self._plan[trial_id], reason))
        except Exception as error:
            reason = f"{reason}; and its row could not be written: {error}"
        self._progress.finish(trial_id, "failed", {"status_reason": reason})

    def _guard(self, tell: Callable[[str], None], trial: Any) -> None:
        try:
            tell(trial.config["trial_id"])
            self._display.refresh()
        except Exception as error:
            self._progress.last = f"(progress display: {error})"


def _first_line(error: BaseException) -> str:
    """What an error says first, or that of the error it came from: Tune's own wrapper says nothing."""
    cause = error.__cause__ or error.__context__
    if cause is not None:
        return _first_line(cause)
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _reason(trial: Any) -> str:
    """The last line of a trial's error, where Python names it."""
    error = getattr(trial, "get_error", lambda: None)()
    lines = [line for line in str(error or "its worker was lost").splitlines() if line.strip()]
    return lines[-1].strip() if lines else "its worker was lost"
