"""After a run the estimate is held against what the trials took."""

import math
from dataclasses import replace

import pytest

from search_spaces import AttackProbe, Request, SpectrumProbe, plan
from study.results.schema import Row, empty_row
from study.tuning.costs import CostModel, probe_seconds

WORK = list(plan(Request(grid="smoke")).values())[:4]


def rows(factor: float) -> list[Row]:
    """Each trial took `factor` times what the bare model expects, half of it in training."""
    half = {planned.trial.trial_id: factor * CostModel().seconds(planned) / 2 for planned in WORK}
    return [
        empty_row() | {"trial_id": trial_id, "status": "ok", "train_seconds": seconds, "probe_seconds": seconds}
        for trial_id, seconds in half.items()
    ]


@pytest.mark.parametrize("factor", [0.25, 1.0, 4.0])
def test_a_factor_means_the_same_above_and_below(factor: float) -> None:
    found = CostModel().accuracy(WORK, rows(factor))
    assert found is not None and found.trials == len(WORK)
    assert found.took / found.expected == pytest.approx(factor)
    assert found.typical_factor == pytest.approx(max(factor, 1 / factor))


def test_trials_that_were_trained_before_say_nothing_of_their_training() -> None:
    grid = {planned.trial.trial_id: planned for planned in WORK}
    before = rows(1.0)[:3]
    found = CostModel(grid, before).accuracy(WORK, rows(2.0))
    assert found is not None and found.trials == 1


def test_failed_trials_and_an_empty_run_have_no_accuracy() -> None:
    failed = [row | {"status": "failed"} for row in rows(1.0)]
    assert CostModel().accuracy(WORK, failed) is None
    assert CostModel().accuracy([], rows(1.0)) is None


def test_patience_is_that_of_the_slower_device_and_endless_for_a_model_never_measured() -> None:
    grid = {planned.trial.trial_id: planned for planned in WORK}
    bare = CostModel().patience(WORK[0])
    assert CostModel(grid, rows(0.01)).patience(WORK[0]) == pytest.approx(bare)
    assert CostModel(grid, rows(8.0)).patience(WORK[0]) > bare
    unknown = replace(WORK[0], trial=replace(WORK[0].trial, model="a newcomer's"))
    assert CostModel().patience(unknown) == math.inf


def test_patience_is_that_of_the_longest_epoch_or_probe_not_of_the_whole_trial() -> None:
    one = WORK[0]
    longer = replace(one, trial=replace(one.trial, epochs=100 * one.trial.epochs))
    assert CostModel().patience(longer) == pytest.approx(CostModel().patience(one))
    shallow = replace(one, probes=frozenset({AttackProbe("fgsm", 0.1, "ce", "test")}))
    deep = replace(one, probes=shallow.probes | {SpectrumProbe("train", one.trial.train_size, 20)})
    products = probe_seconds(replace(one, probes=deep.probes - shallow.probes))
    assert CostModel().patience(deep) == pytest.approx(products)
    assert CostModel().patience(deep) > CostModel().patience(shallow)
