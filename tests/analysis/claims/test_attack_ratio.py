"""The attack ratio as a measure: adversarial over clean accuracy, on curves named by optimizer and decay."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from analysis.claims.curves import Evidence, Scope, Setting
from analysis.claims.measures import attack_ratio
from analysis.claims.pairings import against
from analysis.statistics.estimates import ALONG_BATCH_SIZES, AT_ONE_SIZE, Reach, Sample
from analysis.tables.table import from_rows
from search_spaces.sgd_variants import CIFAR, MNIST
from study.results.schema import Row
from tests.analysis.variants import level, rows

SGD, SVRG, DECAY = Setting("lr"), Setting("lr", optimizer="svrg"), Setting("lr", weight_decay=0.001)
RATIO = attack_ratio("fgsm", "mnist", 0.15)


def scope(*settings: Setting) -> Scope:
    return Scope((MNIST,), settings, only=True)


def evidence(made: list[Row]) -> Evidence:
    return Evidence(from_rows(made))


def test_it_is_in_points_of_the_clean_accuracy_and_linear_on_the_logit_of_what_stays_right() -> None:
    made = rows("mnist", {SGD: level(0.8, 0.4)}, noise=0.0)
    (curve,) = evidence(made).curves(scope(SGD), RATIO, "ce")
    np.testing.assert_allclose(curve.sample.value, 50.0)
    np.testing.assert_allclose(curve.sample.linear, np.log(4000.5 / 4000.5), atol=1e-12)


def test_images_that_an_attack_puts_right_do_not_break_the_logit() -> None:
    made = rows("mnist", {SGD: level(0.3, 0.4)}, noise=0.0)
    (curve,) = evidence(made).curves(scope(SGD), RATIO, "ce")
    assert curve.sample.value == pytest.approx(400 / 3)
    assert np.isfinite(curve.sample.linear).all()


def test_another_epsilon_is_another_measure() -> None:
    (curve,) = evidence(rows("mnist", {SGD: level()})).curves(scope(SGD), attack_ratio("fgsm", "mnist", 0.1), "ce")
    assert not len(curve.sample.value)


def test_settings_that_differ_in_optimizer_or_decay_are_curves_of_their_own() -> None:
    made = rows("mnist", {SGD: level(0.8, 0.4), SVRG: level(0.8, 0.2), DECAY: level(0.8, 0.6)}, noise=0.0)
    found = evidence(made).curves(scope(SGD, SVRG, DECAY), RATIO, "ce")
    assert {s.setting: round(float(s.sample.value.mean())) for s in found} == {SGD: 50, SVRG: 25, DECAY: 75}
    assert [s.setting for s in evidence(made).curves(scope(SVRG), RATIO, "ce")] == [SVRG]
    assert SVRG.name == "svrg lr"
    assert DECAY.name == "sgd lr, weight decay 0.001"


def test_a_network_lacks_the_settings_of_its_paper_and_no_others() -> None:
    """The paper trained no VGG-11 with SVRG under a constant ratio."""
    settings = (SVRG, replace(SVRG, regime="lr_bs"))
    found = evidence([]).curves(Scope((MNIST, CIFAR), settings, only=True), RATIO, "ce")
    assert {(c.model, c.setting) for c in found} == {("m1", SVRG), ("m1", settings[1]), ("vgg11", SVRG)}


def test_an_arm_that_was_not_run_is_empty_not_absent() -> None:
    found = evidence(rows("mnist", {SGD: level()})).curves(scope(SGD, SVRG), RATIO, "ce")
    (arms,) = against(SGD, SVRG)(found)
    first, second = arms.curves
    assert (first.setting, second.setting) == (SGD, SVRG)
    assert len(first.sample.value) == 18
    assert not len(second.sample.value)


def test_one_batch_size_is_enough_for_a_contrast_and_not_for_a_trend() -> None:
    three = Sample.of([128] * 3, [0, 1, 2], [1.0, 2.0, 3.0])
    assert three.shortfall(AT_ONE_SIZE) is None
    trend = three.shortfall(ALONG_BATCH_SIZES)
    assert trend is not None
    assert "needs 5 spanning 16x" in trend.reason
    two = three.where(np.array([True, True, False])).shortfall(AT_ONE_SIZE)
    assert two is not None
    assert (two.verdict, two.reason) == ("not run", "0 batch sizes with 3 seeds; needs one")
    assert Reach(4, 8.0).met(np.array([32.0, 64.0, 128.0, 256.0]))
