"""Random kills of workers and nodes under two hundred short trials: no row is lost, duplicated or changed."""

import random
from pathlib import Path

import pytest

from benchmarks.chaos import study


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes in /proc")
def test_random_kills_lose_and_change_nothing() -> None:
    undisturbed, disturbed = study(15, None), study(15, random.Random(0))
    assert len(undisturbed.rows) == 210
    assert disturbed.killed["workers"] >= 3
    assert disturbed.killed["nodes"] >= 1
    assert disturbed.restarts >= 3
    assert disturbed.duplicates == 0
    assert disturbed.rows == undisturbed.rows
