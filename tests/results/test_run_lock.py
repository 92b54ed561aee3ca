"""Two commands on one results folder: the second is refused while the first runs, and not for long after."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from study.results import run_lock
from study.results.folder import Results
from study.results.run_lock import STALE_SECONDS, ResultsInUseError, RunLock
from tests.cluster.multinode import wait_for
from tests.stored import results_in


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return results_in(tmp_path)


def write_lock(results: Results, host: str, pid: int, age: float = 0.0) -> None:
    results.write_run_lock({"host": host, "pid": pid, "token": "theirs", "at": time.time() - age})


def work_while_another_takes_the_lock(results: Results) -> None:
    for _ in range(400):  # more than once: a heartbeat may be under way
        write_lock(results, "elsewhere", 1)
        time.sleep(0.05)


def ended_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_second_command_is_refused_and_the_message_names_process_host_and_wait(results: Results) -> None:
    with (
        RunLock(results),
        pytest.raises(ResultsInUseError, match=rf"process {os.getpid()} on .* start this one again in 1[45]\d s"),
    ):
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


@pytest.mark.parametrize("age", [STALE_SECONDS + 1, -STALE_SECONDS - 1])
def test_a_command_on_another_machine_counts_as_dead_without_heartbeats(
    results: Results, age: float, capsys: pytest.CaptureFixture[str]
) -> None:
    write_lock(results, "elsewhere", 1, age)
    with RunLock(results):
        pass
    assert capsys.readouterr().out == ""


def test_the_next_heartbeat_of_another_machine_is_waited_for_and_refuses(
    results: Results, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: write_lock(results, "elsewhere", 1))
    write_lock(results, "elsewhere", 1, 20.0)
    with pytest.raises(ResultsInUseError, match="process 1 on elsewhere"):
        RunLock(results).__enter__()
    printed = capsys.readouterr().out
    assert re.search(
        r"used .* 20 s ago \(process 1 on elsewhere\): checking whether it still runs, at most 1[23]\d s", printed
    )
    assert printed.count("\n") == 1


@pytest.mark.parametrize("elsewhere", [True, False])
def test_a_lock_of_another_machine_or_container_that_nobody_renews_is_waited_for_and_taken(
    results: Results, monkeypatch: pytest.MonkeyPatch, elsewhere: bool
) -> None:
    host, pid = ("elsewhere", 1) if elsewhere else (socket.gethostname(), os.getpid())
    monkeypatch.setattr(run_lock, "ASK_SECONDS", 0.05)
    write_lock(results, host, pid, STALE_SECONDS - 2.0)
    with RunLock(results):
        taken = results.read_run_lock() or {}
    assert taken["pid"] == os.getpid()
    assert results.read_run_lock() is None


def test_a_lock_of_another_machine_that_is_released_meanwhile_is_taken_at_once(
    results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: results.delete_run_lock())
    write_lock(results, "elsewhere", 1)
    with RunLock(results):
        assert (results.read_run_lock() or {})["pid"] == os.getpid()


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", '{"pid": 1}', '{"at": "now", "pid": 1}', '{"at": NaN, "pid": 1}']
)
def test_a_damaged_lock_is_ignored(results: Results, tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content)
    with RunLock(results):
        pass


def test_a_running_command_renews_its_lock(results: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_lock, "HEARTBEAT_SECONDS", 0.01)
    with RunLock(results):
        first = results.read_run_lock()
        wait_for(lambda: results.read_run_lock() != first, seconds=10)


def test_a_suspended_command_whose_lock_was_taken_ends_with_one_line(
    results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_lock, "HEARTBEAT_SECONDS", 0.01)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a test run in the background ignores it
    with pytest.raises(ResultsInUseError, match="another command has taken over") as told, RunLock(results):
        work_while_another_takes_the_lock(results)
    assert "\n" not in str(told.value)
    assert (results.read_run_lock() or {})["token"] == "theirs"


def test_a_signal_that_is_lost_is_repeated(results: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_lock, "HEARTBEAT_SECONDS", 0.01)
    monkeypatch.setattr(run_lock, "SIGNAL_SECONDS", 1.0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with pytest.raises(ResultsInUseError), RunLock(results):
        with pytest.raises(KeyboardInterrupt):
            work_while_another_takes_the_lock(results)
        work_while_another_takes_the_lock(results)


def test_a_command_that_ignores_ctrl_c_and_whose_lock_was_taken_ends_by_sigterm(
    results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_lock, "HEARTBEAT_SECONDS", 0.01)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with pytest.raises(ResultsInUseError, match="another command has taken over"), RunLock(results):
        work_while_another_takes_the_lock(results)
    assert (results.read_run_lock() or {})["token"] == "theirs"


def test_the_locks_of_a_process_that_ends_at_once_can_be_deleted_and_stay_deleted(
    results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_lock, "HEARTBEAT_SECONDS", 0.01)
    with RunLock(results):
        run_lock.delete_held_locks()
        assert results.read_run_lock() is None
        time.sleep(0.1)
        assert results.read_run_lock() is None
    write_lock(results, "elsewhere", 1)
    run_lock.delete_held_locks()
    assert results.read_run_lock() is not None


def test_a_running_command_overwrites_the_lock_of_a_dead_one(results: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_lock, "HEARTBEAT_SECONDS", 0.01)
    with RunLock(results):
        write_lock(results, "elsewhere", 1, STALE_SECONDS + 1)
        wait_for(lambda: (results.read_run_lock() or {}).get("token") != "theirs", seconds=20)


def test_a_lock_that_another_command_took_is_not_deleted(results: Results) -> None:
    with RunLock(results):
        write_lock(results, "elsewhere", 1)
    assert (results.read_run_lock() or {})["host"] == "elsewhere"


def test_a_command_that_was_suspended_while_another_ran_and_finished_ends_too(
    results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_lock, "HEARTBEAT_SECONDS", 0.01)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with pytest.raises(ResultsInUseError, match="another command has taken over"), RunLock(results) as mine:
        for _ in range(400):  # more than once: a heartbeat may be under way
            mine._last_heartbeat -= 2 * run_lock.STALE_SECONDS
            results.delete_run_lock()
            time.sleep(0.05)
    assert results.read_run_lock() is None


def test_a_deleted_lock_is_written_again(results: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_lock, "HEARTBEAT_SECONDS", 0.01)
    with RunLock(results):
        results.delete_run_lock()
        wait_for(lambda: results.read_run_lock() is not None, seconds=10)
