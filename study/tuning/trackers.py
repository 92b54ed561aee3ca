"""Ray's callbacks for MLflow, Weights & Biases and TensorBoard, which log every trial; none by default."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ray import tune

from search_spaces import Planned
from study.tuning.progress import error_summary

MAX_ERRORS = 3
"""Errors of a tracker before it is turned off: a server that is down must not slow every trial."""

PROJECT = "sgd-robustness"
"""The name of the MLflow experiment."""


def tracker_callbacks(trackers: Mapping[str, str], plan: Mapping[str, Planned]) -> list[tune.Callback]:
    """One callback for each tracker; none of them can raise.

    Args:
        trackers: name -> URI, project or folder, as in `RunSettings`.
        plan: all trials by id.
    """
    folders = {"tensorboard": trackers.get("tensorboard")}
    return [_Guarded(name, value, plan, folders.get(name)) for name, value in trackers.items()]


def _mlflow(uri: str) -> tune.Callback:
    from ray.air.integrations.mlflow import MLflowLoggerCallback

    return MLflowLoggerCallback(tracking_uri=uri, experiment_name=PROJECT)


def _wandb(project: str) -> tune.Callback:
    from ray.air.integrations.wandb import WandbLoggerCallback

    return WandbLoggerCallback(project=project)


def _tensorboard(folder: str) -> tune.Callback:
    from ray.tune.logger import TBXLoggerCallback

    return TBXLoggerCallback()


MAKERS: dict[str, Callable[[str], tune.Callback]] = {"mlflow": _mlflow, "wandb": _wandb, "tensorboard": _tensorboard}
"""Tracker's name -> its callback, made from the option's value."""


class _Guarded(tune.Callback):
    """A tracker's callback whose errors are printed and have no other effect.

    Tune ends a study, or marks a finished trial as failed, when a callback raises. After MAX_ERRORS errors, or one in
    its setup, the tracker is turned off. It sees each trial with the study's settings as its config.
    """

    def __init__(self, name: str, value: str, plan: Mapping[str, Planned], folder: str | None) -> None:
        self._name, self._value, self._plan = name, value, plan
        self._folder = Path(folder).expanduser().absolute() if folder else None
        self._callback: tune.Callback | None = None
        self._shown: dict[str, _ShownTrial] = {}
        self._errors = 0

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles callbacks; this one is used in the driver only

    def setup(self, **info: Any) -> None:
        try:
            callback = MAKERS[self._name](self._value)
            callback.setup(**info)
        except Exception as error:
            print(f"{self._name} is off: {error_summary(error)}; the study continues without it", file=sys.stderr)
        else:
            self._callback = callback

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._call("on_trial_start", iteration, trial, info)

    def on_trial_restore(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._call("on_trial_restore", iteration, trial, info)

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: Any, **info: Any) -> None:
        if "probes_answered" not in result:  # it says only that the trial is alive
            self._call("on_trial_result", iteration, trial, {"result": result, **info})

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._call("on_trial_complete", iteration, trial, info)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._call("on_trial_error", iteration, trial, info)

    def on_experiment_end(self, trials: list[Any], **info: Any) -> None:
        self._guard(lambda callback: callback.on_experiment_end(trials=trials, **info))

    def _call(self, hook: str, iteration: int, trial: Any, info: Mapping[str, Any]) -> None:
        def call(callback: tune.Callback) -> None:
            shown = self._show(trial)
            getattr(callback, hook)(iteration=iteration, trials=[shown], trial=shown, **info)

        self._guard(call)

    def _show(self, trial: Any) -> _ShownTrial:
        trial_id = trial.config["trial_id"]
        if trial_id not in self._shown:
            folder = self._folder / trial_id if self._folder else None
            self._shown[trial_id] = _ShownTrial(trial, self._plan[trial_id].trial.to_dict(), folder)
        return self._shown[trial_id]

    def _guard(self, call: Callable[[tune.Callback], None]) -> None:
        if self._callback is None:
            return
        try:
            call(self._callback)
        except Exception as error:
            self._errors += 1
            effect = "it is turned off" if self._errors >= MAX_ERRORS else "the study continues"
            print(f"{self._name}: {error_summary(error)}; {effect}", file=sys.stderr)
            if self._errors >= MAX_ERRORS:
                self._callback = None


class _ShownTrial:
    """A trial of Tune as a tracker sees it: the study's settings as its config, and its own folder for files."""

    def __init__(self, trial: Any, settings: dict[str, Any], folder: Path | None) -> None:
        self._trial, self._folder = trial, folder
        self.config = {"trial_id": trial.config["trial_id"], **settings}
        self.evaluated_params = self.config

    @property
    def local_path(self) -> str:
        """Where a tracker writes this trial's files."""
        return str(self._folder) if self._folder else str(self._trial.local_path)

    def init_local_path(self) -> None:
        """Make that folder."""
        Path(self.local_path).mkdir(parents=True, exist_ok=True)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._trial, name)

    def __str__(self) -> str:
        return str(self._trial)
