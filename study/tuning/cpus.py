"""How many CPUs this process may use: what a container, `taskset` or a SLURM job leaves of the machine's."""

from __future__ import annotations

import os


def usable_cpus() -> int:
    """CPUs that this process may use, at least 1: the fewest of its affinity, its container's quota and a SLURM job's.

    Ray counts the CPUs of the machine, so in a container it would start more trials than there are CPUs. Not every
    SLURM binds a job's processes to its CPUs.
    """
    from joblib import cpu_count  # importing it takes a tenth of a second

    cpus: int = cpu_count()
    allocated = os.environ.get("SLURM_CPUS_ON_NODE", "")
    return max(1, min(cpus, int(allocated))) if allocated.isdecimal() else cpus
