"""Estimates of cost: which device they are for, and how often a trial should report."""

import math
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from search_spaces import AttackProbe, InputCurvatureProbe, Request, SpectrumProbe, plan
from study.results.schema import Row, empty_row
from study.tuning.costs import CostModel, probe_passes, probe_seconds, train_seconds
from study.tuning.cpus import usable_cpus
from tests.trials.small import planned, trial

WORK = list(plan(Request(grid="smoke")).values())[:4]


def rows(factor: float) -> list[Row]:
    """Each trial took `factor` times what the bare model expects, half of it in training."""
    half = {one.trial.trial_id: factor * CostModel().seconds(one) / 2 for one in WORK}
    return [
        empty_row() | {"trial_id": trial_id, "status": "ok", "train_seconds": seconds, "probe_seconds": seconds}
        for trial_id, seconds in half.items()
    ]


def test_the_report_interval_is_that_of_the_slower_device_and_infinite_for_an_unknown_model() -> None:
    grid = {one.trial.trial_id: one for one in WORK}
    bare = CostModel().report_interval(WORK[0])
    assert CostModel(grid, rows(0.01)).report_interval(WORK[0]) == pytest.approx(bare)
    assert CostModel(grid, rows(8.0)).report_interval(WORK[0]) > bare
    unknown = replace(WORK[0], trial=replace(WORK[0].trial, model="unknown"))
    assert CostModel().report_interval(unknown) == math.inf


def test_the_report_interval_is_that_of_the_longest_epoch_or_probe_not_of_the_whole_trial() -> None:
    one = WORK[0]
    longer = replace(one, trial=replace(one.trial, epochs=100 * one.trial.epochs))
    assert CostModel().report_interval(longer) == pytest.approx(CostModel().report_interval(one))
    cheap = replace(one, probes=frozenset({AttackProbe("fgsm", 0.1, "ce", "test")}))
    expensive = replace(one, probes=cheap.probes | {SpectrumProbe("train", one.trial.train_size, 20)})
    products = probe_seconds(replace(one, probes=expensive.probes - cheap.probes))
    assert CostModel().report_interval(expensive) == pytest.approx(products)
    assert CostModel().report_interval(expensive) > CostModel().report_interval(cheap)


def test_the_device_of_most_of_the_last_rows_scales_a_model() -> None:
    """A study that began on a GPU and goes on without one is estimated by its newer rows, however many there are."""
    work = [planned(trial(seed=seed)) for seed in range(6)]
    grid = {one.trial.trial_id: one for one in work}
    expected = train_seconds(work[0])
    devices = ("NVIDIA L4", "NVIDIA L4", "NVIDIA L4", "NVIDIA L4", "cpu", "cpu")
    rows = [
        {"trial_id": one.trial.trial_id, "status": "ok", "device": device}
        | {
            "train_seconds": (8.0 if device == "cpu" else 0.5) * expected,
            "started_at": datetime(2026, 11, day, tzinfo=UTC),
        }
        for day, (one, device) in enumerate(zip(work, devices, strict=True), start=1)
    ]
    costs = CostModel(grid, reversed(rows))
    assert costs.scale == {"m1_8": 8.0} and costs.devices == ["cpu"]
    gpu = CostModel(grid, rows[:5])
    assert gpu.scale == {"m1_8": 0.5}
    assert gpu.summary([]) == "estimated: 0:00 of one trial at a time, as stored rows took on NVIDIA L4"


def test_a_network_whose_weights_are_gone_costs_its_training_again() -> None:
    grid = {one.trial.trial_id: one for one in WORK}
    one = WORK[0]
    assert CostModel(grid, rows(1.0)).training_seconds(one) == 0.0
    assert CostModel(grid, rows(1.0), weights=[one.trial.trial_id]).training_seconds(one) == 0.0
    assert CostModel(grid, rows(1.0), weights=[]).training_seconds(one) > 0.0


def test_without_rows_an_estimate_is_for_a_core_of_the_authors_machine() -> None:
    expected = f"estimated: 0:00 on one core, 0:00 on {usable_cpus()} (by the authors' machine)"
    assert CostModel().summary([]) == expected


@pytest.mark.parametrize(("dataset", "classes"), [("cifar10", 10), ("cifar100", 100)])
def test_what_takes_a_backward_pass_for_each_class_costs_more_with_more_classes(dataset: str, classes: int) -> None:
    one = trial(dataset=dataset, model="resnet20", test_size=1_000)
    curvature = probe_passes(one, [InputCurvatureProbe("test")])
    assert curvature == 1_000 * 0.5 * (classes - 1)
    newton, plain = (probe_passes(one, [AttackProbe(name, 0.02, "ce")]) for name in ("fhsm", "fgsm"))
    assert newton > plain
    assert newton == pytest.approx(0.9 * (curvature + 1_500))


def test_a_timed_model_is_known_and_costs_what_was_timed() -> None:
    unknown = replace(WORK[0], trial=replace(WORK[0].trial, model="unknown"))
    guess, timed = CostModel(), CostModel(timed={"unknown": 2e-3})
    assert (guess.knows(unknown), timed.knows(unknown)) == (False, True)
    assert probe_seconds(unknown, timed.image_seconds) == pytest.approx(2 * probe_seconds(unknown))
    assert timed.report_interval(unknown) < math.inf
    assert "by steps timed here" in timed.summary([unknown])
