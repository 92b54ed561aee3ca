"""How many CPUs this process may use: what a container, `taskset` or a SLURM job leaves of the machine's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

ROOT = Path("/")
"""The folder that holds `proc/` and `sys/`."""


def usable_cpus() -> int:
    """CPUs that this process may use, at least 1: the smallest of its affinity, its cgroups' quotas and a SLURM job's.

    Ray counts the CPUs of the machine, so in a container it would start more trials than there are CPUs. A quota that
    is not a whole number is rounded down. Not every SLURM binds a job's processes to its CPUs.
    """
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    allocated = os.environ.get("SLURM_CPUS_ON_NODE", "")
    return max(1, int(min([cpus, *_quotas(), *([int(allocated)] if allocated.isdecimal() else [])])))


def _quotas() -> Iterator[float]:
    """The CPU quotas of this process's cgroups and of all above them, in version 1 and 2 of the kernel's interface."""
    try:
        cgroups = (ROOT / "proc/self/cgroup").read_text().splitlines()
    except OSError:  # not Linux
        return
    mounts = ROOT / "sys/fs/cgroup"
    for line in cgroups:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            hierarchy = mounts
        elif "cpu" in controllers.split(","):
            hierarchy = mounts / "cpu"  # where `cpu,cpuacct` is mounted, `cpu` is a link to it
        else:
            continue
        # In a container the path may be the host's, of which only the root of the mount is visible.
        folders = [hierarchy / path.strip("/"), *(hierarchy / path.strip("/")).parents]
        for folder in folders[: folders.index(hierarchy) + 1]:
            with suppress(OSError, ValueError):
                yield _quota(folder, version=1 if controllers else 2)


def _quota(folder: Path, version: int) -> float:
    """CPUs that one cgroup may use; infinite without a limit. Raises OSError where there is no such file."""
    if version == 2:
        quota, period = (folder / "cpu.max").read_text().split()
        return float("inf") if quota == "max" else int(quota) / int(period)
    microseconds = int((folder / "cpu.cfs_quota_us").read_text())
    return float("inf") if microseconds <= 0 else microseconds / int((folder / "cpu.cfs_period_us").read_text())
