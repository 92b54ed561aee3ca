"""What happens in the driver: hung trials are killed, and trials that ran out of GPU memory get a larger share."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from study.results.folder import Results
from study.tuning import callbacks
from study.tuning.callbacks import HangDetector, StudyCallback, failure_reason
from study.tuning.progress import Display, Progress
from study.tuning.trainable import OUT_OF_GPU_MEMORY
from tests.stored import results_in
from tests.trials.small import planned

ONE = planned()
ID = ONE.trial.trial_id


@dataclass
class Trial:
    """The part of a Tune trial that is used here."""

    error_file: str | None = None
    last_result: dict[str, Any] = field(default_factory=dict)
    temporary_state: Any = None
    config: dict[str, str] = field(default_factory=lambda: {"trial_id": ID})


def callback_of(folder: Path, shares: dict[str, float]) -> tuple[StudyCallback, Progress, Results]:
    results, progress = results_in(folder), Progress({ID: 1.0}, {})
    return StudyCallback(progress, Display(progress), results, {ID: ONE}, HangDetector(60.0), shares), progress, results


def test_a_trial_that_ran_out_of_gpu_memory_gets_a_larger_share_and_is_not_done(tmp_path: Path) -> None:
    shares = {ID: 0.25}
    callback, progress, results = callback_of(tmp_path, shares)
    callback.on_trial_complete(0, [], Trial(last_result={"status": OUT_OF_GPU_MEMORY}))
    assert shares == {ID: 0.5}
    assert (progress.done, progress.retries, progress.enlarged) == ({}, 1, 1)
    assert progress.last == (ID, "out of GPU memory at 0.25 of a GPU, again at 0.5")
    assert results.read_row(ID) is None


def test_a_trial_that_tune_gives_up_fails_with_the_last_line_of_its_last_error(tmp_path: Path) -> None:
    file = tmp_path / "error.txt"
    file.write_text("Failure # 1\nOSError: once\nFailure # 2\nZeroDivisionError: now\n\n")
    callback, progress, results = callback_of(tmp_path, {ID: 1.0})
    callback.on_trial_error(0, [], Trial(str(file)))
    assert progress.failures == {ID: "ZeroDivisionError: now"}
    row: Any = results.read_row(ID)
    assert (row["status"], row["status_reason"]) == ("failed", "ZeroDivisionError: now")
    assert failure_reason(Trial()) == "its worker was lost"


def test_the_reason_of_the_last_restart_is_beside_the_count(tmp_path: Path) -> None:
    file = tmp_path / "error.txt"
    callback, progress, _ = callback_of(tmp_path, {ID: 1.0})
    for reason in ("OSError: once", "OSError: [Errno 5] Input/output error"):
        file.write_text(f"Failure\n{reason}\n\n")
        callback.on_trial_recover(0, [], Trial(str(file)))
    assert "2 restarted | last restart: OSError: [Errno 5] Input/output error" in progress.summary()


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(callbacks, "time", made)
    return made


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The workers that were killed."""
    workers: list[Any] = []
    monkeypatch.setattr(callbacks, "ray", SimpleNamespace(kill=workers.append))
    return workers


def running(trial_id: str) -> Trial:
    return Trial(config={"trial_id": trial_id}, temporary_state=SimpleNamespace(ray_actor=trial_id))


def test_nothing_counts_as_hung_without_a_limit(clock: Clock, killed: list[Any]) -> None:
    hang_detector = HangDetector(math.inf)
    hang_detector.reported(running("one"))
    for _ in range(10**4):
        clock.now += 50.0
        assert hang_detector.kill_hung() == []


def test_only_the_silent_trial_is_killed_and_once(clock: Clock, killed: list[Any]) -> None:
    silent, busy, ended = (running(name) for name in ("silent", "busy", "ended"))
    hang_detector = HangDetector(10.0)
    for trial in (silent, busy, ended):
        hang_detector.reported(trial)
    clock.now = 9.0
    assert hang_detector.kill_hung() == []
    hang_detector.reported(busy)
    hang_detector.ended(ended)
    clock.now = 12.0
    assert hang_detector.kill_hung() == ["silent"]
    clock.now = 14.0
    assert hang_detector.kill_hung() == []
    assert killed == ["silent"]
    assert hang_detector.reason("silent") == "hung: no report for 12 s, its worker was killed; see --trial-timeout"
    assert hang_detector.reason("busy") is None


def test_a_restarted_trial_has_the_whole_timeout_again_and_no_old_reason(clock: Clock, killed: list[Any]) -> None:
    trial = running("one")
    hang_detector = HangDetector(10.0)
    hang_detector.reported(trial)
    clock.now = 20.0
    assert hang_detector.kill_hung() == ["one"]
    hang_detector.reported(trial)
    clock.now = 29.0
    assert hang_detector.kill_hung() == []
    assert hang_detector.reason("one") is None
    clock.now = 31.0
    assert hang_detector.kill_hung() == ["one"]
    assert killed == ["one", "one"]


def test_time_in_which_the_driver_stood_still_does_not_count(clock: Clock, killed: list[Any]) -> None:
    hang_detector = HangDetector(10.0)
    hang_detector.reported(running("one"))
    clock.now = 3600.0
    assert hang_detector.kill_hung() == []
    clock.now = 3609.0
    assert hang_detector.kill_hung() == []
    clock.now = 3611.0
    assert hang_detector.kill_hung() == ["one"]
