"""What a worker does before its trial, and what it reports."""

from collections.abc import Mapping
from typing import Any

from study.tuning.trainable import REPORT_SECONDS, throttled


def test_epochs_and_probes_are_reported_now_and_then() -> None:
    reported: list[Mapping[str, Any]] = []
    seconds = 0.0
    report = throttled(reported.append, lambda: seconds)
    report({"epoch": 1})
    seconds = REPORT_SECONDS
    report({"epoch": 2})
    report({"probes_answered": 1})
    seconds = 2 * REPORT_SECONDS
    report({"probes_answered": 2})
    assert reported == [{"epoch": 2}, {"probes_answered": 2}]
