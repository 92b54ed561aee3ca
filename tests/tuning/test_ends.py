"""A process of Ray that dies is noticed at once, and not when Ray is shut down on purpose."""

import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from study.tuning import ends
from study.tuning.ends import BROKEN_PIPE, LOST_RAY, watch_children, watch_server
from tests.cluster.multinode import wait_for
from tests.cluster.scripts import run_script

SLEEP = [sys.executable, "-c", "import time; time.sleep(100)"]


def test_a_killed_child_is_named_and_remains_for_whoever_started_it() -> None:
    children = {name: subprocess.Popen(SLEEP) for name in ("gcs_server", "raylet")}
    lost, noticed = [], threading.Event()

    def note(name: str) -> None:
        lost.append(name)
        noticed.set()

    stop = watch_children(((name, child.pid) for name, child in children.items()), note)
    children["raylet"].kill()
    assert noticed.wait(30)
    assert lost == ["raylet"]
    assert children["raylet"].wait() == -9
    stop()
    children["gcs_server"].kill()
    assert children["gcs_server"].wait() == -9
    assert lost == ["raylet"]


def test_a_server_that_is_gone_for_good_is_noticed_and_one_that_comes_back_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ends, "ASK_SECONDS", 0.05)
    noticed, lost = threading.Event(), []

    def note(address: str) -> None:
        lost.append(address)
        noticed.set()

    server = socket.create_server(("127.0.0.1", 0))
    port = server.getsockname()[1]
    stop = watch_server(f"127.0.0.1:{port}", 2.0, note)
    server.close()
    assert not noticed.wait(0.5)
    with socket.create_server(("127.0.0.1", port)):
        assert not noticed.wait(3.0)
    assert noticed.wait(30) and lost == [f"127.0.0.1:{port}"]
    stop()


LOCKED = """
import hashlib, sys
from study.results.folder import Results
from study.results.run_lock import RunLock
from study.tuning.ends import exit_without_ray, handle_sigterm, watch_for_sigterm

handle_sigterm()
watch_for_sigterm()
results = Results(sys.argv[1])
results.create()
with RunLock(results):
"""


def test_the_end_without_ray_has_a_line_and_a_status_and_releases_the_lock(tmp_path: Path) -> None:
    script = f"{LOCKED}    exit_without_ray('the raylet has died')"
    done = run_script(script, str(tmp_path), status=LOST_RAY)
    assert "study.run: the raylet has died; finished trials are stored" in done.stderr
    assert "Give the same command again to continue" in done.stderr
    assert not (tmp_path / "run.json").exists()


def test_sigterm_releases_the_lock_while_the_main_thread_is_busy_in_c(tmp_path: Path) -> None:
    script = f"""{LOCKED}
    while True:
        try:
            print("locked", flush=True)
            hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)
        except KeyboardInterrupt:
            pass
"""
    busy = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE)
    try:
        assert busy.stdout is not None and busy.stdout.readline() == b"locked\n"
        busy.terminate()
        wait_for(lambda: not (tmp_path / "run.json").exists(), busy)
        assert busy.poll() is None
    finally:
        busy.kill()
        busy.communicate()


def test_progress_that_nobody_reads_ends_the_program_as_a_shell_expects() -> None:
    code = "from study.tuning.progress import Display, Progress\nwith Display(Progress({}, {})): input()"
    driver = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert driver.stdin is not None and driver.stdout is not None
    driver.stdout.close()
    driver.communicate(b"\n")
    assert driver.returncode == BROKEN_PIPE


def test_an_interrupt_that_python_ignores_is_raised_after_all() -> None:
    """A signal that meets a handler of a fork, as those of `logging`, raises there, where exceptions are ignored."""
    code = """
import os, signal
from study.tuning.ends import handle_sigterm, raise_if_interrupted
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job, as these tests may be, ignores it
handle_sigterm()
os.register_at_fork(after_in_parent=lambda: signal.raise_signal(signal.SIGINT))
child = os.fork()
if not child:
    os._exit(0)
print("ignored", flush=True)
try:
    raise_if_interrupted()
except KeyboardInterrupt:
    print("raised")
"""
    done = run_script(code, status=0)
    assert done.stdout.split() == ["ignored", "raised"]
