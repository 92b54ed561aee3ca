"""What a worker does before its trial, and what it reports."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from study.tuning import trainable
from study.tuning.trainable import REPORT_SECONDS, throttled


def test_epochs_and_probes_are_reported_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    reported: list[Mapping[str, Any]] = []
    seconds = 0.0
    monkeypatch.setattr(trainable, "time", SimpleNamespace(monotonic=lambda: seconds))
    report = throttled(reported.append)
    report({"epoch": 1})
    seconds = REPORT_SECONDS
    report({"epoch": 2})
    report({"probes_answered": 1})
    seconds = 2 * REPORT_SECONDS
    report({"probes_answered": 2})
    assert reported == [{"epoch": 2}, {"probes_answered": 2}]
