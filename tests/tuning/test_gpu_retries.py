"""A trial out of GPU memory gets a larger share, on its last restart as well, and never more than a whole GPU."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ray.tune.experiment import Trial as TuneTrial

from study.results.folder import Results
from study.tuning.callbacks import Events
from study.tuning.gpu_retries import LargerShares
from study.tuning.progress import Display, Progress
from study.tuning.timeouts import Watch
from tests.trials.small import planned

ONE = planned()
ID = ONE.trial.trial_id


@dataclass
class Trial:
    """Of Tune, as far as the scheduler looks at it; Tune has it PENDING or ERROR when it will be queued again."""

    error_file: str
    status: str = TuneTrial.ERROR
    max_failures: int = 3
    asked: list[dict[str, float]] = field(default_factory=list)
    config: dict[str, str] = field(default_factory=lambda: {"trial_id": ID})

    def update_resources(self, resources: dict[str, float]) -> None:
        if self.status == TuneTrial.RUNNING:
            raise ValueError("as Tune does")
        self.asked.append(resources)


@pytest.fixture
def out_of_memory(tmp_path: Path) -> str:
    file = tmp_path / "error.txt"
    file.write_text("Failure # 1\nstudy.training.gpu_memory.OutOfGpuMemory: CUDA out of memory\n")
    return str(file)


def progress() -> Progress:
    return Progress({ID: 1.0}, {})


def test_a_trial_that_is_queued_again_asks_for_more_at_no_restart(out_of_memory: str) -> None:
    shares, told, trial = {ID: 0.25}, progress(), Trial(out_of_memory)
    scheduler = LargerShares(shares, 2, told)
    scheduler.on_trial_error(None, trial)
    assert trial.asked == [{"cpu": 2, "gpu": 0.5}]
    assert trial.max_failures == 4
    assert shares == {ID: 0.5}
    assert not scheduler.owed
    assert told.enlarged == 1


def test_a_trial_that_tune_gives_up_is_owed_a_run_with_more(out_of_memory: str, tmp_path: Path) -> None:
    shares, told, trial = {ID: 0.25}, progress(), Trial(out_of_memory, status=TuneTrial.RUNNING)
    scheduler = LargerShares(shares, 2, told)
    results = Results(tmp_path)
    results.create()
    events = Events(told, Display(told), results, {ID: ONE}, Watch({ID: 60.0}), scheduler.owed)
    scheduler.on_trial_error(None, trial)
    events.on_trial_error(0, [], trial)
    assert scheduler.resources()({"trial_id": ID}) == {"cpu": 2, "gpu": 0.5}
    assert scheduler.owed == {ID}
    assert (told.done, told.retries, told.enlarged) == ({}, 1, 1)
    assert "out of GPU memory at 0.25 of a GPU, again at 0.5" in told.summary()
    assert results.read_row(ID) is None


@pytest.mark.parametrize("status", [TuneTrial.ERROR, TuneTrial.RUNNING])
def test_with_a_whole_gpu_it_is_a_failure_like_any_other(out_of_memory: str, tmp_path: Path, status: str) -> None:
    shares, told, trial = {ID: 1.0}, progress(), Trial(out_of_memory, status=status)
    scheduler = LargerShares(shares, 2, told)
    scheduler.on_trial_error(None, trial)
    assert (trial.asked, trial.max_failures, shares, scheduler.owed) == ([], 3, {ID: 1.0}, set())
    results = Results(tmp_path)
    results.create()
    Events(told, Display(told), results, {ID: ONE}, Watch({ID: 60.0}), scheduler.owed).on_trial_error(0, [], trial)
    assert told.failures == {ID: "study.training.gpu_memory.OutOfGpuMemory: CUDA out of memory"}
    row: Any = results.read_row(ID)
    assert row["status"] == "failed"


def test_other_errors_change_no_share(tmp_path: Path) -> None:
    file = tmp_path / "error.txt"
    file.write_text("Failure # 1\nOutOfGpuMemory: once\nFailure # 2\nZeroDivisionError: now\n")
    shares, trial = {ID: 0.25}, Trial(str(file), status=TuneTrial.RUNNING)
    scheduler = LargerShares(shares, 2, progress())
    scheduler.on_trial_error(None, trial)
    assert (shares, scheduler.owed) == ({ID: 0.25}, set())


def test_shares_end_at_a_whole_gpu_after_few_steps(out_of_memory: str) -> None:
    shares, told = {ID: 0.0625}, progress()
    scheduler = LargerShares(shares, 1, told)
    for _ in range(20):
        scheduler.on_trial_error(None, Trial(out_of_memory, status=TuneTrial.RUNNING))
    assert shares == {ID: 1.0}
    assert told.enlarged <= 5
