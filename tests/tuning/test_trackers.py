"""Trackers log every trial; none of them can end or change a study."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray import tune

from study import options
from study.options import OptionError
from study.run import main
from study.tuning import trackers
from study.tuning.trackers import MAX_ERRORS, tracker_callbacks
from tests.cluster.scripts import run_script
from tests.trials.small import planned, trial

PLANNED = planned()
TRIAL_ID = PLANNED.trial.trial_id
TUNE_TRIAL = SimpleNamespace(config={"trial_id": TRIAL_ID}, trial_id=TRIAL_ID, local_path="unused")


class Spy(tune.Callback):
    """Records the calls that it gets; raises in one of them."""

    def __init__(self, raises: str = "") -> None:
        self.calls: list[tuple[str, Any]] = []
        self._raises = raises

    def _record(self, hook: str, argument: Any) -> None:
        self.calls.append((hook, argument))
        if hook == self._raises:
            raise ConnectionError("the server is gone")

    def setup(self, **info: Any) -> None:
        self._record("setup", info)

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._record("start", trial)

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: Any, **info: Any) -> None:
        self._record("result", result)

    def on_experiment_end(self, trials: list[Any], **info: Any) -> None:
        self._record("end", None)


def hooks(spy: Spy, monkeypatch: pytest.MonkeyPatch, results: int = 2) -> list[str]:
    """The hooks of a tracker that are called in a study of one trial."""
    monkeypatch.setitem(trackers.MAKERS, "mlflow", lambda uri: spy)
    (callback,) = tracker_callbacks({"mlflow": "uri"}, {TRIAL_ID: PLANNED})
    callback.setup(stop=None)
    callback.on_trial_start(iteration=0, trials=[TUNE_TRIAL], trial=TUNE_TRIAL)
    for epoch in range(results):
        callback.on_trial_result(iteration=0, trials=[TUNE_TRIAL], trial=TUNE_TRIAL, result={"epoch": epoch})
    callback.on_trial_complete(iteration=0, trials=[TUNE_TRIAL], trial=TUNE_TRIAL)
    callback.on_experiment_end(trials=[TUNE_TRIAL])
    return [hook for hook, _ in spy.calls]


def test_no_tracker_is_on_by_default() -> None:
    assert tracker_callbacks({}, {}) == []


def test_a_tracker_gets_every_event_and_the_studys_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    spy = Spy()
    assert hooks(spy, monkeypatch) == ["setup", "start", "result", "result", "end"]
    shown = dict(spy.calls)["start"]
    assert shown.config == {"trial_id": TRIAL_ID, **PLANNED.trial.to_dict()}
    assert shown.config["batch_size"] == trial().batch_size
    assert shown.trial_id == TRIAL_ID
    assert spy.calls[2][1] == {"epoch": 0}


def test_an_error_is_printed_and_the_next_event_is_sent(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert hooks(Spy("start"), monkeypatch) == ["setup", "start", "result", "result", "end"]
    assert capsys.readouterr().err == "mlflow: ConnectionError: the server is gone; the study continues\n"


def test_a_tracker_that_keeps_failing_is_turned_off(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    called = hooks(Spy("result"), monkeypatch, results=10)
    assert called.count("result") == MAX_ERRORS
    assert "end" not in called
    assert capsys.readouterr().err.splitlines()[-1].endswith("it is turned off")


def test_a_tracker_that_cannot_be_set_up_is_off(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert hooks(Spy("setup"), monkeypatch) == ["setup"]
    printed = capsys.readouterr().err
    assert printed == "mlflow is off: ConnectionError: the server is gone; the study continues without it\n"


@pytest.mark.parametrize("name", ["mlflow", "wandb", "tensorboard"])
def test_a_missing_package_is_one_line_before_anything_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(options.importlib.util, "find_spec", lambda package: None)
    assert main(["--grid", "smoke", f"--{name}", "x", "--results", str(tmp_path / "r")]) == 2
    expected = f"study.run: --{name} needs a package that is not installed: pip install -e '.[{name}]'\n"
    assert capsys.readouterr().err == expected
    assert not (tmp_path / "r").exists()


def test_a_password_in_a_uri_is_refused_as_commands_are_stored(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = options.parser().parse_args(["--grid", "smoke", "--mlflow", "https://me:hidden@host"])
    with pytest.raises(OptionError, match="no password in the URI") as refused:
        options.run_settings(arguments)
    assert "hidden" not in str(refused.value)


SCRIPT = """
import sys
from study.tuning import trackers
from study.run import main
from tests.tuning.test_trackers import Spy

trackers.MAKERS["mlflow"] = lambda uri: Spy("start")
trackers.MAKERS["wandb"] = lambda project: Spy("result")
from study import options
options.TRACKER_PACKAGES.update(mlflow="ray", wandb="ray")
sys.exit(main(sys.argv[1:]))
"""


def test_a_study_outlives_trackers_that_raise_while_another_writes(tmp_path: Path) -> None:
    board = tmp_path / "board"
    arguments = [
        "--grid", "smoke", "--select", "batch_size=64,128", "regime=lr", "--epochs", "2", "--train-size", "64",
        "--test-size", "20", "--seeds", "0", "--probes", "headline", "--max-concurrent", "1", "--no-report",
        "--results", str(tmp_path / "r"), "--mlflow", "u", "--wandb", "p", "--tensorboard", str(board),
    ]  # fmt: skip
    done = run_script(SCRIPT, *arguments)
    assert "2/2 done, 0 running, 0 failed" in done.stdout
    rows = {path.stem for path in (tmp_path / "r" / "trials").glob("*.parquet")}
    assert len(rows) == 2
    written = {path.parent.name: path.read_bytes() for path in board.glob("*/events.out.tfevents.*")}
    assert set(written) == rows
    assert all(b"fgsm_acc" in content for content in written.values())
    assert "mlflow: ConnectionError: the server is gone" in done.stderr
    assert "wandb: ConnectionError: the server is gone; it is turned off" in done.stderr
