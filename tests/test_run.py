"""The command line: what it prints, what it refuses, and real runs through Ray that are killed."""

import contextlib
import errno
import fcntl
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import nn

from analysis import report
from benchmarks.planted_study import planted_row
from benchmarks.simulated_cluster import trial_processes
from search_spaces import GRIDS, MEASURES, Request, plan
from search_spaces.smoke import DIGITS, SMOKE
from search_spaces.space import Curve
from study import listing, run, until_decided, verify
from study.attacks import ATTACKS
from study.data import DATASETS
from study.models import MODELS
from study.optimizers import OPTIMIZERS
from study.results import folder
from study.results.folder import Results
from study.results.run_lock import RunLock
from study.results.schema import ROW_SCHEMA, empty_row
from study.results.storage import Storage
from study.run import main
from study.tuning import costs, timing
from study.tuning.ends import LOST_RAY
from study.tuning.progress import Progress
from tests.cluster.multinode import gone, in_this_process, wait_for
from tests.commands import refused
from tests.results.small import write_parquet
from tests.stored import results_in
from tests.trials.small import timeless

SMALL = ["--grid", "smoke", "--epochs", "2", "--train-size", "128", "--test-size", "20", "--seeds", "0"]


def command(results: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "study.run", *SMALL, "--results", str(results), "--no-report", *options]


def rows(results: Path) -> dict[str, dict[str, Any]]:
    return {r["trial_id"]: r for r in Results(results).read_rows()[0]}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--grid", "nope"], "unknown grid 'nope'; valid grids: smoke"),
        ([*SMALL, "--select", "model=vgg"], "valid: mlp_256"),
        ([*SMALL, "--select", "colour=red"], "valid keys: space"),
        ([*SMALL, "--select", "batch_size"], "not KEY=VALUE"),
        ([*SMALL, "--epochs", "0"], "--epochs must be at least 1"),
        (["--grid", "smok"], "; did you mean 'smoke'?"),
        ([], "give a grid, such as --grid smoke"),
        ([*SMALL, "--select", "modle=any"], "; did you mean 'model'?"),
        ([*SMALL, "--select", f"model={DIGITS.model}x"], f"; did you mean '{DIGITS.model}'?"),
        ([*SMALL, "--seeds", "a"], "not a list of whole numbers such as 0,1,5 or 0-4"),
        ([*SMALL, "--seeds", "4-0"], "--seeds '4-0' is reversed: give 0-4"),
        ([*SMALL, "--seeds", "0-99999999999999999999"], "is more than 10,000 seeds"),
        ([*SMALL, "--seeds", "0,1-10001"], "--seeds '0,1-10001' is more than 10,000 seeds"),
        ([*SMALL, "--seeds=-1"], "seed -1 is out of range"),
        ([*SMALL, "--epsilons", "big"], "not a list of numbers such as 0.1,0.3"),
        ([*SMALL, "--epsilons", "1/0"], "not a list of numbers such as 0.1,0.3 or 8/255 or 1/255-8/255"),
        ([*SMALL, "--epsilons", "1.5"], "--epsilons 1.5 is not in (0, 1]: pixels are in [0, 1]"),
        ([*SMALL, "--epsilons", "nan"], "--epsilons nan is not in (0, 1]: pixels are in [0, 1]"),
        ([*SMALL, "--checkpoint-seconds", "-1"], "must be a number of seconds, at least 0"),
        ([*SMALL, "--track", "0"], "--track must be a positive share of the time of training, got 0"),
        ([*SMALL, "--trial-timeout", "0"], "must be a positive number of seconds"),
        ([*SMALL, "--seeds", "99999999999999999999"], "seed 99999999999999999999 is out of range"),
        ([*SMALL, "--gpus-per-trial", "2"], "not auto or a fraction"),
        ([*SMALL, "--cpus-per-trial", "0"], "must be at least 1"),
        ([*SMALL, "--replicas", "0"], "--replicas '0' is not auto or a whole number, at least 1"),
        ([*SMALL, "--seeds", "9" * 5000], "not a list of whole numbers such as 0,1,5"),
        ([*SMALL, "--mlflow", "http://[::1"], "--mlflow 'http://[::1' is not a URI"),
        ([*SMALL, "--test-size", "600", "--dry-run"], "test_size 600 is more than the 599 test images"),
        (["--grid", "smoke", "--until-decided", "A99"], "--until-decided: unknown claim 'A99'; valid: A1, A2"),
        (["--grid", "smoke", "--until-decided", "C1"], "cannot test C1; claims they can test: A1, A2"),
        (["--grid", "smoke", "--until-decided", "--seeds", "0-4"], "--until-decided chooses the seeds itself"),
        (["--grid", "smoke", "--until-decided", "--max-seeds", "4"], "--max-seeds must be one of 3, 5, 8, 12"),
        (["--grid", "smoke", "--max-seeds", "5"], "--max-seeds and --hours go with --until-decided"),
        (["--grid", "smoke", "--until-decided", "--hours", "0"], "--hours must be a positive number of hours"),
        ([*SMALL, "--train-size", "5000"], "train_size 5000 + val_size 174 is more than the 1198"),
        (
            [*SMALL, "--train-size", "16", "--dry-run"],
            "batch sizes 32, 64 and 128 exceed the 16 training images; use --select batch_size=8,16 or a larger --tr",
        ),
        ([*SMALL, "--train-size", "100"], "batch size 128 exceeds the 100 training images; use --select batch_size=8,"),
        (
            [*SMALL, "--train-size", "7"],
            "8, 16, 32, 64 and 128 exceed the 7 training images; use a larger --train-size",
        ),
    ],
)
def test_bad_input_is_one_line_and_exit_2(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused(capsys, main, [*options, "--results", str(tmp_path / "r"), "--no-report"], message)


def test_rows_of_a_newer_version_are_never_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trial_id = next(iter(plan(Request(grid="smoke", seeds=(0,)))))
    results_in(tmp_path)
    schema = ROW_SCHEMA.with_metadata({**ROW_SCHEMA.metadata, b"schema_version": b"99"})
    file = tmp_path / f"trials/{trial_id}.parquet"
    write_parquet(pa.Table.from_pylist([empty_row() | {"trial_id": trial_id}], schema=schema), file)
    before = file.read_bytes()
    for option in ("--dry-run", "--no-report"):
        command = ["--grid", "smoke", "--seeds", "0", "--results", str(tmp_path), option]
        refused(capsys, main, command, "a newer version of this program wrote 1 of these trials")
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--results", "", "is not a folder"),
        ("--results", "-x", "is not a folder"),
        ("--results", "/dev/null", "is a file, not a folder"),
        ("--results", __file__, "is a file, not a folder"),
        ("--results", "s3:/bucket", "is not a folder or a URI such as s3://BUCKET/FOLDER"),
        ("--results", "mock://bucket/folder", "is not a folder or a URI"),
        ("--results", "~nosuchuser/r", "there is no such user"),
        ("--results", "a" * 300, "File name too long"),
        ("--results", "\udcff\udcfe", "is not valid UTF-8"),
        ("--data-dir", "~nosuchuser", "there is no such user"),
        ("--grid", "~nosuchuser/mine.py", "there is no study file ~nosuchuser/mine.py"),
        ("--grid", f"{'a' * 300}.py", "File name too long"),
        ("--dataset", "~nosuchuser/cats", "~nosuchuser/cats is no folder"),
        ("--address", "garbage", "--address 'garbage' is not auto or HOST:PORT"),
        ("--address", "", "--address '' is not auto or HOST:PORT"),
    ],
)
def test_places_that_cannot_be_meant_are_refused_before_anything_is_made(
    option: str, value: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    refused(capsys, main, [*SMALL, f"{option}={value}", "--no-report"], message)
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_does_not_answer_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(folder, "ANSWER_SECONDS", 0.2)
    monkeypatch.setattr(Storage, "has_folder", lambda self, name: time.sleep(2))
    store = "s3://bucket/folder?region=x"
    for command, arguments in ((main, [*SMALL, "--dry-run", "--results"]), (report.main, []), (verify.main, [])):
        said = "does not answer within 0 s: check the network and the credentials"
        refused(capsys, command, [*arguments, store], said)


@pytest.mark.parametrize(
    ("command", "name", "message"),
    [
        (verify.main, "README.md", "README.md is a file, not a results folder"),
        (report.main, "README.md", "README.md is a file, not a results folder"),
        (verify.main, "rows.parquet", "rows.parquet is a packed study: unpack it with python -m study.pack"),
    ],
)
def test_a_file_in_place_of_a_results_folder_is_named_as_one(
    command: Any, name: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_text("a text")
    refused(capsys, command, [str(tmp_path / name)], message)


def test_many_damaged_files_are_counted_not_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results_in(tmp_path)
    for i in range(30):
        (tmp_path / "trials" / f"{i}.parquet").write_text("junk")
    assert main([*SMALL, "--dry-run", "--results", str(tmp_path)]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 6
    assert lines[-1] == "skipped 25 more files in trials/"


def test_many_failures_are_counted_not_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [f"trial{i}" for i in range(30)]
    progress = Progress(dict.fromkeys(names, 1.0), dict.fromkeys(names, "digits"))
    for name in names:
        progress.finish(name, "failed", {"status_reason": "planted"})
    run._print_failures(progress, Results(tmp_path))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6
    assert lines[0] == f"failed: digits: planted (log: {tmp_path}/logs/trial0.txt)"
    assert lines[-1] == f"failed: 25 more; their logs are in {tmp_path}/logs"


def test_a_terminal_of_another_encoding_is_no_error(tmp_path: Path) -> None:
    folder = tmp_path / "λ"
    done = subprocess.run(
        [sys.executable, "-m", "study.run", *SMALL, "--dry-run", "--results", str(folder)],
        env={**os.environ, "PYTHONIOENCODING": "ascii"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "\\u03bb" in done.stdout


@pytest.mark.parametrize(
    ("option", "suggested"),
    [
        ("--frobnicate", ""),
        ("--sedes=0", "did you mean '--seeds'?"),
        ("--dryrun", "did you mean '--dry-run'?"),
        ("--epochs=--", "argument --epochs: expected one argument"),
        ("smoke", "did you mean --grid smoke?"),
        ("--precision=bf61", "did you mean 'bf16'?"),
    ],
)
def test_an_unknown_option_is_one_line_and_exit_2(
    option: str, suggested: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--grid", "smoke", option])
    assert stop.value.code == 2
    printed = capsys.readouterr().err
    assert suggested in printed
    assert len(printed.strip().splitlines()) == 1


def test_help_fits_a_terminal_and_its_examples_are_commands(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    examples = re.findall(r"^  python -m study\.run (--.*)", printed.replace("\\\n", " "), re.MULTILINE)
    assert len(examples) >= 3
    for example in examples:
        assert main([*shlex.split(example), *["--dry-run"] * ("--list" not in example)]) == 0


def test_version_and_list_need_no_grid(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert re.fullmatch(r"sgd-robustness-study \d+\.\d+\.\d+\n", capsys.readouterr().out)
    assert main(["--list"]) == 0
    printed = capsys.readouterr().out.splitlines()
    named = {line.split()[0] for line in printed if line.startswith("  ")}
    assert named == {*GRIDS, *MODELS, *DATASETS, *OPTIMIZERS, *MEASURES, *ATTACKS}
    listed = [*GRIDS, *MODELS, *DATASETS, *OPTIMIZERS, *MEASURES, *ATTACKS]
    assert len(printed) == len(listed) + 6  # a line each, and the titles
    assert all(len(line.split()) > 3 for line in printed if line.startswith("  "))


@pytest.mark.parametrize("columns", [1, 22, 80])
def test_the_list_is_printed_on_a_terminal_of_any_width(columns: int, capsys: pytest.CaptureFixture[str]) -> None:
    listing.print_all(columns)
    assert set(GRIDS) <= set(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("options", "undecided", "failed", "following"),
    [
        (
            "--grid sgd_variants --select model=m1 --seeds 0,1",
            True,
            True,
            "--grid sgd_variants --select model=m1 --seeds 0,1",
        ),
        (
            "--grid sgd_variants --select model=vgg11",
            True,
            False,
            "--grid sgd_variants --select model=vgg11 --seeds 0-4",
        ),
        ("--grid sgd_variants --seeds=0-4", True, False, "--grid sgd_variants --seeds 0-7"),
        ("--grid sgd_variants --seeds 0-7", True, False, None),
        ("--grid sgd_variants --seeds 0-7 --epochs 1", True, False, "--grid sgd_variants --dry-run"),
        (
            "--results /a --grid sgd_variants --seeds 0-7 --epochs 1 --data-dir=/b --mlflow u --address auto",
            True,
            False,
            "--grid sgd_variants --results /a --data-dir=/b --address auto --dry-run",
        ),
        ("--grid sgd_variants", False, False, None),
        ("--grid sgd_variants --until-decided", True, False, None),
        ("--grid sgd_variants --until-decided=B1", True, True, "--grid sgd_variants --until-decided=B1"),
        ("--grid smoke", True, False, "--grid smoke --seeds 0-7"),
        ("--grid smoke --seeds 0-7", True, False, "--grid mnist_quick"),
        ("--grid smoke --results a --data-dir b", False, False, "--grid mnist_quick --data-dir b"),
        ("--grid mnist_quick", True, False, "--grid mnist_quick --seeds 0-4"),
    ],
)
def test_the_next_command_is_for_failures_then_seeds_then_the_rest(
    options: str, undecided: bool, failed: bool, following: str | None
) -> None:
    argv = options.split()
    request = run.options.request(run.options.parser().parse_args(argv))
    found = run._next_command(request, plan(request), argv, undecided=undecided, again=failed)
    assert found == (following and f"python -m study.run {following}")


def test_a_second_select_adds_to_the_first() -> None:
    for _ in range(2):  # the parser's default stays empty
        given = run.options.parser().parse_args(
            [*SMALL, "--select", "model=m1", "batch_size=8", "--select", "model=m2"]
        )
        assert run.options.request(given).select == {"model": ("m1", "m2"), "batch_size": ("8",)}


@pytest.mark.parametrize(("given", "recorded"), [([], True), (["--no-cuda-graphs"], False)])
def test_training_steps_are_recorded_as_cuda_graphs_unless_told_otherwise(given: list[str], recorded: bool) -> None:
    assert run.options.run_settings(run.options.parser().parse_args([*SMALL, *given])).cuda_graphs is recorded


def test_seeds_may_be_ranges(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--grid", "smoke", "--seeds", "0-2,7", "--dry-run", "--results", str(tmp_path / "r")]) == 0
    assert "grid smoke: 56 trials in 14 settings" in capsys.readouterr().out


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
    said, printed = capsys.readouterr()
    assert f"downloading mnist to {data}" in said
    assert str(data) in printed
    assert len(printed.strip().splitlines()) == 1
    assert rows(results) == {}


def test_dry_run_prints_the_work_by_curve_and_does_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--grid", "full", "--dry-run", "--results", str(tmp_path / "r")]) == 0
    grid, printed = plan(Request("full")), capsys.readouterr().out.splitlines()
    assert f"{len(grid)} trials in" in printed[0]
    assert f"to run: {len(grid)} trials, " in printed[1]
    curves = [line for line in printed if re.match(r" *\d+/\d+ ", line)]
    assert sum(int(line.partition("/")[0]) for line in curves) == len(grid)
    assert len(printed) < 140
    assert max(map(len, curves)) <= 80
    assert " mnist m1_20 lr m 0 bs 16-1024 seeds 0-2" in "\n".join(curves)
    assert any(line.endswith("(estimated from the authors' machine)") for line in printed)
    assert "?" not in "".join(printed)  # every model of the papers was measured
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("address", ["10.0.0.1:6379", "local"])
def test_dry_run_of_another_cluster_neither_checks_nor_counts_this_machines_cpus(
    address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("study.run.usable_cpus", lambda: 3)
    options = [*SMALL, "--results", str(tmp_path / "r"), "--dry-run", "--address", address]
    assert main(options) == 0
    assert (" on one core, " in capsys.readouterr().out) == (address == "local")
    assert main([*options, "--cpus-per-trial", "4096"]) == (2 if address == "local" else 0)


@pytest.mark.parametrize(
    ("share", "said"),
    [
        ("1000", "tracked while they train: 14 of 14 networks, up to"),
        ("1e-9", "a share of 1e-09 allows no measurement for these networks; use a larger --track"),
    ],
)
def test_dry_run_says_what_tracking_costs(
    share: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*SMALL, "--results", str(tmp_path), "--dry-run", "--track", share]) == 0
    assert said in " ".join(capsys.readouterr().out.split())


def test_dry_run_says_which_costs_are_guesses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An attack's that nobody has measured; a model is timed."""
    monkeypatch.setattr(costs, "IMAGE_SECONDS", {})
    monkeypatch.setattr(costs, "ATTACK_PASSES", {})
    assert main([*SMALL, "--dry-run", "--results", str(tmp_path / "r")]) == 0
    printed = capsys.readouterr().out
    assert len(re.findall(r"^ *\d+/\d+ +~[\d:]+\? ", printed, re.MULTILINE)) == 3
    assert "for models or attacks whose cost is not measured" in printed
    assert "from steps timed here" in printed


def test_dry_run_tells_what_is_finished_from_what_is_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = results_in(tmp_path)
    for trial_id, planned in plan(Request("smoke", seeds=(0,))).items():
        if "benchmark" in planned.regimes:
            results.write_row(empty_row() | {"trial_id": trial_id, "status": "diverged"})
    assert main(["--grid", "smoke", "--seeds", "0", "--dry-run", "--results", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    network = f"{DIGITS.dataset} {DIGITS.model}"
    assert re.search(rf"^ *0/5 +done  {network} benchmark m 0\.9 bs 8-128 seed 0$", printed, re.MULTILINE)
    assert re.search(rf"^ *5/5 +~[\d:]+  {network} lr m 0 bs 8-128 seed 0$", printed, re.MULTILINE)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "m1_9"}, "unknown model 'm1_9'; valid: "),
        ({"model": "m1_9"}, "did you mean 'm1_"),
        ({"dataset": "digit"}, "did you mean 'digits'?"),
        ({"optimizer": "sgdd"}, "did you mean 'sgd'?"),
        ({"schedule": "cosine"}, "unknown schedule 'cosine'"),
        ({"augmentation": "crop"}, "unknown augmentation 'crop'"),
        ({"model": "picky"}, "model picky: images of 3x3 pixels are too small"),
        ({"optimizer": "adam", "momentum": 0.5}, "momentum"),
    ],
)
def test_a_grid_of_ones_own_that_cannot_run_is_refused_before_anything_runs(
    changes: dict[str, Any], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def picky(**shapes: object) -> nn.Module:
        raise ValueError("images of 3x3 pixels are too small")

    monkeypatch.setitem(MODELS, "picky", picky)
    wrong = replace(SMOKE, name="mine", curves=(Curve("lr", (replace(DIGITS, **changes),)),))
    monkeypatch.setitem(GRIDS, "mine", (wrong,))
    refused(capsys, main, ["--grid", "mine", "--results", str(tmp_path / "r")], message)
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--cpus-per-trial", "4096"], "each trial needs 4096 CPUs"),
        (["--results", "/dev/null/results"], "cannot be written to"),
        pytest.param(
            ["--precision", "tf32"], "needs NVIDIA GPUs",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU"),
        ),
    ],
)  # fmt: skip
def test_dry_run_refuses_what_the_machine_cannot_run(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused(capsys, main, [*SMALL, "--results", str(tmp_path / "r"), *options, "--dry-run"], message)


def test_dry_run_says_what_would_be_downloaded_and_finds_damaged_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    options = ["--grid", "natural_training", "--select", "dataset=mnist", "--data-dir", str(data), "--dry-run"]
    options += ["--results", str(tmp_path / "r")]
    assert main(options) == 0
    assert f"a run downloads mnist to {data} first" in capsys.readouterr().out
    raw = data / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (raw / f"{name}-ubyte").write_bytes(b"junk")
    assert main(options) == 2
    assert str(raw) in capsys.readouterr().err


def test_a_data_folder_that_cannot_be_read_is_one_line_and_exit_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for place, message in (("~nosuchuser", "there is no such user"), ("a" * 300, "File name too long")):
        monkeypatch.setenv("STUDY_DATA_DIR", place)
        refused(capsys, main, ["--grid", "mnist_quick", "--dry-run", "--results", str(tmp_path)], message)


def test_a_dry_run_refuses_a_damaged_record_as_a_run_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results_in(tmp_path)
    (tmp_path / "study.json").write_text("{")
    refused(capsys, main, [*SMALL, "--dry-run", "--results", str(tmp_path)], "study.json is damaged")


def test_dry_run_beside_a_run_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with RunLock(results_in(tmp_path)):
        assert main([*SMALL, "--dry-run", "--results", str(tmp_path)]) == 0
    assert f"a command runs on these results now (process {os.getpid()}" in capsys.readouterr().out


def test_a_second_command_has_a_status_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with RunLock(results_in(tmp_path)):
        assert main([*SMALL, "--results", str(tmp_path)]) == 4
    assert f"another command runs on {tmp_path} (process {os.getpid()}" in capsys.readouterr().err


def test_the_same_command_again_runs_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = tmp_path / "r"
    options = [*SMALL, "--select", "batch_size=32,128", "--results", str(results), "--no-report"]
    assert main([*options, "--probes", "headline"]) == 0
    printed = capsys.readouterr().out
    assert "5/5 done, 0 running, 0 failed" in printed
    assert "Configuration for experiment" not in printed  # Tune's own box
    assert "/tmp/study-tune" not in printed
    assert "together" not in printed  # one by one on CPUs, by default
    first = rows(results)
    assert len(first) == 5
    shared = [r for r in first.values() if r["batch_size"] == 32 and r["momentum"] == 0]
    assert [r["regimes"] for r in shared] == [["lr", "lr_bs"]]
    assert json.loads((results / "study.json").read_text())["requests"][0]["grid"] == "smoke"

    reported = [option for option in options if option != "--no-report"]
    assert main([*reported, "--probes", "headline"]) == 0
    nothing, found, undecided, report = capsys.readouterr().out.splitlines()
    assert "nothing to do" in nothing
    assert found == "found: no claim is decided"
    assert undecided.startswith(
        "undecided: no claim could be judged: each needs several batch sizes, seeds or settings;"
    )
    assert report == f"report: {results / 'report' / 'report.html'}"
    assert rows(results) == first
    assert len(json.loads((results / "study.json").read_text())["requests"]) == 1


def planted(folder: Path) -> list[str]:
    """The options of a study whose rows are all stored."""
    results, rng = results_in(folder), np.random.default_rng(0)
    for planned in plan(Request("smoke", seeds=(0,))).values():
        results.write_row(planted_row(planned, rng) | {"status": "diverged"})
    return ["--grid", "smoke", "--seeds", "0", "--results", str(folder)]


def test_a_report_that_cannot_be_written_is_one_line_and_status_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = planted(tmp_path)
    (tmp_path / "report").write_text("a file")
    assert main(options) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"study.run: cannot write the report to {tmp_path}/report: ")
    assert "--out" not in line


def test_a_sequential_study_that_has_ended_starts_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(*unused: object) -> None:
        raise AssertionError

    monkeypatch.setattr(until_decided.Schedule, "stages", lambda *unused: [])
    monkeypatch.setattr(run.Command, "train", start)
    monkeypatch.setattr(run.checks, "load_data", start)
    assert main(["--grid", "smoke", "--until-decided", "--no-report", "--results", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{until_decided.ENDED}\n"
    assert Results(tmp_path).read_study()["requests"][0]["until_decided"]


def test_a_run_and_its_dry_run_give_tracking_one_cost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "time_unknown", lambda *unused: {DIGITS.model: 1.0})
    monkeypatch.setattr(run.Command, "train", lambda *unused: ({}, False))
    told = []
    for option in ("--dry-run", "--no-report"):
        assert main([*SMALL, "--results", str(tmp_path), "--track", "1000", option]) == 0
        told.append(re.findall(r"tracked while they train: .*", capsys.readouterr().out))
    assert told[0] == told[1] != []


def test_seeds_until_decided_are_trained_tracked_and_read_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "r"
    small = [option for option in SMALL if option not in ("--seeds", "0")]
    options = [*small, "--select", "regime=lr", "batch_size=32", "--probes", "headline", "--track", "1000"]
    command = [*options, "--until-decided", "--max-seeds", "3", "--results", str(results), "--no-report"]
    assert main(command) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("at most 3 of 3 trials to run")
    assert any(line.startswith("next: digits_8x8 mlp_256 lr m 0, up to 3 seeds: 3 trials") for line in printed)
    assert printed[-1].startswith("finished: for every curve the claims are decided, the seeds are used up")
    first = rows(results)
    assert {(row["seed"], row["status"]) for row in first.values()} == {(seed, "ok") for seed in range(3)}
    for row in first.values():
        assert {epoch["lambda1_images"] for epoch in row["history"]} == {128}

    assert main(command) == 0
    assert "answered already: nothing to do" in capsys.readouterr().out
    assert rows(results) == first


def test_a_file_that_cannot_be_written_is_one_line_and_status_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*unused: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Results, "write_study", full)
    said = "No space left on device; finished trials are stored, fix this and run again"
    refused(capsys, main, [*SMALL, "--results", str(tmp_path), "--no-report"], said, status=1)


def test_a_ray_that_is_slow_to_start_is_one_line_and_status_3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(**unused: object) -> None:
        raise Exception("The current node timed out during startup. This could happen because it is overloaded.")

    monkeypatch.setattr("ray.init", slow)
    assert main([*SMALL, "--results", str(tmp_path), "--no-report"]) == LOST_RAY
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("study.run: cannot start Ray: The current node timed out during startup. ")
    assert line.endswith("; the machine may be overloaded; give the same command again")


def test_kills_of_the_driver_of_ray_and_of_a_worker_lose_nothing_and_change_no_bit(tmp_path: Path) -> None:
    options = ["--select", "batch_size=8", "--epochs", "120", "--probes", "headline", "--checkpoint-seconds", "0"]
    folder = tmp_path / "r"
    driver = subprocess.Popen(command(folder, *options), stdout=subprocess.DEVNULL, start_new_session=True)
    wait_for(lambda: any((folder / "checkpoints").glob("*.pt")), driver)
    driver.kill()
    driver.wait()
    kept = {p.name for p in (folder / "checkpoints").glob("*.pt")}
    assert kept

    again = subprocess.Popen(
        command(folder, *options), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    wait_for(lambda: trial_processes(again.pid), again)
    os.kill(_children(again.pid)["raylet"], signal.SIGKILL)
    _, errors = again.communicate(timeout=60)
    assert again.returncode == LOST_RAY
    assert "Ray's raylet has died" in errors
    assert "same command again" in errors

    last = subprocess.Popen(command(folder, *options), stdout=subprocess.PIPE, text=True)
    worker = wait_for(lambda: trial_processes(last.pid), last)[0]
    os.kill(worker, signal.SIGKILL)
    printed, _ = last.communicate(timeout=240)
    assert last.returncode == 0, printed

    request = Request(
        "smoke", select={"batch_size": ("8",)}, epochs=120, train_size=128, test_size=20, seeds=(0,), probes="headline"
    )
    expected, found = in_this_process(request), rows(folder)
    assert {trial_id: timeless(row) for trial_id, row in found.items()} == expected
    assert len(found) == 3
    assert not Results(folder).files("checkpoints")  # a kill while one was written leaves a hidden file


@pytest.mark.parametrize(
    ("number", "times", "status", "when"),
    [(signal.SIGINT, 3, 130, "a trial runs"), (signal.SIGTERM, 1, 143, "Ray starts")],
)
def test_an_interrupt_says_how_to_continue_and_leaves_no_process_and_no_lock(
    tmp_path: Path, number: signal.Signals, times: int, status: int, when: str
) -> None:
    driver = subprocess.Popen(
        command(tmp_path / "r", "--epochs", "180"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background jobs ignore Ctrl-C, and so would this child of a test run in one.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    if when == "Ray starts":
        wait_for(lambda: "gcs_server" in _children(driver.pid), driver)
    else:
        wait_for(lambda: trial_processes(driver.pid), driver)
    of_ray = list(_children(driver.pid).values())
    for _ in range(times):  # an impatient user
        driver.send_signal(number)
        time.sleep(0.3)
    _, errors = driver.communicate(timeout=60)
    assert driver.returncode == status
    assert "same command again" in errors
    assert "Traceback" not in errors
    assert all(gone(process) for process in of_ray)
    assert not (tmp_path / "r/run.json").exists()


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)  # less than the command prints
    study = subprocess.Popen(
        [sys.executable, "-m", "study.run", "--grid", "full", "--dry-run"],
        stdout=writer, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    os.close(writer)
    assert os.read(reader, 1)
    os.close(reader)
    assert study.stderr is not None
    assert study.stderr.read() == ""
    assert study.wait(60) == 141


def _children(parent: int) -> dict[str, int]:
    """The children of this process by their programs' names."""
    names = {}
    for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        with contextlib.suppress(OSError):  # it has ended since
            names[Path(f"/proc/{child}/comm").read_text().strip()] = int(child)
    return names
