"""Trackers log every trial; none of them can end or change a study."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from study import options
from study.options import OptionError
from study.results.folder import Results
from study.run import main
from study.trials.execute_batched import execute_batched
from study.tuning import trackers
from study.tuning.settings import TrackerError
from study.tuning.trackers import MAX_ERRORS, PROJECT, Trackers
from tests.cluster.scripts import run_script
from tests.stored import results_in
from tests.trials.small import planned, tensors, trial

PLANNED = planned(trial(epochs=3))
TRIAL_ID = PLANNED.trial.trial_id
HIGH_LR = planned(trial(epochs=3, learning_rate=1e6))

DONE = {"status": "ok", "test_acc": 0.75, "fgsm_acc": 0.5, "pgd_acc": math.nan, "lambda1_test": None}
DIVERGED = {"status": "diverged", "status_reason": "loss nan in epoch 2", "test_acc": None, "train_loss": math.nan}


def epoch(number: int, loss: float | None = None) -> dict[str, Any]:
    """A report as a worker makes it, with what Tune adds."""
    loss = 1 / number if loss is None else loss
    report = {"epoch": number, "lr": 0.1, "train_loss": loss, "val_acc": 0.5, "resumed_at": 0, "epochs": 3}
    return {**report, "training_iteration": 7, "pid": 4, "done": False}


class Spy:
    """A tracker that records what it gets; raises in one of the calls."""

    def __init__(self, raises: str = "", last_epoch: int = 0) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.last_epoch = last_epoch
        self._raises = raises

    def _record(self, name: str, *arguments: Any) -> None:
        self.calls.append((name, *arguments))
        if name == self._raises:
            raise ConnectionError("the server is gone")

    def open(self, key: str, settings: Mapping[str, Any]) -> Spy:
        self._record("open", key, settings)
        return self

    def log(self, metrics: Mapping[str, float], epoch: int) -> None:
        self._record("log", metrics, epoch)

    def end(self, status: str, reason: str, metrics: Mapping[str, float], epoch: int) -> None:
        self._record("end", status, reason, metrics, epoch)


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return results_in(tmp_path / "results", study={"id": "study"})


def spied(spy: Spy, results: Results, monkeypatch: pytest.MonkeyPatch) -> Trackers:
    monkeypatch.setitem(trackers.TRACKERS, "mlflow", lambda uri: spy)
    return Trackers({"mlflow": "uri"}, results)


def a_study(all_trackers: Trackers, epochs: int = 2) -> None:
    """One trial whose worker is lost once, and one that is interrupted."""
    with all_trackers:
        all_trackers.started(PLANNED)
        for number in range(1, epochs + 1):
            all_trackers.reported(TRIAL_ID, epoch(number))
        all_trackers.started(PLANNED)
        all_trackers.reported(TRIAL_ID, epoch(epochs))
        all_trackers.reported(TRIAL_ID, {"probes_answered": 1})
        all_trackers.ended(TRIAL_ID, DONE)
        all_trackers.started(HIGH_LR)


def test_a_tracker_gets_each_epoch_once_and_finite_numbers_only(
    results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    spy = Spy()
    a_study(spied(spy, results, monkeypatch))
    first, *others = spy.calls
    assert first[1] == f"{TRIAL_ID}-study"
    assert first[2] == {"trial_id": TRIAL_ID, **PLANNED.trial.to_dict(), "results": results.location}
    assert [call for call in others if call[0] != "open"] == [
        ("log", {"epoch/lr": 0.1, "epoch/train_loss": 1.0, "epoch/val_acc": 0.5}, 1),
        ("log", {"epoch/lr": 0.1, "epoch/train_loss": 0.5, "epoch/val_acc": 0.5}, 2),
        ("end", "ok", "", {"test_acc": 0.75, "fgsm_acc": 0.5}, 2),
        ("end", "interrupted", "", {}, 3),
    ]


def test_two_folders_at_one_path_have_runs_of_their_own(results: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    spies = [Spy(), Spy()]
    for spy, study_id in zip(spies, ("first", "other"), strict=True):
        results.write_study({"id": study_id})
        a_study(spied(spy, results, monkeypatch))
    assert [spy.calls[0][1] for spy in spies] == [f"{TRIAL_ID}-first", f"{TRIAL_ID}-other"]


def test_a_run_goes_on_after_the_last_epoch_that_the_tracker_has(
    results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    spy = Spy(last_epoch=1)
    a_study(spied(spy, results, monkeypatch), epochs=3)
    assert [call[-1] for call in spy.calls if call[0] == "log"] == [2, 3]


def test_networks_that_were_trained_together_have_their_epochs_logged(
    results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those that diverged, which have no trial of their own afterwards."""
    group = [planned(trial(seed=seed, epochs=3)) for seed in range(2)]
    execute_batched(group[0], tensors(), results, groups={group[0].trial.trial_id: group}, replicas=2)
    spy = Spy()
    with spied(spy, results, monkeypatch) as logged:
        logged.started(group[0])
        logged.ended(group[0].trial.trial_id, DIVERGED)
    assert [call[-1] for call in spy.calls[1:]] == [1, 2, 3, 3]
    assert spy.calls[-1][:3] == ("end", "diverged", "loss nan in epoch 2")


def test_an_error_is_printed_and_the_next_event_is_sent(
    results: Results, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spy = Spy("end")
    a_study(spied(spy, results, monkeypatch))
    assert [call[0] for call in spy.calls] == ["open", "log", "log", "end", "open", "end"]
    assert capsys.readouterr().err == 2 * "mlflow: ConnectionError: the server is gone; the study continues\n"


def test_a_tracker_that_keeps_failing_is_turned_off(
    results: Results, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spy = Spy("log")
    a_study(spied(spy, results, monkeypatch), epochs=10)
    assert [call[0] for call in spy.calls] == ["open"] + MAX_ERRORS * ["log"]
    assert capsys.readouterr().err.splitlines()[-1].endswith("it is turned off")


def test_a_tracker_that_cannot_start_is_refused_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def start(uri: str) -> trackers.Tracker:
        raise ConnectionError("nobody listens\nat this port")

    monkeypatch.setitem(trackers.TRACKERS, "mlflow", start)
    monkeypatch.setitem(options.TRACKER_PACKAGES, "mlflow", "ray")
    assert main(["--grid", "smoke", "--mlflow", "http://localhost:1", "--results", str(tmp_path / "r")]) == 2
    assert capsys.readouterr().err == (
        "study.run: --mlflow 'http://localhost:1' cannot be used: ConnectionError: nobody listens\n"
    )
    assert list((tmp_path / "r" / "trials").iterdir()) == []


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


def two_commands(name: str, place: str, results: Results) -> None:
    """A trial that is interrupted in its second epoch and continued from its first; one that diverges."""
    with Trackers({name: place}, results) as first:
        first.started(PLANNED)
        first.reported(TRIAL_ID, epoch(1))
        first.reported(TRIAL_ID, epoch(2))
        first.started(HIGH_LR)
        first.reported(HIGH_LR.trial.trial_id, epoch(1, loss=math.inf))
        first.ended(HIGH_LR.trial.trial_id, DIVERGED)
    with Trackers({name: place}, results) as second:
        second.started(PLANNED)
        second.reported(TRIAL_ID, epoch(2))
        second.reported(TRIAL_ID, epoch(3))
        second.ended(TRIAL_ID, DONE)


def test_mlflow_keeps_one_run_for_each_trial_in_a_file(results: Results, tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    two_commands("mlflow", uri, results)
    client = mlflow.MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(PROJECT).experiment_id
    runs = {run.info.run_name: run for run in client.search_runs([experiment])}
    assert set(runs) == {TRIAL_ID, HIGH_LR.trial.trial_id}
    done, diverged = runs[TRIAL_ID], runs[HIGH_LR.trial.trial_id]
    history = client.get_metric_history(done.info.run_id, "epoch/train_loss")
    assert [(metric.step, metric.value) for metric in history] == [(1, 1.0), (2, 0.5), (3, 1 / 3)]
    assert done.info.status == "FINISHED"
    assert done.data.params["batch_size"] == str(PLANNED.trial.batch_size)
    assert {"test_acc", "fgsm_acc"} <= set(done.data.metrics)
    assert not {"pgd_acc", "lambda1_test"} & set(done.data.metrics)
    assert diverged.info.status == "FAILED"
    assert diverged.data.tags["status"] == "diverged"
    assert diverged.data.tags["status_reason"] == DIVERGED["status_reason"]
    assert set(diverged.data.metrics) == {"epoch/lr", "epoch/val_acc"}

    (tmp_path / "file").write_text("in the way")
    with pytest.raises(TrackerError, match=r"--mlflow 'sqlite:///.*/file/mlflow.db' cannot be used"):
        Trackers({"mlflow": f"sqlite:///{tmp_path}/file/mlflow.db"}, results)


OFFLINE = """
import sys
from study.results.folder import Results
from tests.tuning.test_trackers import two_commands
two_commands("wandb", "project", Results(sys.argv[1]))
"""


def wandb_records(file: Path) -> Iterator[Any]:
    """The records of an offline file: a header of 7 bytes, then LevelDB's log of blocks of 32 KiB."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, at, whole = file.read_bytes(), 7, b""
    while at + 7 <= len(content):
        left = 2**15 - at % 2**15
        if left < 7:
            at += left
            continue
        length, kind = struct.unpack("<HB", content[at + 4 : at + 7])
        whole += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # a whole record, or the last part of one
            yield Record.FromString(whole)
            whole = b""


def test_wandb_offline_keeps_its_files_where_the_user_is_told(results: Results, tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    done = run_script(OFFLINE, results.location, WANDB_MODE="offline", WANDB_DIR=str(tmp_path))
    message = f"wandb is offline: its files are in {tmp_path}/wandb; `wandb sync` sends them\n"
    assert (done.stdout, done.stderr) == (2 * message, "")
    runs: dict[str, list[list[Any]]] = {}
    for file in sorted((tmp_path / "wandb").glob("offline-run-*/*.wandb")):
        runs.setdefault(file.stem[4:].partition("-")[0], []).append(list(wandb_records(file)))
    first, second = runs[TRIAL_ID]
    (diverged,) = runs[HIGH_LR.trial.trial_id]

    def history(records: list[Any]) -> list[tuple[int, dict[str, Any]]]:
        entries = [record.history for record in records if record.HasField("history")]
        return [
            (
                entry.step.num,
                {(item.key or item.nested_key[0]): json.loads(item.value_json) for item in entry.item},
            )
            for entry in entries
        ]

    def exit_codes(records: list[Any]) -> list[int]:
        return [record.exit.exit_code for record in records if record.HasField("exit")]

    assert [step for step, _ in history(first)] == [1, 2]
    assert [step for step, _ in history(second)] == [2, 3]
    assert history(second)[-1][1]["test_acc"] == 0.75
    assert "pgd_acc" not in history(second)[-1][1]
    assert (exit_codes(first), exit_codes(second), exit_codes(diverged)) == ([1], [0], [1])
    tags = [list(record.run.tags) for record in diverged if record.HasField("run")]
    assert tags[-1] == ["diverged"]


def test_wandb_without_an_account_is_refused_at_the_start(results: Results, tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    done = run_script(
        "import sys; from study.run import main; sys.exit(main(sys.argv[1:]))",
        *("--grid", "smoke", "--wandb", "project", "--results", str(tmp_path / "r")),
        status=2, WANDB_MODE="online", WANDB_API_KEY="", HOME=str(tmp_path), WANDB_DIR=str(tmp_path),
    )  # fmt: skip
    assert done.stderr.startswith("study.run: --wandb 'project' cannot be used: UsageError: No API key configured")
    assert done.stderr.count("\n") == 1


def test_tensorboard_goes_on_with_the_steps_of_a_trial(results: Results, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    two_commands("tensorboard", str(tmp_path / "board"), results)

    def read(trial_id: str) -> EventAccumulator:
        folder = str(tmp_path / "board" / trial_id)
        return EventAccumulator(folder).Reload()

    done, diverged = read(TRIAL_ID), read(HIGH_LR.trial.trial_id)
    steps = [(event.step, event.value) for event in done.Scalars("epoch/train_loss")]
    assert steps == [(1, 1.0), (2, 0.5), (3, pytest.approx(1 / 3))]
    assert done.Scalars("fgsm_acc")[-1].value == 0.5
    assert "pgd_acc" not in done.Tags()["scalars"]
    assert "epoch/train_loss" not in diverged.Tags()["scalars"]

    def statuses(events: EventAccumulator) -> list[str]:
        return [event.tensor_proto.string_val[0].decode() for event in events.Tensors("status/text_summary")]

    assert statuses(done)[-1] == "ok"
    assert statuses(diverged) == ["diverged loss nan in epoch 2"]
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(TrackerError, match="--tensorboard"):
        Trackers({"tensorboard": str(tmp_path / "file" / "board")}, results)


SCRIPT = """
import sys
from study import options
from study.run import main
from study.tuning import trackers
from tests.tuning.test_trackers import Spy

trackers.TRACKERS["mlflow"] = lambda uri: Spy("open")
trackers.TRACKERS["wandb"] = lambda project: Spy("log")
options.TRACKER_PACKAGES.update(mlflow="ray", wandb="ray")
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_a_study_outlives_trackers_that_raise_while_another_writes(tmp_path: Path) -> None:
    board = tmp_path / "board"
    arguments = [
        "--grid", "smoke", "--select", "batch_size=64,128", "regime=lr", "--epochs", "2", "--train-size", "128",
        "--test-size", "20", "--seeds", "0", "--probes", "headline", "--max-concurrent", "1", "--no-report",
        "--results", str(tmp_path / "r"), "--mlflow", "u", "--wandb", "p", "--tensorboard", str(board),
    ]  # fmt: skip
    done = run_script(SCRIPT, *arguments)
    assert "2/2 done, 0 running, 0 failed" in done.stdout
    rows = {path.stem for path in (tmp_path / "r" / "trials").glob("*.parquet")}
    assert len(rows) == 2
    written = {path.parent.name: path.read_bytes() for path in board.glob("*/events.out.tfevents.*")}
    assert set(written) == rows
    assert all(b"epoch/train_loss" in content and b"fgsm_acc" in content for content in written.values())
    assert "mlflow: ConnectionError: the server is gone" in done.stderr
    assert "wandb: ConnectionError: the server is gone; it is turned off" in done.stderr
