"""A tracker is told of the epochs of a network that was trained as one of several, once its own trial runs."""

from pathlib import Path

from study.results.folder import Results
from study.trials.execute import execute
from study.trials.execute_batched import execute_batched
from study.tuning.trainable import _report_history
from tests.trials.small import planned, tensors, trial


def test_epochs_are_told_once_and_only_of_networks_that_no_trial_trained(tmp_path: Path) -> None:
    results = Results(tmp_path)
    results.create()
    group = [planned(trial(seed=seed, epochs=3)) for seed in range(2)]
    told: list[int] = []
    _report_history(results, group[0], lambda metrics: told.append(metrics["epoch"]))
    assert told == []  # not trained yet
    execute_batched(group[0], tensors(), results, groups={group[0].trial.trial_id: group}, replicas=2)
    _report_history(results, group[0], lambda metrics: told.append(metrics["epoch"]))
    assert told == [1, 2, 3]
    execute(group[0], tensors(), results)
    _report_history(results, group[0], lambda metrics: told.append(metrics["epoch"]))
    assert told == [1, 2, 3]  # answered: its trial has run before
