"""A process of Ray that dies is noticed at once, and not when Ray is shut down on purpose."""

import subprocess
import sys
import threading

from study.tuning.ends import LOST_RAY, watch_children
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


def test_the_end_without_ray_has_a_line_and_a_status() -> None:
    done = run_script("from study.tuning.ends import exit_without_ray; exit_without_ray('raylet')", status=LOST_RAY)
    assert "Ray's raylet has died" in done.stderr
    assert "Give the same command again to continue" in done.stderr
