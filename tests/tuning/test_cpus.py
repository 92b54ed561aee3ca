"""Trials get the CPUs that a container's quota and the affinity leave, not all of the machine."""

import os
from pathlib import Path

import pytest

from study.tuning import costs, cpus
from study.tuning.cpus import usable_cpus
from tests.trials.small import planned, trial


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which the affinity allows 16 CPUs."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)), raising=False)
    monkeypatch.delenv("SLURM_CPUS_ON_NODE", raising=False)


@pytest.fixture(autouse=True)
def root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A root folder without `proc/` and `sys/`, as on other systems than Linux."""
    monkeypatch.setattr(cpus, "ROOT", tmp_path)


def limit(folder: Path, cgroup: str, **files: str) -> None:
    """Write this `/proc/self/cgroup` and these files below `/sys/fs/cgroup`."""
    (folder / "proc/self").mkdir(parents=True)
    (folder / "proc/self/cgroup").write_text(cgroup)
    for name, content in files.items():
        path = folder / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


V1 = "12:pids:/docker/a\n4:cpu,cpuacct:/docker/a\n3:cpuset:/\n1:name=systemd:/docker/a\n"


@pytest.mark.parametrize(
    ("cgroup", "files", "expected"),
    [
        ("0::/\n", {"cpu.max": "200000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "max 100000\n"}, 16),
        ("0::/\n", {"cpu.max": "350000 100000\n"}, 3),  # rounded down
        ("0::/\n", {"cpu.max": "50000 100000\n"}, 1),
        ("0::/\n", {}, 16),  # the root of the machine has no limit
        ("0::/a/b\n", {"a/cpu.max": "300000 100000\n", "a/b/cpu.max": "max 100000\n"}, 3),  # the one above binds
        ("0::/host/path\n", {"cpu.max": "400000 100000\n"}, 4),
        (V1, {"cpu/docker/a/cpu.cfs_quota_us": "250000\n", "cpu/docker/a/cpu.cfs_period_us": "50000\n"}, 5),
        (V1, {"cpu/cpu.cfs_quota_us": "600000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 6),  # a container's view
        (V1, {"cpu/docker/a/cpu.cfs_quota_us": "-1\n", "cpu/docker/a/cpu.cfs_period_us": "100000\n"}, 16),
        (V1 + "0::/\n", {"cpu/cpu.cfs_quota_us": "600000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 6),
        ("0::/\n", {"cpu.max": "garbage\n"}, 16),
    ],
)
def test_the_smallest_quota_counts(
    machine: None, tmp_path: Path, cgroup: str, files: dict[str, str], expected: int
) -> None:
    limit(tmp_path, cgroup, **files)
    assert usable_cpus() == expected


def test_the_affinity_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3, 5}, raising=False)
    assert usable_cpus() == 2
    limit(tmp_path, "0::/\n", **{"cpu.max": "800000 100000\n"})
    assert usable_cpus() == 2


@pytest.mark.parametrize(("allocated", "expected"), [("4", 4), ("64", 16), ("", 16)])
def test_the_cpus_of_a_slurm_job_count(
    machine: None, monkeypatch: pytest.MonkeyPatch, allocated: str, expected: int
) -> None:
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", allocated)
    assert usable_cpus() == expected


def test_the_estimate_is_for_the_usable_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    work = [planned(trial(epochs=100_000))]
    found = []
    for count in (1, 10**9):
        monkeypatch.setattr(costs, "usable_cpus", lambda count=count: count)
        found.append(costs.CostModel().summary(work))
    assert " 0:00 on 1 " not in found[0]
    assert " 0:00 on 1000000000 " in found[1]
