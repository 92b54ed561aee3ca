"""Trials that can train as one program are grouped."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from search_spaces import Planned, Request, plan
from study.trials.execute_batched import SHARED_FIELDS, group_trials
from tests.trials.small import planned, trial


def of(**changes: object) -> Planned:
    return planned(trial(**changes), frozenset())


def test_seeds_rates_momenta_and_lengths_join_and_everything_else_parts() -> None:
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


def test_a_kind_is_cut_for_several_gpus_where_it_is_much_of_the_work() -> None:
    large = [of(model="stdcnn", seed=seed) for seed in range(12)]
    small = [of(batch_size=size, seed=seed) for size in (8, 16, 32) for seed in range(4)]

    def sizes(parts: int) -> list[int]:
        cost = lambda planned: 9.0 if planned.trial.model == "stdcnn" else 1.0  # noqa: E731
        return sorted(len(group) for group in group_trials([*large, *small], set(), most=64, parts=parts, cost=cost))

    assert sizes(1) == [4, 4, 4, 12]  # one GPU: nothing to share out
    assert sizes(4) == [3, 3, 3, 3, 4, 4, 4]  # nine tenths of the work for four GPUs; the small ones stay whole


def test_every_grid_groups_into_programs_of_one_kind() -> None:
    grid = plan(Request("full", seeds=(0, 1, 2)))
    for group in group_trials(grid.values(), set(), most=64):
        assert len({tuple(getattr(p.trial, name) for name in SHARED_FIELDS) for p in group}) == 1


def test_precision_joins_nothing_across_its_kinds() -> None:
    both = [of(seed=s, precision=p) for s in range(2) for p in ("float32", "bf16")]
    assert sorted(group[0].trial.precision for group in group_trials(both, set(), most=9)) == [
        "bf16",
        "float32",
    ]
