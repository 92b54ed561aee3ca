"""What a worker does before its trial, and what it reports."""

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from study.tuning import trainable
from study.tuning.settings import RunSettings
from study.tuning.trainable import OUT_OF_GPU_MEMORY, REPORT_SECONDS, run_trial, throttled
from tests.trials.small import planned, results_in


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


@pytest.mark.parametrize(("share", "status", "stored"), [(0.5, OUT_OF_GPU_MEMORY, None), (1.0, "failed", "failed")])
def test_a_trial_that_runs_out_of_gpu_memory_fails_with_a_whole_gpu_only(
    share: float, status: str, stored: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*unused: object, **options: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. (planted)")

    reported: list[Mapping[str, Any]] = []
    one, results = planned(), results_in(tmp_path)
    trial_id = one.trial.trial_id
    monkeypatch.setattr(trainable, "_gpu_share", lambda: share)
    monkeypatch.setattr(trainable, "_read_plan", lambda reference: {trial_id: one})
    monkeypatch.setattr(trainable, "tensors", lambda *unused: None)
    monkeypatch.setattr(trainable, "tune", SimpleNamespace(report=reported.append))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)  # which a trial that runs on a CPU does not touch
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: reported.append({"status": "touched"}))
    options: dict[str, Any] = {"plan": [None], "references": {}, "settings": RunSettings(), "execute_trial": full}
    run_trial({"trial_id": trial_id}, location=str(tmp_path), **options)
    assert [metrics["status"] for metrics in reported] == [status]
    assert (results.read_row(trial_id) or {"status": None})["status"] == stored
