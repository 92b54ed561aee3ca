"""What happens in the driver: hung trials are killed, and trials that ran out of GPU memory get a larger share."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.experiment import Trial as TuneTrial

from study.results.folder import Results
from study.tuning import callbacks
from study.tuning.callbacks import GpuShareScheduler, HangDetector, StudyCallback
from study.tuning.progress import Display, Progress
from tests.trials.small import planned

ONE = planned()
ID = ONE.trial.trial_id


@dataclass
class Trial:
    """The part of a Tune trial that is used here; its status is PENDING or ERROR if Tune will queue it again."""

    error_file: str = ""
    status: str = TuneTrial.ERROR
    max_failures: int = 3
    temporary_state: Any = None
    requested: list[dict[str, float]] = field(default_factory=list)
    config: dict[str, str] = field(default_factory=lambda: {"trial_id": ID})

    def update_resources(self, resources: dict[str, float]) -> None:
        if self.status == TuneTrial.RUNNING:
            raise ValueError("Tune raises it")
        self.requested.append(resources)


@pytest.fixture
def out_of_memory(tmp_path: Path) -> str:
    file = tmp_path / "error.txt"
    file.write_text("Failure # 1\nstudy.training.gpu_memory.OutOfGpuMemory: CUDA out of memory\n")
    return str(file)


def new_progress() -> Progress:
    return Progress({ID: 1.0}, {})


def test_a_trial_that_is_queued_again_gets_a_larger_share_and_keeps_its_restarts(out_of_memory: str) -> None:
    shares, progress, trial = {ID: 0.25}, new_progress(), Trial(out_of_memory)
    scheduler = GpuShareScheduler(shares, 2, progress)
    scheduler.on_trial_error(None, trial)
    assert trial.requested == [{"cpu": 2, "gpu": 0.5}]
    assert trial.max_failures == 4
    assert shares == {ID: 0.5}
    assert not scheduler.run_again
    assert progress.enlarged == 1


def test_a_trial_that_tune_gives_up_runs_again_with_a_larger_share(out_of_memory: str, tmp_path: Path) -> None:
    shares, progress, trial = {ID: 0.25}, new_progress(), Trial(out_of_memory, status=TuneTrial.RUNNING)
    scheduler = GpuShareScheduler(shares, 2, progress)
    results = Results(tmp_path)
    results.create()
    callback = StudyCallback(progress, Display(progress), results, {ID: ONE}, HangDetector(60.0), scheduler.run_again)
    scheduler.on_trial_error(None, trial)
    callback.on_trial_error(0, [], trial)
    assert scheduler.resources()({"trial_id": ID}) == {"cpu": 2, "gpu": 0.5}
    assert scheduler.run_again == {ID}
    assert (progress.done, progress.retries, progress.enlarged) == ({}, 1, 1)
    assert progress.last == (ID, "out of GPU memory at 0.25 of a GPU, again at 0.5")
    assert results.read_row(ID) is None


@pytest.mark.parametrize("status", [TuneTrial.ERROR, TuneTrial.RUNNING])
def test_with_a_whole_gpu_it_fails_like_any_other(out_of_memory: str, tmp_path: Path, status: str) -> None:
    shares, progress, trial = {ID: 1.0}, new_progress(), Trial(out_of_memory, status=status)
    scheduler = GpuShareScheduler(shares, 2, progress)
    scheduler.on_trial_error(None, trial)
    assert (trial.requested, trial.max_failures, shares, scheduler.run_again) == ([], 3, {ID: 1.0}, set())
    results = Results(tmp_path)
    results.create()
    StudyCallback(
        progress, Display(progress), results, {ID: ONE}, HangDetector(60.0), scheduler.run_again
    ).on_trial_error(0, [], trial)
    assert progress.failures == {ID: "study.training.gpu_memory.OutOfGpuMemory: CUDA out of memory"}
    row: Any = results.read_row(ID)
    assert row["status"] == "failed"


def test_other_errors_do_not_change_the_share(tmp_path: Path) -> None:
    file = tmp_path / "error.txt"
    file.write_text("Failure # 1\nOutOfGpuMemory: once\nFailure # 2\nZeroDivisionError: now\n")
    shares, trial = {ID: 0.25}, Trial(str(file), status=TuneTrial.RUNNING)
    scheduler = GpuShareScheduler(shares, 2, new_progress())
    scheduler.on_trial_error(None, trial)
    assert (shares, scheduler.run_again) == ({ID: 0.25}, set())


def test_shares_end_at_a_whole_gpu_after_few_steps(out_of_memory: str) -> None:
    shares, progress = {ID: 0.0625}, new_progress()
    scheduler = GpuShareScheduler(shares, 1, progress)
    for _ in range(20):
        scheduler.on_trial_error(None, Trial(out_of_memory, status=TuneTrial.RUNNING))
    assert shares == {ID: 1.0}
    assert progress.enlarged <= 5


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
