"""What Tune tells the driver while trials run."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from typing import Any

from ray import tune

from search_spaces import Planned
from study.results.folder import Results
from study.results.rows import failed_row
from study.tuning.errors import why_lost
from study.tuning.progress import Display, Progress
from study.tuning.timeouts import Watch
from study.tuning.trainable import has_answers


class Events(tune.Callback):
    """Tells the driver's Progress what Tune does. An exception in a hook would end the study: each is guarded."""

    def __init__(
        self,
        progress: Progress,
        display: Display,
        results: Results,
        plan: Mapping[str, Planned],
        watch: Watch,
        owed: Container[str] = (),
    ) -> None:
        """`owed`: trials that the caller runs once more, whatever Tune says of them."""
        self._progress, self._display, self._results, self._plan = progress, display, results, plan
        self._watch, self._owed = watch, owed

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles callbacks; a display is of this process only

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A worker has taken the trial."""
        self._watch.heard(trial)
        self._guard(lambda trial_id: self._progress.start(trial_id), trial)

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: Any, **info: Any) -> None:
        """The trial has reported."""
        self._watch.heard(trial)
        self._guard(lambda trial_id: self._progress.metrics(trial_id, result), trial)

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """The trial's worker was lost; Tune starts it again."""
        self._watch.ended(trial)
        self._guard(lambda trial_id: self._progress.retry(trial_id), trial)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """The trial has ended; it has a row if it reported a status."""
        self._watch.ended(trial)

        def finish(trial_id: str) -> None:
            status = (trial.last_result or {}).get("status")
            if status is not None:
                self._progress.finish(trial_id, status, trial.last_result)

        self._guard(finish, trial)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """The trial's worker was lost once too often."""
        self._watch.ended(trial)

        def give_up(trial_id: str) -> None:
            if trial_id in self._owed:
                self._progress.retry(trial_id)
            else:
                self.record_failure(trial_id, self._watch.reason(trial_id) or why_lost(trial))

        self._guard(give_up, trial)

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Tune has looked at its workers, as it does ten times a second."""
        try:
            for trial_id in self._watch.kill_silent():
                self._progress.last = f"{self._progress.labels.get(trial_id, trial_id)}: {self._watch.reason(trial_id)}"
                self._results.write_log(trial_id, f"{self._watch.reason(trial_id)}\n")
        except Exception as error:
            self._progress.last = f"(watch for hung trials: {error})"

    def record_failure(self, trial_id: str, reason: str) -> None:
        """Give up on a trial: its row says why, the rest goes on."""
        try:
            self._results.write_log(trial_id, f"{reason}\n")
            if not has_answers(self._results, self._plan[trial_id]):
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
