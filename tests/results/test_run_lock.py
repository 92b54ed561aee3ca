"""Two commands on one results folder: the second is refused while the first runs, and not for long after."""

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
from study.results.run_lock import STALE_SECONDS, RunLock


@pytest.fixture
def results(tmp_path: Path) -> Results:
    made = Results(tmp_path)
    made.create()
    return made


def write_lock(results: Results, host: str, pid: int, age: float = 0.0) -> None:
    results.write_run_lock({"host": host, "pid": pid, "token": "theirs", "at": time.time() - age})


def ended_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_second_command_is_refused_and_the_message_names_process_host_and_wait(results: Results) -> None:
    with RunLock(results), pytest.raises(RecordsError, match=rf"process {os.getpid()} on .* accepted in 1[45]\d s"):
        RunLock(results).__enter__()


def test_the_lock_is_released_however_the_command_ends(results: Results, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), RunLock(results):
        assert json.loads((tmp_path / "run.json").read_text())["pid"] == os.getpid()
        raise KeyboardInterrupt
    assert not (tmp_path / "run.json").exists()


def test_the_lock_of_a_killed_command_on_this_machine_is_ignored(results: Results) -> None:
    write_lock(results, socket.gethostname(), ended_process())
    with RunLock(results):
        pass


@pytest.mark.parametrize(("age", "refused"), [(10.0, True), (STALE_SECONDS + 1, False), (-STALE_SECONDS - 1, False)])
def test_a_command_on_another_machine_counts_as_dead_without_heartbeats(
    results: Results, age: float, refused: bool
) -> None:
    write_lock(results, "elsewhere", 1, age)
    if refused:
        with pytest.raises(RecordsError, match="elsewhere"):
            RunLock(results).__enter__()
    else:
        with RunLock(results):
            pass


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", '{"pid": 1}', '{"at": "now", "pid": 1}', '{"at": NaN, "pid": 1}', "[" * 100_000]
)
def test_a_damaged_lock_is_ignored(results: Results, tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content)
    with RunLock(results):
        pass


def test_a_running_command_renews_its_lock(results: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_lock, "HEARTBEAT_SECONDS", 0.01)
    with RunLock(results):
        first = results.read_run_lock()
        deadline = time.monotonic() + 10
        while results.read_run_lock() == first and time.monotonic() < deadline:
            time.sleep(0.01)
        assert results.read_run_lock() != first


def test_a_suspended_command_whose_lock_was_taken_ends_with_one_line(
    results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_lock, "HEARTBEAT_SECONDS", 0.01)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a test run in the background ignores it
    try:
        with pytest.raises(RecordsError, match="another command has taken over") as told, RunLock(results):
            for _ in range(400):  # more than once: a heartbeat may be under way
                write_lock(results, "elsewhere", 1)
                time.sleep(0.05)
    finally:
        signal.signal(signal.SIGINT, before)
    assert "\n" not in str(told.value)
    assert (results.read_run_lock() or {})["token"] == "theirs"


def test_a_command_that_ignores_ctrl_c_warns_once_and_leaves_the_lock(
    results: Results, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run_lock, "HEARTBEAT_SECONDS", 0.01)
    monkeypatch.setattr(signal, "getsignal", lambda number: signal.SIG_IGN)
    with RunLock(results) as mine:
        deadline = time.monotonic() + 20
        while mine._thread.is_alive() and time.monotonic() < deadline:
            write_lock(results, "elsewhere", 1)
            time.sleep(0.05)
        assert not mine._thread.is_alive()
    assert capsys.readouterr().err.count("has taken over") == 1
    assert (results.read_run_lock() or {})["token"] == "theirs"


def test_a_running_command_overwrites_the_lock_of_a_dead_one(results: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_lock, "HEARTBEAT_SECONDS", 0.01)
    with RunLock(results):
        write_lock(results, "elsewhere", 1, STALE_SECONDS + 1)
        deadline = time.monotonic() + 20
        while (results.read_run_lock() or {}).get("token") == "theirs" and time.monotonic() < deadline:
            time.sleep(0.01)
        assert (results.read_run_lock() or {}).get("token") != "theirs"


def test_a_lock_that_another_command_took_is_not_deleted(results: Results) -> None:
    with RunLock(results):
        write_lock(results, "elsewhere", 1)
    assert (results.read_run_lock() or {})["host"] == "elsewhere"


def test_a_command_that_was_suspended_while_another_ran_and_finished_ends_too(
    results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_lock, "HEARTBEAT_SECONDS", 0.01)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(RecordsError, match="another command has taken over"), RunLock(results) as mine:
            for _ in range(400):  # more than once: a heartbeat may be under way
                mine._last_heartbeat -= 2 * run_lock.STALE_SECONDS
                results.delete_run_lock()
                time.sleep(0.05)
    finally:
        signal.signal(signal.SIGINT, before)
    assert results.read_run_lock() is None


def test_a_deleted_lock_is_written_again(results: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_lock, "HEARTBEAT_SECONDS", 0.01)
    with RunLock(results):
        results.delete_run_lock()
        deadline = time.monotonic() + 10
        while results.read_run_lock() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        assert results.read_run_lock() is not None
