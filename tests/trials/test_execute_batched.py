"""Trials that can train together are grouped; each gets its row and weights, as if trained alone."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from search_spaces import Planned, Trial
from study.results.folder import Results
from study.results.rows import failed_row
from study.results.schema import Row
from study.trials import execute_batched as module
from study.trials.execute import execute
from study.trials.execute_batched import execute_batched, group_trials
from study.trials.train import TrialSettings
from tests.stored import results_in
from tests.trials.small import planned, tensors, trial

GROUP = [planned(trial(seed=seed, momentum=0.9, epochs=4 - seed)) for seed in range(3)]


def together(results: Results, group: Sequence[Planned] = GROUP, **options: Any) -> Row:
    settings: dict[str, Any] = {"replicas": 64, **options}
    return execute_batched(group[0], tensors(), results, groups={group[0].trial.trial_id: group}, **settings)


@cache
def trained_alone(trial: Trial) -> Row:
    """The row of a trial that is not trained in a group."""
    with tempfile.TemporaryDirectory() as folder:
        return execute(planned(trial, frozenset()), tensors(), results_in(Path(folder)))


def assert_as_alone(results: Results, group: Sequence[Planned] = GROUP) -> None:
    for one in group:
        row, its = results.read_row(one.trial.trial_id), trained_alone(one.trial)
        assert row is not None
        for name in ("status", "epochs_done", "steps", "gradient_equivalents", "seed", "learning_rate", "n_params"):
            assert row[name] == its[name], name
        for name in ("train_loss", "test_loss", "weight_norm"):
            assert row[name] == pytest.approx(its[name], rel=1e-3), name
        assert [e["epoch"] for e in row["history"]] == [e["epoch"] for e in its["history"]]
        assert results.read_checkpoint(one.trial.trial_id) is None


def test_each_trial_gets_its_row_and_answers_its_probes_afterwards(results: Results) -> None:
    row = together(results)
    assert row["trial_id"] == GROUP[0].trial.trial_id and row["attacks"] is None
    assert row["replicas"] == 3 and row["train_seconds"] > 0 and row["finished_at"] is not None
    assert_as_alone(results)
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
def test_an_interrupted_group_continues_from_its_checkpoints(results: Results, again: str) -> None:
    reports: list[Mapping[str, Any]] = []

    def killed(metrics: Mapping[str, Any]) -> None:
        reports.append(metrics)
        if len(reports) == 7:  # the third has ended and is stored, the others are in their third epoch
            raise _KilledError

    with pytest.raises(_KilledError):
        together(results, report=killed, settings=TrialSettings(checkpoint_seconds=0.0))
    assert [one.trial.seed for one in GROUP if results.read_row(one.trial.trial_id)] == [2]
    assert all(results.read_checkpoint(one.trial.trial_id) for one in GROUP[:2])
    size = len(results.read_checkpoint(GROUP[0].trial.trial_id) or b"")
    assert size < 1.2 * 2 * 4 * 5_746 + 10_000  # weights and moments of one
    if again == "together":
        together(results)
    else:
        for one in GROUP:
            execute(replace(one, probes=frozenset()), tensors(), results)
    assert_as_alone(results)


def test_a_diverging_member_has_its_row_and_does_not_affect_others(results: Results) -> None:
    group = [*GROUP[:2], planned(trial(seed=7, learning_rate=1e30))]
    stored: list[bool] = []
    seen = lambda metrics: stored.append(results.read_row(group[2].trial.trial_id) is not None)  # noqa: E731
    together(results, group, report=seen)
    assert stored[:2] == [False, False] and all(stored[2:])  # as soon as it is known
    row = results.read_row(group[2].trial.trial_id)
    assert row is not None and (row["status"], row["status_reason"]) == ("diverged", "loss became nan in epoch 1")
    assert results.read_weights(group[2].trial.trial_id) is None
    assert_as_alone(results, group[:2])


def test_out_of_memory_halves_the_batch(results: Results, monkeypatch: pytest.MonkeyPatch) -> None:
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
    assert_as_alone(results, group)


def test_how_many_train_together_is_measured_unless_given(results: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def measured(runs: Sequence[Any], train: object) -> float:
        asked.append(len(runs))
        return min(2.0, len(runs))

    monkeypatch.setattr(module, "throughput", measured)
    together(results, replicas=None)
    assert asked == [2, 3, 1]
    assert [results.read_row(one.trial.trial_id)["replicas"] for one in GROUP] == [2, 2, 1]  # type: ignore[index]


def test_networks_that_fill_a_device_alone_are_left_to_their_trials(
    results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "throughput", lambda runs, train: 1.0)
    before = failed_row(GROUP[0], "by another command")
    results.write_row(before)
    row = together(results, replicas=None)
    assert row["status"] == "left"
    assert [row["status_reason"] for row in results.read_rows()[0]] == [before["status_reason"]]


def test_a_group_reports_its_progress_like_one_trial(results: Results) -> None:
    reports: list[Mapping[str, Any]] = []
    together(results, report=reports.append)
    assert len(reports) == 4 + 3 + 2 and [t["epoch"] for t in reports] == sorted(t["epoch"] for t in reports)
    assert reports[-1]["epoch"] == 3 and 0 <= reports[-1]["val_acc"] <= 1


# -- which trials form a group ----------------------------------------------------------------------------------


def of(**changes: object) -> Planned:
    return planned(trial(**changes), frozenset())


def test_groups_may_differ_in_seed_rate_momentum_and_length_only() -> None:
    joined = [of(), of(seed=1), of(learning_rate=0.1), of(momentum=0.9), of(weight_decay=1e-3), of(epochs=9)]
    joined += [of(schedule="halve_every_5"), of(target_loss=0.1)]
    (found,) = group_trials(joined, set(), most=64)
    assert {p.trial.trial_id for p in found} == {p.trial.trial_id for p in joined}
    assert found[0].trial.epochs == 9  # the longest first
    for other in (
        of(batch_size=16), of(model="stdcnn"), of(augmentation="flip"), of(precision="bf16"), of(train_size=60),
        of(optimizer="msgd"), of(adversarial_training="fgsm", adversarial_epsilon=0.1), of(parent=trial(epochs=1)),
    ):  # fmt: skip
        assert group_trials([of(), other], set(), most=64) == []


def test_trained_trials_and_single_ones_are_left_out() -> None:
    three = [of(seed=seed) for seed in range(3)]
    (found,) = group_trials(three, {three[0].trial.trial_id}, most=64)
    assert found == three[1:]
    assert group_trials(three, {p.trial.trial_id for p in three[1:]}, most=64) == []


@given(count=st.integers(0, 70), most=st.integers(2, 64), parts=st.integers(1, 16))
def test_groups_hold_each_trial_once_and_are_even(count: int, most: int, parts: int) -> None:
    work = [of(seed=seed) for seed in range(count)]
    found = group_trials(work, set(), most=most, parts=parts)
    seen = [p.trial.seed for group in found for p in group]
    assert len(seen) == len(set(seen)) and count - len(seen) in (0, 1)
    assert all(2 <= len(group) <= most for group in found)
    sizes = [len(group) for group in found]
    assert not sizes or max(sizes) - min(sizes) <= 1
    assert len(found) >= min(parts, count // 2) or most < 4  # one kind is all of the work


def test_a_kind_with_much_of_the_work_is_split_over_gpus() -> None:
    large = [of(model="stdcnn", seed=seed) for seed in range(12)]
    small = [of(batch_size=size, seed=seed) for size in (8, 16, 32) for seed in range(4)]

    def sizes(parts: int) -> list[int]:
        cost = lambda planned: 9.0 if planned.trial.model == "stdcnn" else 1.0  # noqa: E731
        return sorted(len(group) for group in group_trials([*large, *small], set(), most=64, parts=parts, cost=cost))

    assert sizes(1) == [4, 4, 4, 12]  # one GPU: nothing to split
    assert sizes(4) == [3, 3, 3, 3, 4, 4, 4]  # nine tenths of the work for four GPUs; the small ones stay whole
