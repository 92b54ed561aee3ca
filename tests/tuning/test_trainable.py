"""What a worker does before its trial, and what it reports."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from study.results.folder import Results
from study.trials.execute import execute
from study.trials.execute_batched import execute_batched
from study.tuning.trainable import REPORT_SECONDS, report_history, throttled
from tests.trials.small import planned, tensors, trial


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


def test_epochs_of_batched_training_are_reported_once(tmp_path: Path) -> None:
    results = Results(tmp_path)
    results.create()
    group = [planned(trial(seed=seed, epochs=3)) for seed in range(2)]
    reported: list[int] = []
    report_history(results, group[0], lambda metrics: reported.append(metrics["epoch"]))
    assert reported == []  # not trained yet
    execute_batched(group[0], tensors(), results, groups={group[0].trial.trial_id: group}, replicas=2)
    report_history(results, group[0], lambda metrics: reported.append(metrics["epoch"]))
    assert reported == [1, 2, 3]
    execute(group[0], tensors(), results)
    report_history(results, group[0], lambda metrics: reported.append(metrics["epoch"]))
    assert reported == [1, 2, 3]  # its trial has run before
