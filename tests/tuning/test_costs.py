"""Estimates of cost: which device they are for, and what they rest on."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from search_spaces import AttackProbe, InputCurvatureProbe, Request, plan
from study.results.schema import Row, empty_row
from study.tuning.costs import CostModel, probe_seconds, train_seconds
from tests.trials.small import planned, trial

WORK = list(plan(Request(grid="smoke")).values())[:4]


def rows(training: float = 1.0, probes: float = 1.0) -> list[Row]:
    """Each trial took these multiples of what the bare model expects, and has answers to some of its probes."""
    found = []
    for one in WORK:
        attacks = [probe for probe in one.probes if isinstance(probe, AttackProbe)][:1]
        some = replace(one, probes=frozenset(attacks))
        times = {"train_seconds": training * train_seconds(one), "probe_seconds": probes * probe_seconds(some)}
        answers = {"attacks": [vars(probe) for probe in attacks]}
        found.append(empty_row() | {"trial_id": one.trial.trial_id, "status": "ok"} | times | answers)
    return found


def test_training_and_probes_are_scaled_by_their_own_times() -> None:
    """On a GPU many networks are trained as one program, and their probes are answered one by one."""
    grid, one = {one.trial.trial_id: one for one in WORK}, WORK[0]
    costs = CostModel(grid, rows(training=1 / 150, probes=0.5), weights=[])
    assert costs.training_seconds(one) == pytest.approx(train_seconds(one) / 150)
    assert costs.seconds(one) == pytest.approx(train_seconds(one) / 150 + 0.5 * probe_seconds(one))
    untouched = [row | {"attacks": None, "probe_seconds": 0.0} for row in rows(training=8.0)]
    assert CostModel(grid, untouched, weights=[]).seconds(one) == pytest.approx(8 * CostModel().seconds(one))


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
    assert gpu.summary([]) == "0:00 for one trial at a time on NVIDIA L4 (estimated from stored results)"


def test_a_network_whose_weights_are_gone_costs_its_training_again() -> None:
    grid = {one.trial.trial_id: one for one in WORK}
    one = WORK[0]
    assert CostModel(grid, rows()).training_seconds(one) == 0.0
    assert CostModel(grid, rows(), weights=[one.trial.trial_id]).training_seconds(one) == 0.0
    assert CostModel(grid, rows(), weights=[]).training_seconds(one) > 0.0


def test_without_rows_an_estimate_is_for_a_core_of_the_authors_machine_and_all_cores_of_this_one() -> None:
    work = [planned(trial(epochs=100_000))]
    assert CostModel().summary([]) == "0:00 on one core (estimated from the authors' machine)"
    assert " on one core, 0:00 on 1000000000 (estimated " in CostModel().summary(work, 10**9)


@pytest.mark.parametrize(("dataset", "classes"), [("cifar10", 10), ("cifar100", 100)])
def test_what_takes_a_backward_pass_for_each_class_costs_more_with_more_classes(dataset: str, classes: int) -> None:
    one = trial(dataset=dataset, model="resnet20", test_size=1_000)
    asked = [InputCurvatureProbe("test"), AttackProbe("fhsm", 0.02, "ce"), AttackProbe("fgsm", 0.02, "ce")]
    curvature, newton, plain = (probe_seconds(planned(one, frozenset({probe})), {"resnet20": 1.0}) for probe in asked)
    assert curvature == 1_000 * 0.5 * (classes - 1)
    assert newton > plain
    assert newton == pytest.approx(0.9 * (curvature + 1_500))


def test_a_timed_model_is_known_and_costs_what_was_timed() -> None:
    unknown = replace(WORK[0], trial=replace(WORK[0].trial, model="unknown"))
    guess, timed = CostModel(), CostModel(timed={"unknown": 2e-3})
    assert (guess.knows(unknown), timed.knows(unknown)) == (False, True)
    assert probe_seconds(unknown, timed.image_seconds) == pytest.approx(2 * probe_seconds(unknown))
    assert "from steps timed here" in timed.summary([unknown])
