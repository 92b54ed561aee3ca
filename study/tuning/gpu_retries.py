"""Trials that ran out of GPU memory, tried again with a larger share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler

from study.training.gpu_memory import OutOfGpuMemory
from study.tuning.errors import last_error
from study.tuning.gpu_shares import larger
from study.tuning.progress import Progress


class LargerShares(FIFOScheduler):
    """First in, first out; a trial that raised OutOfGpuMemory asks for more before it is queued again.

    Tune calls `on_trial_error` between a trial's end and its return to the queue: the only moment at which its
    resources may change. Such a retry costs none of the trial's restarts. Tune has counted the failure before, so a
    trial whose restarts are used up has ended for Tune when it runs out of memory: its larger share is noted, the
    trial is `owed` another run, and the caller gives it one, with all restarts anew. A share at least doubles each
    time and ends at a whole GPU (four times from the smallest measured share); there an error is like any other.

    An exception here would end the study, so one in Tune's private parts leaves the share as it is.
    """

    def __init__(self, shares: dict[str, float], cpus: int, progress: Progress) -> None:
        """`shares`, by trial id, is kept up to date."""
        super().__init__()
        self._shares, self._cpus, self._progress = shares, cpus, progress
        self.owed: set[str] = set()

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles schedulers; these belong to the driver

    def resources(self) -> Callable[[Mapping[str, Any]], dict[str, float]]:
        """What Tune asks for a trial's resources, by its configuration, at the time of this call."""
        shares, cpus = dict(self._shares), self._cpus
        return lambda config: {"cpu": cpus, "gpu": shares[config["trial_id"]]}

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Give the trial a larger share if memory was what it lacked."""
        try:
            if OutOfGpuMemory.__name__ in last_error(trial):
                self._enlarge(trial)
        except Exception as error:
            self._progress.last = f"(GPU share kept: {error})"

    def _enlarge(self, trial: Any) -> None:
        trial_id = trial.config["trial_id"]
        before = self._shares[trial_id]
        if before >= 1:
            return
        after = larger(before)
        if trial.status == Trial.RUNNING:  # not back to the queue: Tune gives it up
            self.owed.add(trial_id)
        else:
            trial.update_resources({"cpu": self._cpus, "gpu": after})
            trial.max_failures += 1
        self._shares[trial_id] = after
        self._progress.enlarge(trial_id, before, after)
