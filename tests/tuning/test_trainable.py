"""What a worker does before its trial, and what it reports."""

import errno
import os
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from study.tuning import trainable
from study.tuning.settings import RunSettings
from study.tuning.trainable import OUT_OF_GPU_MEMORY, REPORT_SECONDS, run_trial, throttled
from tests.stored import results_in
from tests.trials.small import planned


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


@pytest.mark.parametrize("again", [False, True])
def test_a_full_disk_ends_the_trial_at_once_and_other_errors_of_the_storage_do_not(
    again: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = errno.EIO if again else errno.ENOSPC

    def full(*unused: object, **options: object) -> None:
        raise OSError(number, os.strerror(number))

    reported: list[Mapping[str, Any]] = []
    one = planned()
    results_in(tmp_path)
    trial_id = one.trial.trial_id
    monkeypatch.setattr(trainable, "STORAGE_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(trainable, "_read_plan", lambda reference: {trial_id: one})
    monkeypatch.setattr(trainable, "tensors", lambda *unused: None)
    monkeypatch.setattr(trainable, "store_failure", full)
    monkeypatch.setattr(trainable, "tune", SimpleNamespace(report=reported.append))
    monkeypatch.setattr(trainable, "_gpu_share", lambda: 0.0)
    options: dict[str, Any] = {"plan": [None], "references": {}, "settings": RunSettings(), "execute_trial": full}
    if again:
        with pytest.raises(OSError, match="Input/output error"):
            run_trial({"trial_id": trial_id}, location=str(tmp_path), **options)
        assert reported == []
    else:
        run_trial({"trial_id": trial_id}, location=str(tmp_path), **options)
        (metrics,) = reported
        assert metrics["status"] == "failed"
        assert metrics["status_reason"] == "No space left on device: free some and give the same command again"
