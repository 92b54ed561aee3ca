"""A group of trials: a row and weights each, as if trained alone; interrupted, out of memory or diverging."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from search_spaces import Planned
from study.results.folder import Results
from study.results.schema import Row
from study.trials import execute_batched as module
from study.trials.execute import execute
from study.trials.execute_batched import execute_batched
from tests.trials.small import planned, tensors, trial

GROUP = [planned(trial(seed=seed, momentum=0.9, epochs=4 - seed)) for seed in range(3)]


def results_in(folder: Path) -> Results:
    made = Results(folder)
    made.create()
    return made


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return results_in(tmp_path / "together")


def together(results: Results, group: Sequence[Planned] = GROUP, **options: Any) -> Row:
    settings: dict[str, Any] = {"replicas": 64, **options}
    return execute_batched(group[0], tensors(), results, groups={group[0].trial.trial_id: group}, **settings)


def assert_as_alone(results: Results, folder: Path, group: Sequence[Planned] = GROUP) -> None:
    alone = results_in(folder)
    for one in group:
        row, its = results.read_row(one.trial.trial_id), execute(one, tensors(), alone)
        assert row is not None
        for name in ("status", "epochs_done", "steps", "gradient_equivalents", "seed", "learning_rate", "n_params"):
            assert row[name] == its[name], name
        for name in ("train_loss", "test_loss", "weight_norm"):
            assert row[name] == pytest.approx(its[name], rel=1e-3), name
        assert [e["epoch"] for e in row["history"]] == [e["epoch"] for e in its["history"]]
        assert results.read_checkpoint(one.trial.trial_id) is None


def test_each_network_gets_its_row_and_answers_its_probes_afterwards(results: Results, tmp_path: Path) -> None:
    row = together(results)
    assert row["trial_id"] == GROUP[0].trial.trial_id and row["attacks"] is None
    assert row["replicas"] == 3 and row["train_seconds"] > 0 and row["finished_at"] is not None
    assert_as_alone(results, tmp_path / "alone")
    sha = {one.trial.trial_id: results.read_row(one.trial.trial_id)["weights_sha256"] for one in GROUP}  # type: ignore[index]
    for one in GROUP:
        answered = execute(one, tensors(), results)
        assert answered["weights_sha256"] == sha[one.trial.trial_id]  # probed, not trained again
        assert len(answered["attacks"]) == 4 and answered["replicas"] == 3


def test_a_stored_network_holds_its_own_weights_only(results: Results) -> None:
    together(results)
    sizes = [len(results.read_weights(one.trial.trial_id) or b"") for one in GROUP]
    assert max(sizes) < 1.2 * 4 * 5_746 + 5_000  # and not those of the program it was trained in


class _KilledError(Exception):
    pass


@pytest.mark.parametrize("again", ["together", "alone"])
def test_an_interrupted_group_goes_on_from_its_checkpoints(
    results: Results, tmp_path: Path, again: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REPORT_SECONDS", 0.0)
    reports: list[Mapping[str, Any]] = []

    def killed(metrics: Mapping[str, Any]) -> None:
        reports.append(metrics)
        if len(reports) == 7:  # the third has ended and is stored, the others are in their third epoch
            raise _KilledError

    with pytest.raises(_KilledError):
        together(results, report=killed, checkpoint_seconds=0.0)
    assert [one.trial.seed for one in GROUP if results.read_row(one.trial.trial_id)] == [2]
    assert all(results.read_checkpoint(one.trial.trial_id) for one in GROUP[:2])
    size = len(results.read_checkpoint(GROUP[0].trial.trial_id) or b"")
    assert size < 1.2 * 2 * 4 * 5_746 + 10_000  # weights and moments of one
    if again == "together":
        together(results)
    else:
        for one in GROUP:
            execute(one, tensors(), results)
    assert_as_alone(results, tmp_path / "alone")


def test_a_diverging_member_has_its_row_and_hurts_no_other(
    results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = [*GROUP[:2], planned(trial(seed=7, learning_rate=1e30))]
    stored: list[bool] = []
    monkeypatch.setattr(module, "REPORT_SECONDS", 0.0)
    seen = lambda metrics: stored.append(results.read_row(group[2].trial.trial_id) is not None)  # noqa: E731
    together(results, group, report=seen)
    assert stored[:2] == [False, False] and all(stored[2:])  # as soon as it is known
    row = results.read_row(group[2].trial.trial_id)
    assert row is not None and (row["status"], row["status_reason"]) == ("diverged", "loss became nan in epoch 1")
    assert results.read_weights(group[2].trial.trial_id) is None
    assert_as_alone(results, tmp_path / "alone", group[:2])


def test_out_of_memory_halves_the_program(results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, sizes = module.train_batched, []

    def small_gpu(runs: Sequence[Any], **settings: Any) -> None:
        sizes.append(len(runs))
        if len(runs) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. (planted)")
        real(runs, **settings)

    monkeypatch.setattr(module, "train_batched", small_gpu)
    group = [planned(trial(seed=seed), frozenset()) for seed in range(5)]
    together(results, group)
    assert sizes == [5, 2, 2, 1]
    assert [results.read_row(one.trial.trial_id)["replicas"] for one in group] == [2, 2, 2, 2, 1]  # type: ignore[index]
    assert_as_alone(results, tmp_path / "alone", group)


def test_how_many_at_once_is_measured_unless_it_is_said(results: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def measured(runs: Sequence[Any], train: object) -> float:
        asked.append(len(runs))
        return min(2.0, len(runs))

    monkeypatch.setattr(module, "throughput", measured)
    together(results, replicas=None)
    assert asked == [1, 2, 3]
    assert [results.read_row(one.trial.trial_id)["replicas"] for one in GROUP] == [2, 2, 1]  # type: ignore[index]


def test_networks_that_fill_a_device_alone_are_left_to_their_trials(
    results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "throughput", lambda runs, train: 1.0)
    row = together(results, replicas=None)
    assert row["status"] == "left"
    assert [results.read_row(one.trial.trial_id) for one in GROUP] == [None, None, None]


def test_the_driver_is_told_of_the_group_as_of_one_trial(results: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REPORT_SECONDS", 0.0)
    told: list[Mapping[str, Any]] = []
    together(results, report=told.append)
    assert len(told) == 4 + 3 + 2 and [t["epoch"] for t in told] == sorted(t["epoch"] for t in told)
    assert told[-1]["epoch"] == 3 and 0 <= told[-1]["val_acc"] <= 1
