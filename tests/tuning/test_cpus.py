"""Trials get the CPUs that the affinity and a SLURM job leave, not all of the machine."""

import os

import joblib
import pytest

from study.tuning import costs
from study.tuning.cpus import usable_cpus
from tests.trials.small import planned, trial


def test_the_affinity_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3}, raising=False)
    assert usable_cpus() == 1


@pytest.mark.parametrize(("allocated", "expected"), [("4", 4), ("64", 16), ("", 16), ("0", 1)])
def test_the_cpus_of_a_slurm_job_count(monkeypatch: pytest.MonkeyPatch, allocated: str, expected: int) -> None:
    monkeypatch.setattr(joblib, "cpu_count", lambda: 16)
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
