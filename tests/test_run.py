"""The command line: what it prints, what it refuses, and real runs through Ray that are killed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.simulated_cluster import trial_processes
from search_spaces import Request, plan
from study.results.folder import Results
from study.results.schema import ROW_SCHEMA, empty_row
from study.run import main
from tests.trials.small import timeless

SMALL = ["--grid", "smoke", "--epochs", "2", "--train-size", "64", "--test-size", "20", "--seeds", "0"]


def command(results: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "study.run", *SMALL, "--results", str(results), "--no-report", *options]


def rows(results: Path) -> dict[str, dict[str, object]]:
    return {r["trial_id"]: r for r in Results(results).read_rows()[0]}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--grid", "nope"], "unknown grid 'nope'; valid grids: smoke"),
        ([*SMALL, "--select", "model=vgg"], "valid: m1_8"),
        ([*SMALL, "--select", "colour=red"], "valid keys: space"),
        ([*SMALL, "--select", "batch_size"], "not KEY=VALUE"),
        ([*SMALL, "--epochs", "0"], "--epochs must be at least 1"),
        ([*SMALL, "--seeds", "a"], "not a list of numbers such as 0,1,2"),
        ([*SMALL, "--epsilons", "big"], "not a list of numbers such as 0.1,0.3"),
        ([*SMALL, "--epsilons", "0.7"], "no attack of these trials has it; valid: "),
        ([*SMALL, "--checkpoint-seconds", "-1"], "must be a number of seconds, at least 0"),
        ([*SMALL, "--trial-timeout", "0"], "must be a positive number of seconds"),
        ([*SMALL, "--seeds", "99999999999999999999"], "seed 99999999999999999999 is out of range"),
        ([*SMALL, "--gpus-per-trial", "2"], "not auto or a fraction"),
        ([*SMALL, "--cpus-per-trial", "0"], "must be at least 1"),
        ([*SMALL, "--replicas", "0"], "--replicas '0' is not auto or a whole number, at least 1"),
        ([*SMALL, "--train-size", "5000"], "train_size 5000 + val_size 240 is more than the 1437"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*options, "--results", str(tmp_path / "r"), "--no-report"]) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert len(printed.strip().splitlines()) == 1


def test_rows_of_a_newer_version_are_never_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trial_id = next(iter(plan(Request(grid="smoke", seeds=(0,)))))
    results = Results(tmp_path)
    results.create()
    schema = ROW_SCHEMA.with_metadata({**ROW_SCHEMA.metadata, b"schema_version": b"99"})
    file = tmp_path / f"trials/{trial_id}.parquet"
    pq.write_table(pa.Table.from_pylist([empty_row() | {"trial_id": trial_id}], schema=schema), file)
    before = file.read_bytes()
    for option in ("--dry-run", "--no-report"):
        assert main(["--grid", "smoke", "--seeds", "0", "--results", str(tmp_path), option]) == 2
        assert "a newer version of this program wrote 1 of these trials" in capsys.readouterr().err
    assert file.read_bytes() == before


def test_an_unknown_option_is_one_line_and_exit_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--grid", "smoke", "--frobnicate"])
    assert stop.value.code == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_missing_data_is_one_line_before_any_trial(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torchvision.datasets

    def no_network(*unused: object, **options: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(torchvision.datasets, "MNIST", no_network)
    data, results = tmp_path / "data", tmp_path / "r"
    options = ["--grid", "natural_training", "--select", "dataset=mnist", "--data-dir", str(data)]
    assert main([*options, "--results", str(results), "--no-report"]) == 2
    printed = capsys.readouterr().err
    assert str(data) in printed
    assert len(printed.strip().splitlines()) == 1
    assert rows(results) == {}


def test_dry_run_prints_the_work_and_does_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--grid", "natural_training", "--dry-run", "--results", str(tmp_path / "r")]) == 0
    printed = capsys.readouterr().out
    assert "1062 trials in 354 cells" in printed
    assert "to do: 1062 trials" in printed
    assert "estimated:" in printed
    assert not (tmp_path / "r").exists()


def test_the_same_command_again_runs_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = tmp_path / "r"
    options = [*SMALL, "--select", "batch_size=32,128", "--results", str(results), "--no-report"]
    assert main([*options, "--probes", "headline"]) == 0
    assert "5/5 done, 0 running, 0 failed" in capsys.readouterr().out
    first = rows(results)
    assert len(first) == 5
    shared = [r for r in first.values() if r["batch_size"] == 32 and r["momentum"] == 0]
    assert [r["regimes"] for r in shared] == [["lr", "lr_bs"]]
    assert json.loads((results / "study.json").read_text())["requests"][0]["grid"] == "smoke"

    assert main([*options, "--probes", "headline"]) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert rows(results) == first
    assert len(json.loads((results / "study.json").read_text())["requests"]) == 1


def test_killing_the_driver_and_a_worker_loses_nothing_and_changes_no_bit(tmp_path: Path) -> None:
    options = ["--select", "batch_size=8", "--epochs", "40", "--checkpoint-seconds", "0"]
    disturbed, undisturbed = tmp_path / "disturbed", tmp_path / "undisturbed"
    driver = subprocess.Popen(command(disturbed, *options), stdout=subprocess.DEVNULL, start_new_session=True)
    _wait_for(lambda: any((disturbed / "checkpoints").glob("*.pt")))
    driver.kill()
    driver.wait()
    kept = {p.name for p in (disturbed / "checkpoints").glob("*.pt")}
    assert kept

    again = subprocess.Popen(command(disturbed, *options), stdout=subprocess.PIPE, text=True)
    _wait_for(lambda: len(trial_processes(again.pid)) > 0)
    os.kill(trial_processes(again.pid)[0], signal.SIGKILL)
    printed, _ = again.communicate(timeout=240)
    assert again.returncode == 0, printed
    subprocess.run(command(undisturbed, *options), check=True, stdout=subprocess.DEVNULL, timeout=240)

    one, other = rows(disturbed), rows(undisturbed)
    assert one.keys() == other.keys()
    assert len(one) == 3
    for trial_id in one:
        assert timeless(one[trial_id]) == timeless(other[trial_id])
    assert not list((disturbed / "checkpoints").iterdir())


def test_ctrl_c_says_how_to_continue(tmp_path: Path) -> None:
    driver = subprocess.Popen(
        command(tmp_path / "r", "--epochs", "60"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background jobs ignore Ctrl-C, and so would this child of a test run in one.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    _wait_for(lambda: len(trial_processes(driver.pid)) > 0)
    driver.send_signal(signal.SIGINT)
    _, errors = driver.communicate(timeout=60)
    assert driver.returncode == 130
    assert "same command again" in errors
    assert "Traceback" not in errors


def _wait_for(condition: object, seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "the condition did not become true"
        time.sleep(0.05)
