"""The first contact with a GPU, tried on a CPU: what it runs, and that nothing costs more than itself."""

import os
import time
from functools import partial
from pathlib import Path

import pytest

from analysis import load
from benchmarks import device_check

ROOT = Path(__file__).resolve().parents[2]


def outcomes(out: Path) -> dict[str, str]:
    """How each part ended, without its seconds."""
    lines = (line.partition(": ") for line in (out / "log.txt").read_text().splitlines() if line.startswith("--- "))
    return {name.removeprefix("--- "): outcome.partition(" (")[0] for name, _, outcome in lines if outcome}


def output(out: Path, name: str) -> str:
    """What a part wrote."""
    text = (out / "log.txt").read_text()
    return text[text.index(f"--- {name}\n") : text.index(f"--- {name}: ")].partition("\n")[2]


def test_a_part_that_fails_or_hangs_costs_only_itself(tmp_path: Path) -> None:
    run = partial(device_check.run, tmp_path)
    assert not run("fails", ["-c", "print('first'); raise SystemExit('planted')"], 20)
    stubborn = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); print('here'); time.sleep(60)"
    assert not run("hangs", ["-c", stubborn], 5)
    assert not run("late", ["-c", "print('never')"], -1.0)
    assert run("works", ["-c", "print('done')"], 20)
    assert outcomes(tmp_path) == {
        "fails": "failed with exit status 1",
        "hangs": "stopped after 5 s",
        "late": "stopped after 0 s",
        "works": "ok",
    }
    assert [path.name for path in tmp_path.iterdir()] == ["log.txt"]
    assert (output(tmp_path, "fails"), output(tmp_path, "works")) == ("first\nplanted\n", "done\n")
    assert output(tmp_path, "hangs") == "here\n"


def test_a_part_whose_time_is_up_is_interrupted_so_that_it_can_say_what_failed(tmp_path: Path) -> None:
    waits = "import time\ntry: time.sleep(60)\nexcept KeyboardInterrupt: print('as pytest: what failed')"
    assert not device_check.run(tmp_path, "tests", ["-c", waits], 5)
    assert outcomes(tmp_path) == {"tests": "stopped after 5 s"}
    assert output(tmp_path, "tests") == "as pytest: what failed\n"


def test_what_a_part_started_ends_with_it(tmp_path: Path) -> None:
    started = "import subprocess, sys, time; p = subprocess.Popen(['sleep', '60']); print(p.pid, flush=True); p.wait()"
    assert not device_check.run(tmp_path, "hangs", ["-c", started], 5)
    pid = int(output(tmp_path, "hangs").split()[0])
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        if Path(f"/proc/{pid}/stat").exists() and ") Z " in Path(f"/proc/{pid}/stat").read_text():
            return  # killed, and waits for its parent
        time.sleep(0.1)
    pytest.fail(f"process {pid} goes on")


def test_the_files_with_gpu_tests_cover_every_room_that_computes() -> None:
    rooms = {Path(file).relative_to(ROOT / "tests").parts[0] for file in device_check.files_with_gpu_tests()}
    assert {"attacks", "curvature", "models", "training", "trials"} <= rooms


@pytest.mark.slow
def test_the_whole_check_on_a_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["device_check", "--device", "cpu", "--minutes", "2", "--out", str(tmp_path)])
    device_check.main()
    ended = outcomes(tmp_path)
    assert next(iter(ended)) == "tests" and list(ended)[-1] == "trials"
    assert not any("failed" in outcome for outcome in ended.values())
    assert {path.name for path in tmp_path.iterdir()} == {"log.txt", "rows.parquet"}
    assert len(load(str(tmp_path / "rows.parquet")).trials) == 9
