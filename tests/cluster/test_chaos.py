"""Two hundred short trials under random kills of workers and nodes: none lost, none doubled, no bit changed."""

import random
from pathlib import Path

import pytest

from benchmarks.chaos import study


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes in /proc")
def test_random_kills_lose_and_change_nothing() -> None:
    calm, wild = study(15, None), study(15, random.Random(0))
    assert len(calm.rows) == 210
    assert wild.killed["workers"] >= 3
    assert wild.killed["nodes"] >= 1
    assert wild.restarts >= 3
    assert wild.doubled == 0
    assert wild.rows == calm.rows
