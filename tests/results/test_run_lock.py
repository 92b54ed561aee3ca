"""Two commands on one results folder: the second is refused while the first lives, and never for long after."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from study.results import run_lock
from study.results.folder import RecordsError, Results
from study.results.run_lock import STALE_SECONDS, Claim


@pytest.fixture
def results(tmp_path: Path) -> Results:
    made = Results(tmp_path)
    made.create()
    return made


def claimed(results: Results, host: str, pid: int, age: float = 0.0) -> None:
    results.write_claim({"host": host, "pid": pid, "token": "theirs", "at": time.time() - age})


def ended_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_second_command_is_refused_and_told_by_whom_and_for_how_long(results: Results) -> None:
    with Claim(results), pytest.raises(RecordsError, match=rf"process {os.getpid()} on .* accepted in 1[45]\d s"):
        Claim(results).__enter__()


def test_the_claim_ends_with_the_command_whatever_its_end(results: Results, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), Claim(results):
        assert json.loads((tmp_path / "run.json").read_text())["pid"] == os.getpid()
        raise KeyboardInterrupt
    assert not (tmp_path / "run.json").exists()


def test_a_killed_command_of_this_machine_locks_nobody_out(results: Results) -> None:
    claimed(results, socket.gethostname(), ended_process())
    with Claim(results):
        pass


@pytest.mark.parametrize(("age", "refused"), [(10.0, True), (STALE_SECONDS + 1, False), (-STALE_SECONDS - 1, False)])
def test_a_command_on_another_machine_counts_as_dead_when_silent(results: Results, age: float, refused: bool) -> None:
    claimed(results, "elsewhere", 1, age)
    if refused:
        with pytest.raises(RecordsError, match="elsewhere"):
            Claim(results).__enter__()
    else:
        with Claim(results):
            pass


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"pid": 1}', '{"at": "now", "pid": 1}'])
def test_a_damaged_claim_is_none(results: Results, tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content)
    with Claim(results):
        pass


def test_a_running_command_renews_its_claim(results: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_lock, "BEAT_SECONDS", 0.01)
    with Claim(results):
        first = results.read_claim()
        deadline = time.monotonic() + 10
        while results.read_claim() == first and time.monotonic() < deadline:
            time.sleep(0.01)
        assert results.read_claim() != first


def test_a_command_that_was_taken_over_while_it_stood_still_ends_with_one_line(
    results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_lock, "BEAT_SECONDS", 0.01)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a test run in the background ignores it
    try:
        with pytest.raises(RecordsError, match="another command has taken over") as told, Claim(results):
            for _ in range(400):  # more than once: a beat may be under way
                claimed(results, "elsewhere", 1)
                time.sleep(0.05)
    finally:
        signal.signal(signal.SIGINT, before)
    assert "\n" not in str(told.value)
    assert (results.read_claim() or {})["token"] == "theirs"


def test_where_ctrl_c_is_ignored_it_warns_once_and_leaves_the_claim(
    results: Results, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run_lock, "BEAT_SECONDS", 0.01)
    monkeypatch.setattr(signal, "getsignal", lambda number: signal.SIG_IGN)
    with Claim(results) as mine:
        deadline = time.monotonic() + 20
        while mine._thread.is_alive() and time.monotonic() < deadline:
            claimed(results, "elsewhere", 1)
            time.sleep(0.05)
        assert not mine._thread.is_alive()
    assert capsys.readouterr().err.count("has taken over") == 1
    assert (results.read_claim() or {})["token"] == "theirs"


def test_a_dead_commands_claim_is_renewed_over(results: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_lock, "BEAT_SECONDS", 0.01)
    with Claim(results):
        claimed(results, "elsewhere", 1, STALE_SECONDS + 1)
        deadline = time.monotonic() + 20
        while (results.read_claim() or {}).get("token") == "theirs" and time.monotonic() < deadline:
            time.sleep(0.01)
        assert (results.read_claim() or {}).get("token") != "theirs"


def test_a_claim_that_another_command_took_over_is_left_to_it(results: Results) -> None:
    with Claim(results):
        claimed(results, "elsewhere", 1)
    assert (results.read_claim() or {})["host"] == "elsewhere"


def test_a_command_that_slept_while_another_ran_and_finished_ends_too(
    results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_lock, "BEAT_SECONDS", 0.01)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(RecordsError, match="another command has taken over"), Claim(results) as mine:
            for _ in range(400):  # more than once: a beat may be under way
                mine._last -= 2 * run_lock.STALE_SECONDS
                results.delete_claim()
                time.sleep(0.05)
    finally:
        signal.signal(signal.SIGINT, before)
    assert results.read_claim() is None


def test_a_claim_that_somebody_deleted_is_written_again(results: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_lock, "BEAT_SECONDS", 0.01)
    with Claim(results):
        results.delete_claim()
        deadline = time.monotonic() + 10
        while results.read_claim() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        assert results.read_claim() is not None
