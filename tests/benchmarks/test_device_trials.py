"""Trials of a GPU machine without ray, tried on a CPU."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks import device_trials
from search_spaces import Request, plan
from study.options import OptionError
from study.results.folder import Results

ROOT = Path(__file__).resolve().parents[2]


SMALL = (
    "--probers", "1", "--grid", "smoke", "--select", "batch_size=128,64", "regime=lr", "--seeds", "0-2",
    "--epochs", "1", "--train-size", "300", "--test-size", "100", "--probes", "headline", "--replicas", "3",
    "--results",
)  # fmt: skip


def test_trials_run_without_ray_and_go_on_when_asked_again(tmp_path: Path) -> None:
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "__init__.py").write_text("raise ModuleNotFoundError('ray is blocked')")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", "benchmarks.device_trials", *SMALL, str(tmp_path / "results")]
    output = subprocess.run(command, env=environment, timeout=300, check=True, capture_output=True, text=True).stdout
    assert output.index("batch 128: 3 networks") < output.index("batch 64: 3 networks")
    results = Results(tmp_path / "results")
    rows, unreadable = results.read_rows()
    (request,) = (Request.from_dict(entry) for entry in results.read_study()["requests"])
    assert not unreadable and {row["trial_id"] for row in rows} == set(plan(request))
    for row in rows:
        assert (row["status"], row["replicas"]) == ("ok", 3)
        assert row["pgd_acc_stable"] is not None and row["lambda1_test"] is not None
        assert results.read_weights(row["trial_id"])
    again = subprocess.run(command, env=environment, timeout=300, check=True, capture_output=True, text=True).stdout
    assert again.startswith("0 rows")


@pytest.mark.parametrize("option", ["--dry-run", "--list", "--address=auto", "--until-decided", "--gpus-per-trial=0.5"])
def test_an_option_that_it_does_not_read_is_refused(
    option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["device_trials", *SMALL, str(tmp_path / "results"), option])
    with pytest.raises(OptionError, match=f"{option.partition('=')[0]} is an option of study.run only"):
        device_trials.main()
    assert not list(tmp_path.iterdir())


def test_its_processes_end_with_it_when_it_is_killed(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", "benchmarks.device_trials", *SMALL, str(tmp_path)]
    killed = subprocess.Popen(command, env=environment, start_new_session=True, stdout=subprocess.PIPE, text=True)
    assert killed.stdout is not None
    assert any("ok, train" in line for line in killed.stdout)  # a process answers probes
    killed.kill()
    killed.wait()
    killed.stdout.close()
    until = time.monotonic() + 60
    with pytest.raises(ProcessLookupError):
        while time.monotonic() < until:
            os.killpg(killed.pid, 0)
            time.sleep(0.1)
