"""What happens in the driver while Tune runs trials: progress, trials that hang, lost workers and full GPUs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any

import ray
from ray import tune

from search_spaces import Planned
from study.results.folder import Results
from study.tuning.gpu_shares import larger_share
from study.tuning.progress import Display, Progress
from study.tuning.trackers import Trackers
from study.tuning.trainable import OUT_OF_GPU_MEMORY, store_failure

CHECK_SECONDS = 1.0
"""How often the driver looks for hung trials."""

STANDSTILL_SECONDS = 60.0
"""If the driver has not looked for this long, it stood still itself: that time counts against no trial."""


class HangDetector:
    """Kills the workers of trials that have not reported for too long.

    Training reports at the end of an epoch and probing at the end of a probe, but at most every few seconds. A worker
    that hangs looks healthy to Ray, and one that is stopped or holds Python's lock cannot check itself, so the driver
    does. For Tune a killed worker is a lost one, and the trial is restarted.
    """

    def __init__(self, timeout: float) -> None:
        """`timeout`: seconds without a report after which a trial counts as hung; infinite: never."""
        self._timeout = timeout
        self._last_reports: dict[str, tuple[float, Any]] = {}
        self._reasons: dict[str, str] = {}
        self._checked = time.monotonic()

    def reported(self, trial: Any) -> None:
        """The trial has started or reported."""
        trial_id = trial.config["trial_id"]
        self._reasons.pop(trial_id, None)
        self._last_reports[trial_id] = (time.monotonic(), trial)

    def ended(self, trial: Any) -> None:
        """The trial does not run any more."""
        self._last_reports.pop(trial.config["trial_id"], None)

    def reason(self, trial_id: str) -> str | None:
        """Why the trial's worker was killed, if it was."""
        return self._reasons.get(trial_id)

    def kill_hung(self) -> list[str]:
        """Kill the workers of hung trials; returns those trials' ids."""
        now = time.monotonic()
        since_check = now - self._checked
        if since_check < CHECK_SECONDS:
            return []
        self._checked = now
        if since_check > STANDSTILL_SECONDS:
            self._last_reports = {
                trial_id: (last + since_check, trial) for trial_id, (last, trial) in self._last_reports.items()
            }
        hung = [trial_id for trial_id, (last, _) in self._last_reports.items() if now - last > self._timeout]
        for trial_id in hung:
            last, trial = self._last_reports[trial_id]
            ray.kill(trial.temporary_state.ray_actor)  # first: a trial that could not be killed is checked again
            del self._last_reports[trial_id]
            self._reasons[trial_id] = (
                f"hung: no report for {now - last:.0f} s, its worker was killed; see --trial-timeout"
            )
        return hung


def _guarded(hook: Callable[..., None]) -> Callable[..., None]:
    """The hook, then the display. An error is shown there: raised in a hook, it would end the study."""

    @wraps(hook)
    def guarded(self: StudyCallback, *arguments: Any, **info: Any) -> None:
        try:
            hook(self, *arguments, **info)
            self._display.refresh()
        except Exception as error:
            self._progress.last = (f"({hook.__name__}: {error})",)

    return guarded


class StudyCallback(tune.Callback):
    """Keeps Progress up to date, kills hung trials, raises shares of a GPU and records failures."""

    def __init__(
        self,
        progress: Progress,
        display: Display,
        results: Results,
        plan: Mapping[str, Planned],
        hang_detector: HangDetector,
        shares: dict[str, float],
        trackers: Trackers | None = None,
    ) -> None:
        """Shares of a GPU by trial id: those that prove too small are raised. `trackers` also get every event."""
        self._progress, self._display, self._results, self._plan = progress, display, results, plan
        self._hang_detector, self._shares = hang_detector, shares
        self._trackers = trackers or Trackers({}, results)

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles callbacks; this one is used in the driver only

    @_guarded
    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A worker has started the trial."""
        trial_id = trial.config["trial_id"]
        self._hang_detector.reported(trial)
        self._trackers.started(self._plan[trial_id])
        self._progress.start(trial_id)

    @_guarded
    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: Any, **info: Any) -> None:
        """The trial has reported."""
        trial_id = trial.config["trial_id"]
        self._hang_detector.reported(trial)
        self._trackers.reported(trial_id, result)
        self._progress.metrics(trial_id, result)

    @_guarded
    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """The trial's worker was lost; Tune starts it again."""
        self._hang_detector.ended(trial)
        trial_id = trial.config["trial_id"]
        self._progress.retry(trial_id, self._hang_detector.reason(trial_id) or failure_reason(trial))

    @_guarded
    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """The trial has ended; it has a row if it reported a status, unless its share of a GPU was too small."""
        trial_id, result = trial.config["trial_id"], trial.last_result or {}
        self._hang_detector.ended(trial)
        status = result.get("status")
        if status == OUT_OF_GPU_MEMORY:
            before = self._shares[trial_id]
            self._shares[trial_id] = larger_share(before)
            self._progress.enlarge(trial_id, before, self._shares[trial_id])
        elif status is not None:
            self._trackers.ended(trial_id, result)
            self._progress.finish(trial_id, status, result)

    @_guarded
    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """The trial's worker was lost, and Tune gives the trial up."""
        trial_id = trial.config["trial_id"]
        self._hang_detector.ended(trial)
        self.record_failure(trial_id, self._hang_detector.reason(trial_id) or failure_reason(trial))

    @_guarded
    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Tune has processed its workers' events, as it does ten times a second."""
        for trial_id in self._hang_detector.kill_hung():
            reason = str(self._hang_detector.reason(trial_id))
            self._progress.note(trial_id, reason)
            self._results.write_log(trial_id, f"{reason}\n")

    def record_failure(self, trial_id: str, reason: str) -> None:
        """Give up on a trial: its row says why, and the others continue."""
        try:
            store_failure(self._plan[trial_id], reason, f"{reason}\n", self._results)
        except Exception as error:
            reason = f"{reason}; and its row could not be written: {error}"
        self._progress.finish(trial_id, "failed", {"status_reason": reason})
        self._trackers.ended(trial_id, {"status": "failed", "status_reason": reason})


def failure_reason(trial: Any) -> str:
    """The last line of a Tune trial's last error, which names it.

    From the driver's own file, to which Tune adds every failure: the trial's `get_error` reads a copy that is made
    later.
    """
    file = Path(trial.error_file or "")
    lines = file.read_text().strip().splitlines() if file.is_file() else []
    return lines[-1].strip() if lines else "its worker was lost"
