"""Trials that go wrong, for workers to run in place of `execute`."""

from __future__ import annotations

import os
import time
from typing import Any

from search_spaces import Planned
from study.results.folder import Results
from study.trials.device_data import DeviceData
from study.trials.execute import execute

RAISES, DIES, HOARDS, HANGS = 1, 2, 3, 5
"""The seed says what goes wrong, every time; other seeds are sound."""


def faulty(planned: Planned, data: DeviceData, results: Results, **options: Any) -> dict[str, Any]:
    """Raises, kills its own worker, takes more memory than the host may use, or waits for nothing."""
    if planned.trial.seed == RAISES:
        raise ZeroDivisionError("planted")
    if planned.trial.seed == DIES:
        os._exit(1)
    if planned.trial.seed == HOARDS:
        hoard = []
        for _ in range(60):
            hoard.append(b"x" * (100 << 20))
            time.sleep(0.02)
        time.sleep(60)
    if planned.trial.seed == HANGS:
        time.sleep(3600)
    return execute(planned, data, results, **options)
