"""Trials get the CPUs that the affinity and a SLURM job leave, not all of the machine."""

import os

import joblib
import pytest

from study.tuning.cpus import usable_cpus


def test_the_affinity_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3}, raising=False)
    assert usable_cpus() == 1


@pytest.mark.parametrize(("allocated", "expected"), [("4", 4), ("64", 16), ("", 16), ("0", 1)])
def test_the_cpus_of_a_slurm_job_count(monkeypatch: pytest.MonkeyPatch, allocated: str, expected: int) -> None:
    monkeypatch.setattr(joblib, "cpu_count", lambda: 16)
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", allocated)
    assert usable_cpus() == expected
