"""The first contact with a GPU, tried on a CPU: what it runs, that nothing costs more than itself, and what it brings
back."""

import os
import subprocess
import sys
import tarfile
import time
from functools import partial
from pathlib import Path

import pytest

from benchmarks import device_check, device_trials
from benchmarks.device_trials import DeviceTrials
from search_spaces import Request, plan
from study.results.folder import Results

ROOT = Path(__file__).resolve().parents[2]


def outcomes(out: Path) -> dict[str, str]:
    """How each part ended, without its seconds."""
    lines = (out / "log.txt").read_text().splitlines()
    return {
        name: outcome.partition(" (")[0]
        for name, _, outcome in (line.partition(": ") for line in lines if ": " in line)
    }


def check_without_ray(tmp_path: Path, *options: str, data_dir: str | None = None) -> tuple[dict[str, str], Results]:
    """Run the command where importing ray fails: the outcome of each part, and the results folder in the archive."""
    (tmp_path / "blocked" / "ray").mkdir(parents=True)
    (tmp_path / "blocked" / "ray" / "__init__.py").write_text("raise ModuleNotFoundError('ray is blocked')")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path / 'blocked'}{os.pathsep}{ROOT}"}
    environment.pop("STUDY_DATA_DIR", None)
    if data_dir:
        environment["STUDY_DATA_DIR"] = data_dir
    command = [sys.executable, "-m", "benchmarks.device_check", "--device", "cpu", "--out", str(tmp_path / "out")]
    subprocess.run([*command, *options], cwd=ROOT, env=environment, timeout=300, check=False)
    assert "torch" in (tmp_path / "out" / "log.txt").read_text().splitlines()[0]
    with tarfile.open(tmp_path / "out" / "results.tar.gz") as archive:
        archive.extractall(tmp_path / "back", **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    return outcomes(tmp_path / "out"), Results(tmp_path / "back" / "paper_a")


def test_trials_run_without_ray_and_come_back_as_a_results_folder(tmp_path: Path) -> None:
    ended, results = check_without_ray(tmp_path, "--parts", "trials", "--minutes", "4", "--commit", "abc")
    assert ended == {"trials": "ok"}
    rows, unreadable = results.read_rows()
    (request,) = (Request.from_dict(entry) for entry in results.read_study()["requests"])
    assert not unreadable and {row["trial_id"] for row in rows} == set(plan(request))
    for row in rows:
        assert (row["status"], row["replicas"], row["git_sha"]) == ("ok", 3, "abc")
        assert row["pgd_acc_stable"] is not None and row["lambda1_test"] is not None
        assert results.read_weights(row["trial_id"])


@pytest.mark.slow
@pytest.mark.skipif("STUDY_DATA_DIR" not in os.environ, reason="needs MNIST in $STUDY_DATA_DIR")
def test_the_whole_check_takes_two_minutes(tmp_path: Path) -> None:
    ended, results = check_without_ray(tmp_path, "--minutes", "2", data_dir=os.environ["STUDY_DATA_DIR"])
    assert next(iter(ended)) == "tests" and list(ended)[-1] == "trials"
    assert not any("failed" in outcome for outcome in ended.values())
    rows, _ = results.read_rows(["dataset", "model", "batch_size"])
    assert rows or "stopped" in ended["trials"]  # a very busy machine finishes none in its minute
    assert {(row["dataset"], row["batch_size"]) for row in rows} <= {("mnist", 1024), ("fashion-mnist", 1024)}


@pytest.mark.slow
def test_processes_answer_the_probes_beside_the_training(tmp_path: Path) -> None:
    trials = DeviceTrials(tmp_path / "paper_a", "cpu", None, time.monotonic() + 300)
    (request,) = device_trials.requests("cpu", None)
    rows = device_trials.run(trials, iter([request]), tmp_path / "results.tar.gz", probers=1, commit="abc")
    stored, _ = trials.results.read_rows()
    assert rows == len(stored) == len(plan(request))
    assert all(row["git_sha"] == "abc" and row["lambda1_test"] is not None for row in stored)


def test_a_group_that_trains_at_the_deadline_is_given_up_and_archived_before(tmp_path: Path) -> None:
    archived = []
    trials = DeviceTrials(tmp_path, "cpu", None, time.monotonic() - 1, archive=lambda: archived.append(1))
    with pytest.raises(TimeoutError):
        trials._give_up_at_the_deadline({})
    assert archived


def test_a_part_that_fails_or_hangs_costs_only_itself(tmp_path: Path) -> None:
    run = partial(device_check.run, tmp_path)
    assert not run("fails", ["-c", "print('first'); raise SystemExit('planted')"], 20)
    assert not run("hangs", ["-c", "import time; print('here'); time.sleep(60)"], 5)
    assert not run("late", ["-c", "print('never')"], -1.0)
    assert run("works", ["-c", "print('done')"], 20)
    assert outcomes(tmp_path) == {
        "fails": "failed with exit status 1",
        "hangs": "stopped after 5 s",
        "late": "stopped after 0 s",
        "works": "ok",
    }
    output = [(tmp_path / f"{name}.txt").read_text() for name in ("fails", "hangs", "late", "works")]
    assert output == ["first\nplanted\n", "here\n", "", "done\n"]


def test_the_files_with_gpu_tests_cover_every_room_that_computes() -> None:
    rooms = {Path(file).relative_to(ROOT / "tests").parts[0] for file in device_check.files_with_gpu_tests()}
    assert {"attacks", "curvature", "models", "training", "trials", "tuning"} <= rooms


def test_a_gpu_gets_full_size_trials_in_the_order_of_their_worth(tmp_path: Path) -> None:
    for folder in ("MNIST", "FashionMNIST"):
        (tmp_path / folder / "raw").mkdir(parents=True)
        for part in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
            (tmp_path / folder / "raw" / f"{part}-ubyte.gz").touch()
    asked = list(device_trials.requests("cuda", str(tmp_path)))
    first = [next(iter(plan(request).values())).trial for request in asked]
    assert [(trial.dataset, trial.model, trial.batch_size) for trial in first[:2]] == [
        ("mnist", "m1_20", 1024),
        ("mnist", "m1_20", 512),
    ]
    order = [(trial.dataset, trial.model) for trial in first[::7]]
    assert order == [(d, m) for m in ("m1_20", "stdcnn") for d in ("mnist", "fashion-mnist")]
    assert len(plan(asked[0])) == 27 and (first[0].epochs, first[0].train_size) == (100, 55_000)
    assert [r.grid for r in device_trials.requests("cuda", None)] == ["smoke"] * 5


def test_the_archive_has_all_rows_and_the_weights_that_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_trials, "ARCHIVE_BYTES", 10_000)
    for name in ("checkpoints/a.pt", "trials/a.parquet", "trials/b.parquet", "weights/a.pt", "weights/b.pt"):
        (tmp_path / "paper_a" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "paper_a" / name).write_bytes(os.urandom(3000))
    device_trials.write_archive(tmp_path / "paper_a", tmp_path / "new" / "results.tar.gz")
    with tarfile.open(tmp_path / "new" / "results.tar.gz") as archive:
        names = [name.removeprefix("paper_a/") for name in archive.getnames()]
    assert names == ["checkpoints", "trials", "trials/a.parquet", "trials/b.parquet", "weights"]
    monkeypatch.setattr(device_trials, "ARCHIVE_BYTES", 16_000)
    device_trials.write_archive(tmp_path / "paper_a", tmp_path / "new" / "results.tar.gz")
    with tarfile.open(tmp_path / "new" / "results.tar.gz") as archive:
        assert [name for name in archive.getnames() if "weights/" in name] == ["paper_a/weights/a.pt"]
        assert archive.getmember("paper_a/trials/a.parquet").size == 3000
