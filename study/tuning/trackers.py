"""MLflow, Weights & Biases and TensorBoard: one run for each trial, continued when the trial is; none by default.

These are written with the tools' own clients. Ray's callbacks start a new run whenever a trial is resumed, count its
reports instead of epochs and call a diverged trial finished. That for MLflow needs a request for every number, that for
Weights & Biases two processes for every trial, which write to a temporary folder of Ray.
"""

from __future__ import annotations

import logging
import math
import os
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol, Self

from search_spaces import Planned
from study.results.folder import Results
from study.trials.execute import FINAL_METRICS
from study.tuning.progress import error_summary
from study.tuning.settings import TrackerError

MAX_ERRORS = 3
"""Errors of a tracker before it is turned off: a server that is down must not hold up the end of a study."""

PROJECT = "sgd-robustness"
"""The name of the MLflow experiment."""

PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}
"""Of MLflow's client, which otherwise waits for minutes; the user's environment prevails."""

FINISHED, INTERRUPTED = "ok", "interrupted"
EPOCH_METRICS = ("lr", "train_loss", "val_acc", "lambda1", "batch_sharpness")

Metrics = Mapping[str, float]


class Run(Protocol):
    """A trial's run in a tracker.

    Attributes:
        last_epoch: the last that the tracker has; 0 if it cannot say.
    """

    last_epoch: int

    def log(self, metrics: Metrics, epoch: int) -> None:
        """Add finite numbers at this step."""
        ...

    def end(self, status: str, reason: str, metrics: Metrics, epoch: int) -> None:
        """Add a trial's results at this step, its status and the status's reason, and close the run."""
        ...


class Tracker(Protocol):
    """A place that runs are sent to. The constructor raises if it cannot be used."""

    def open(self, key: str, settings: Mapping[str, Any]) -> Run:
        """The run of this key, continued if there is one. `settings` has the trial's id, fields and results folder."""
        ...


class Trackers:
    """All trackers of a study. Only their start can raise: later errors are printed, and the study goes on.

    Each works in a thread of its own, so that none can hold up the trials.
    """

    def __init__(self, places: Mapping[str, str], results: Results) -> None:
        """Start them.

        Args:
            places: name -> URI, project or folder, as in `RunSettings`.
            results: where rows are; trials of another folder have other runs.

        Raises:
            TrackerError: one cannot start.
        """
        self._loggers: list[_Logger] = []
        for name, place in places.items():
            try:
                tracker = TRACKERS[name](place)
            except Exception as error:
                raise TrackerError(f"--{name} {place!r} cannot be used: {error_summary(error)}") from error
            self._loggers.append(_Logger(name, tracker, results))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Close runs that have not ended as interrupted, and wait until all is sent."""
        for logger in self._loggers:
            logger.close()

    def started(self, planned: Planned) -> None:
        """A trial has started, perhaps not for the first time."""
        for logger in self._loggers:
            logger.do(logger.open, planned)

    def reported(self, trial_id: str, result: Mapping[str, Any]) -> None:
        """A trial has reported; what is not about an epoch is left out."""
        for logger in self._loggers if "epoch" in result else ():
            logger.do(logger.log, trial_id, result)

    def ended(self, trial_id: str, row: Mapping[str, Any]) -> None:
        """A trial has a row, of which at least the status is given."""
        for logger in self._loggers:
            logger.do(logger.end, trial_id, dict(row))


class _Logger:
    """One tracker, its thread and the runs that are open."""

    def __init__(self, name: str, tracker: Tracker, results: Results) -> None:
        self._name, self._tracker, self._results = name, tracker, results
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._runs: dict[str, tuple[Run, Planned]] = {}
        self._epochs: dict[str, int] = {}  # the last that was logged, by trial id
        self._errors = 0

    def do(self, call: Callable[..., None], *arguments: Any) -> None:
        """Let the thread make a call."""
        self._pool.submit(self._guarded, call, *arguments)

    def close(self) -> None:
        self.do(self._interrupt)
        self._pool.shutdown()

    def _interrupt(self) -> None:
        for trial_id in list(self._runs):
            self.end(trial_id, {"status": INTERRUPTED})

    def open(self, planned: Planned) -> None:
        trial_id = planned.trial.trial_id
        if trial_id in self._runs:  # its worker was lost, and has started again
            return
        settings = {"trial_id": trial_id, **planned.trial.to_dict(), "results": self._results.location}
        study_id = self._results.read_study()["id"]  # folders on two machines may have one path
        run = self._tracker.open(f"{trial_id}-{study_id}", settings)
        self._runs[trial_id], self._epochs[trial_id] = (run, planned), run.last_epoch
        row = self._results.read_row(trial_id)
        for epoch in (row or {}).get("history") or ():  # of a network that was trained before, perhaps with others
            self.log(trial_id, epoch)

    def log(self, trial_id: str, result: Mapping[str, Any]) -> None:
        run, epoch = self._runs.get(trial_id), int(result["epoch"])
        if run and epoch > self._epochs[trial_id]:  # training goes on from a checkpoint before the last report
            run[0].log({f"epoch/{name}": result[name] for name in EPOCH_METRICS if _finite(result.get(name))}, epoch)
            self._epochs[trial_id] = epoch

    def end(self, trial_id: str, row: Mapping[str, Any]) -> None:
        if trial_id not in self._runs:
            return
        run, planned = self._runs.pop(trial_id)
        metrics = {name: float(value) for name, value in row.items() if name in FINAL_METRICS and _finite(value)}
        epoch = self._epochs[trial_id] or planned.trial.epochs
        run.end(str(row["status"]), str(row.get("status_reason") or ""), metrics, epoch)

    def _guarded(self, call: Callable[..., None], *arguments: Any) -> None:
        if self._errors >= MAX_ERRORS:
            return
        try:
            call(*arguments)
        except Exception as error:
            self._errors += 1
            effect = "it is turned off" if self._errors >= MAX_ERRORS else "the study continues"
            print(f"{self._name}: {error_summary(error)}; {effect}", file=sys.stderr)


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


class _Mlflow:
    """An MLflow server, or its database in a file."""

    def __init__(self, uri: str) -> None:
        for name, value in PATIENCE.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient

        for name in ("mlflow", "alembic"):  # they report every table of a new database
            logging.getLogger(name).setLevel(logging.WARNING)
        self._client = MlflowClient(tracking_uri=uri)
        experiment = self._client.get_experiment_by_name(PROJECT)
        if experiment is not None and experiment.lifecycle_stage != "active":
            raise ValueError(f"its experiment {PROJECT} is deleted: restore it, or give another URI")
        self._experiment = experiment.experiment_id if experiment else self._client.create_experiment(PROJECT)

    def open(self, key: str, settings: Mapping[str, Any]) -> Run:
        from mlflow.entities import Param

        found = self._client.search_runs([self._experiment], f"tags.key = '{key}'", max_results=1)
        if found:
            run_id = found[0].info.run_id
            self._client.update_run(run_id, status="RUNNING")
            self._client.set_tag(run_id, "status", "running")
            return _MlflowRun(self._client, run_id)
        tags = {"key": key, "status": "running"}
        run_id = self._client.create_run(self._experiment, tags=tags, run_name=settings["trial_id"]).info.run_id
        self._client.log_batch(run_id, params=[Param(name, str(value)) for name, value in settings.items()])
        return _MlflowRun(self._client, run_id)


class _MlflowRun:
    STATUSES: Mapping[str, str] = {FINISHED: "FINISHED", INTERRUPTED: "KILLED"}

    def __init__(self, client: Any, run_id: str) -> None:
        self._client, self._run_id = client, run_id
        steps = [metric.step for metric in client.get_metric_history(run_id, "epoch/train_loss")]
        self.last_epoch = max(steps, default=0)

    def log(self, metrics: Metrics, epoch: int) -> None:
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        entries = [Metric(name, value, now, epoch) for name, value in metrics.items()]
        self._client.log_batch(self._run_id, metrics=entries)

    def end(self, status: str, reason: str, metrics: Metrics, epoch: int) -> None:
        self.log(metrics, epoch)
        self._client.set_tag(self._run_id, "status", status)
        if reason:
            self._client.set_tag(self._run_id, "status_reason", reason)
        self._client.set_terminated(self._run_id, self.STATUSES.get(status, "FAILED"))


class _Wandb:
    """A project of Weights & Biases; its mode, account and folder are those of its own settings."""

    def __init__(self, project: str) -> None:
        import wandb

        self._project = project
        settings = wandb.setup().settings
        if settings.mode in ("offline", "dryrun"):
            folder = Path(settings.wandb_dir).absolute()
            folder.mkdir(parents=True, exist_ok=True)  # otherwise they would go to a temporary folder
            print(f"wandb is offline: its files are in {folder}; `wandb sync` sends them", flush=True)
        elif settings.mode != "disabled":
            wandb.login(verify=True)

    def open(self, key: str, settings: Mapping[str, Any]) -> Run:
        import wandb

        return _WandbRun(
            wandb.init(
                project=self._project,
                id=key,
                name=settings["trial_id"],
                config=dict(settings),
                resume="allow",
                reinit="create_new",
                settings=wandb.Settings(silent=True, console="off"),
            )
        )


class _WandbRun:
    last_epoch = 0  # it ignores steps that it has

    def __init__(self, run: Any) -> None:
        self._run = run
        run.tags = [tag for tag in run.tags or () if tag not in ("diverged", "failed")]

    def log(self, metrics: Metrics, epoch: int) -> None:
        self._run.log(dict(metrics), step=epoch)

    def end(self, status: str, reason: str, metrics: Metrics, epoch: int) -> None:
        self.log(metrics, epoch)
        self._run.summary.update({"status": status, "status_reason": reason})
        if status not in (FINISHED, INTERRUPTED):
            self._run.tags = [*self._run.tags, status]
        self._run.finish(exit_code=0 if status == FINISHED else 1)


class _TensorBoard:
    """A folder with one folder for each trial."""

    def __init__(self, folder: str) -> None:
        import tensorboardX  # noqa: F401

        self._folder = Path(folder).expanduser().absolute()
        self._folder.mkdir(parents=True, exist_ok=True)
        if not os.access(self._folder, os.W_OK | os.X_OK):
            raise PermissionError("it cannot be written to")

    def open(self, key: str, settings: Mapping[str, Any]) -> Run:
        return _TensorBoardRun(self._folder / settings["trial_id"], settings)


class _TensorBoardRun:
    last_epoch = 0

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self._folder, self._settings = folder, settings
        self._opened: Any = None

    def _writer(self, epoch: int | None) -> Any:
        """The writer; the epochs that it repeats, from this one on, are hidden in files of earlier runs."""
        from tensorboardX import SummaryWriter

        if self._opened is None:  # its name has the second and the machine alone, and would replace one of this second
            suffix = f".{time.time_ns()}"
            self._opened = SummaryWriter(str(self._folder), purge_step=epoch, filename_suffix=suffix)
        return self._opened

    def log(self, metrics: Metrics, epoch: int) -> None:
        for name, value in metrics.items():
            self._writer(epoch).add_scalar(name, value, epoch)
        self._writer(epoch).flush()

    def end(self, status: str, reason: str, metrics: Metrics, epoch: int) -> None:
        from tensorboardX.summary import hparams

        writer = self._writer(None)
        for name, value in metrics.items():
            writer.add_scalar(name, value, epoch)
        writer.add_text("status", f"{status} {reason}".strip(), epoch)
        if status != INTERRUPTED:
            *begin, end = hparams({**self._settings, "status": status}, dict(metrics))
            for summary in (*begin, end) if status == FINISHED else begin:
                writer.file_writer.add_summary(summary)
        writer.close()


TRACKERS: dict[str, Callable[[str], Tracker]] = {"mlflow": _Mlflow, "wandb": _Wandb, "tensorboard": _TensorBoard}
"""Option -> what it starts, from the option's value."""
