"""A cluster fails while a study runs: the same command finishes it, one row for each trial, bit for bit the same."""

import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.simulated_cluster import SimulatedCluster
from study.tuning.ends import LOST_RAY
from tests.cluster.multinode import Study, assert_complete, freeze, gone, run, wait_for

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes in /proc"),
]


@pytest.fixture
def cluster() -> Iterator[SimulatedCluster]:
    with SimulatedCluster(2) as started:
        yield started


def restarted(printed: str) -> int:
    found = re.findall(r"(\d+) restarted", printed)
    return int(found[-1]) if found else 0


def test_kill_9_of_a_trials_worker(cluster: SimulatedCluster, tmp_path: Path) -> None:
    study = Study(cluster.address, tmp_path)
    study.wait_for_checkpoints()
    for worker in cluster.workers():
        os.kill(worker, signal.SIGKILL)
    assert study.finish() == 0, study.printed
    assert 1 <= restarted(study.printed) <= 2
    assert_complete(tmp_path)


@pytest.mark.parametrize("how", ["kill", "notice"])
def test_a_node_is_lost_mid_trial(cluster: SimulatedCluster, tmp_path: Path, how: str) -> None:
    study = Study(cluster.address, tmp_path)
    study.wait_for_checkpoints(2)
    node = cluster.nodes[0]
    workers = cluster.workers(node)
    assert workers
    {"kill": cluster.kill, "notice": cluster.notice}[how](node)
    assert study.finish() == 0, study.printed
    wait_for(lambda: all(gone(worker) for worker in workers))
    assert restarted(study.printed) >= 1
    assert_complete(tmp_path)


def test_half_of_the_nodes_are_lost_at_once(tmp_path: Path) -> None:
    with SimulatedCluster(4) as cluster:
        study = Study(cluster.address, tmp_path)
        study.wait_for_checkpoints(2)
        for node in cluster.nodes[:2]:
            cluster.kill(node)
        assert study.finish() == 0, study.printed
    assert_complete(tmp_path)


def test_the_head_is_lost_and_the_same_command_on_a_new_cluster_finishes(tmp_path: Path) -> None:
    with SimulatedCluster(2) as cluster:
        study = Study(cluster.address, tmp_path)
        study.wait_for_checkpoints(2)
        cluster.kill_head()
        assert study.finish() == LOST_RAY
        assert "the head of the Ray cluster" in study.printed.splitlines()[-1]
    with SimulatedCluster(2) as cluster:
        run(cluster.address, tmp_path)
    assert_complete(tmp_path)


def test_a_node_that_is_cut_off_loses_its_trials_to_others(cluster: SimulatedCluster, tmp_path: Path) -> None:
    study = Study(cluster.address, tmp_path)
    study.wait_for_checkpoints(2)
    cluster.freeze(cluster.nodes[0])
    assert study.finish() == 0, study.printed
    assert_complete(tmp_path)


def test_a_worker_that_hangs_is_killed_and_its_trial_resumes(cluster: SimulatedCluster, tmp_path: Path) -> None:
    study = Study(cluster.address, tmp_path, "--trial-timeout", "20")
    study.wait_for_checkpoints()
    hung = cluster.workers()[0]
    os.kill(hung, signal.SIGSTOP)
    assert study.finish() == 0, study.printed
    wait_for(lambda: gone(hung))
    assert restarted(study.printed) >= 1
    assert_complete(tmp_path)


def test_a_slow_node_is_waited_for(cluster: SimulatedCluster, tmp_path: Path) -> None:
    study = Study(cluster.address, tmp_path)
    study.wait_for_checkpoints(2)
    stop = threading.Event()

    def slow_down() -> None:
        while not stop.wait(0.05):
            for worker in cluster.workers(cluster.nodes[0]):
                freeze(worker, 0.2)

    thread = threading.Thread(target=slow_down)
    thread.start()
    try:
        assert study.finish() == 0, study.printed
    finally:
        stop.set()
        thread.join()
    assert restarted(study.printed) == 0
    assert_complete(tmp_path)


def test_a_node_is_added_and_another_is_lost(tmp_path: Path) -> None:
    with SimulatedCluster(1) as cluster:
        study = Study(cluster.address, tmp_path)
        study.wait_for_checkpoints()
        second = cluster.add()
        wait_for(lambda: cluster.workers(second))  # it is used
        cluster.notice(cluster.nodes[0])
        assert study.finish() == 0, study.printed
    assert_complete(tmp_path)


def test_storage_that_fails_for_a_while(cluster: SimulatedCluster, tmp_path: Path) -> None:
    results = tmp_path / "results"
    study = Study(cluster.address, results)
    study.wait_for_checkpoints()
    (results / "checkpoints").rename(tmp_path / "away")
    threading.Event().wait(8)
    (tmp_path / "away").rename(results / "checkpoints")
    assert study.finish() == 0, study.printed
    assert restarted(study.printed) >= 1
    assert_complete(results)


def test_a_full_disk(cluster: SimulatedCluster, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("may not mount a small disk")
    try:
        study = Study(cluster.address, disk / "results")
        assert study.finish(900) == 1, study.printed  # each trial is tried four times, with pauses
        assert "No space left on device" in study.printed
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        run(cluster.address, disk / "results")
        assert_complete(disk / "results")
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
