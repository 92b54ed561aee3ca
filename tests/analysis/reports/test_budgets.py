"""Gains per epoch and at equal compute, where the accuracy of every budget was planted."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.reports.budgets import (
    OptimizerComparison,
    OptimizerRun,
    comparisons,
    gain_at_equal_compute,
    gain_per_epoch,
    survives,
)
from analysis.statistics.estimates import LinearContrast
from analysis.tables.table import from_rows
from search_spaces.sgd_variants import CIFAR
from tests.analysis.variants import Setting, level, rows

SGD, SVRG, ADAM = Setting("lr"), Setting("lr", optimizer="svrg"), Setting("lr_0.0005", optimizer="adam")


def run(optimizer: str, epochs: int, cost: float, *clean: float) -> OptimizerRun:
    return OptimizerRun(optimizer, "", epochs, cost, 1000.0, ("0", "1", "2"), {"clean": np.array(clean)})


def compared(*runs: OptimizerRun) -> OptimizerComparison:
    return OptimizerComparison(("mnist", "m1"), 128, "lr", ("clean",), runs)


def test_a_gain_per_epoch_is_the_difference_of_means_with_welchs_interval() -> None:
    svrg = run("svrg", 10, 30.0, 0.90, 0.92, 0.94)
    gain = gain_per_epoch(compared(run("sgd", 10, 10.0, 0.80, 0.81, 0.82), svrg), svrg, "clean")
    assert gain is not None
    assert gain.value == pytest.approx(0.11)
    assert gain.se == pytest.approx(((0.02**2 + 0.01**2) / 3) ** 0.5)
    assert gain.dof == pytest.approx((0.02**2 + 0.01**2) ** 2 / ((0.02**4 + 0.01**4) / 2))


def test_between_two_budgets_sgd_is_linear_in_the_logarithm_of_gradients() -> None:
    svrg = run("svrg", 10, 20.0, 0.90, 0.90, 0.90)
    shorter, longer = run("sgd", 10, 10.0, 0.79, 0.80, 0.81), run("sgd", 40, 40.0, 0.83, 0.84, 0.85)
    gain = gain_at_equal_compute(compared(shorter, longer, svrg), svrg, "clean")
    assert gain is not None
    assert gain.value == pytest.approx(0.08)
    assert gain.se == pytest.approx((0.25 * 0.01**2 / 3 + 0.25 * 0.01**2 / 3) ** 0.5)


def test_a_run_of_the_same_cost_is_held_against_directly() -> None:
    svrg = run("svrg", 10, 30.0, 0.90, 0.90, 0.90)
    sgd = [run("sgd", epochs, float(epochs), *(value,) * 3) for epochs, value in ((10, 0.80), (30, 0.95), (40, 0.10))]
    gain = gain_at_equal_compute(compared(*sgd, svrg), svrg, "clean")
    assert gain is not None
    assert gain.value == pytest.approx(-0.05)


def test_nothing_is_extrapolated_and_two_seeds_say_nothing() -> None:
    svrg = run("svrg", 10, 30.0, 0.90, 0.90, 0.90)
    assert gain_at_equal_compute(compared(run("sgd", 10, 10.0, 0.8, 0.8, 0.8), svrg), svrg, "clean") is None
    two = OptimizerRun("svrg", "", 10, 10.0, 1000.0, ("0", "1"), {"clean": np.array([0.9, 0.9])})
    assert gain_per_epoch(compared(run("sgd", 10, 10.0, 0.8, 0.8, 0.8), two), two, "clean") is None


@pytest.mark.parametrize(
    ("per_epoch", "equal", "said"),
    [
        (0.02, 0.01, "survives"),
        (0.02, 0.0, "is not shown to survive"),
        (0.02, -0.01, "reverses"),
        (0.02, None, "unknown: no SGD network of this cost"),
        (0.0, 0.01, "no gain shown"),
        (-0.02, None, "a loss per epoch"),
        (None, 0.01, "no SGD network to compare"),
    ],
)
def test_what_becomes_of_a_gain(per_epoch: float | None, equal: float | None, said: str) -> None:
    gains = [None if value is None else LinearContrast(value, 0.001, 4) for value in (per_epoch, equal)]
    assert survives(*gains) == said


def test_a_comparison_needs_two_optimizers() -> None:
    assert comparisons(from_rows(rows("cifar10", {SGD: level()}))) == []
    assert comparisons(from_rows([])) == []


def test_budgets_of_one_place_are_compared_and_adam_keeps_its_own_rate() -> None:
    made = rows("cifar10", {SGD: level(0.8), SVRG: level(0.85), ADAM: level(0.87)}, epochs=10)
    made += rows("cifar10", {SGD: level(0.9), Setting("lr", 0.9): level(0.99)}, epochs=30)
    (found,) = comparisons(from_rows(made))
    assert (found["dataset"], found["model"], found.batch_size, found.regime) == (CIFAR.dataset, "vgg11", 128, "lr")
    budgets = {(r.optimizer, r.own, r.epochs, round(r.gradient_epochs)) for r in found.runs}
    assert budgets == {("sgd", "", 10, 10), ("sgd", "", 30, 30), ("svrg", "", 10, 30), ("adam", "lr_0.0005", 10, 10)}
    assert found.measures == ("clean", "fgsm 0.02", "pgd 0.02")
    (svrg,) = found.of("svrg")
    gain = gain_at_equal_compute(found, svrg, "clean")
    assert gain is not None
    assert gain.value == pytest.approx(-0.05, abs=0.01)


def test_the_strongest_attack_shown_is_one_that_leaves_something() -> None:
    made = rows("mnist", {SGD: level(0.98), SVRG: level(0.98)}, only=(128,))
    (found,) = comparisons(from_rows(made))
    assert found.strongest == "pgd 0.15"
    for row in made:
        row["attacks"] = [
            a | ({"accuracy": 0.001, "correct": 10} if a["epsilon"] == 0.15 else {}) for a in row["attacks"]
        ]
    (found,) = comparisons(from_rows(made))
    assert found.strongest == "pgd 0.03"
