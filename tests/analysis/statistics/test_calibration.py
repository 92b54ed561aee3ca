"""Fast versions of `benchmarks.calibration`: false finds, coverage and power where the truth was planted."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.reports.counterexamples import counterexample_report
from analysis.statistics.intervals import clopper_pearson
from analysis.tables.table import from_rows
from benchmarks.calibration import coverage as c
from benchmarks.calibration import power as p
from benchmarks.calibration.tables import HALF_MIDDLE, MIDDLE, OUTLIER, TWO_GROUPS, UNEQUAL
from benchmarks.calibration.worlds import (
    World,
    confirmed,
    families_with,
    flat_curvature_world,
    flat_world,
    judged,
    unadjusted,
)
from tests.analysis.synthetic import curve_rows, flat, line


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def agrees(found: c.Held, at_least: float) -> bool:
    """Whether the count is one that a coverage of `at_least` gives in all but one of 10,000 runs."""
    return bool(stats.binom.cdf(found.hits, found.n, at_least) > 1e-4)


class TestFalseFinds:
    """Four flat curves of seven batch sizes: 84 pairs, of which none is a counterexample."""

    @pytest.mark.parametrize("seeds", [3, 5, 8])
    def test_flat_curves_confirm_nothing_in_95_percent_of_families(self, seeds: int) -> None:
        families = 300
        events = {"alone": unadjusted, "confirmed": confirmed}
        found = families_with(events, flat_world(), families, seeds, rng(1))
        assert clopper_pearson(found["confirmed"], families).high < 0.05
        assert found["alone"] > 0.75 * families  # what the adjustment is for

    @pytest.mark.parametrize("noise", [UNEQUAL, TWO_GROUPS, OUTLIER, MIDDLE, HALF_MIDDLE])
    @pytest.mark.parametrize("seeds", [3, 5])
    def test_nor_do_they_where_the_noise_differs_between_cells(self, noise: np.ndarray, seeds: int) -> None:
        """More than 43 of 600 families are chance in one of 100 runs if the truth is 5 %. Unless each cell must stand
        by its own seeds, one noisy cell confirms in 8 to 16 % of families at three seeds.
        """
        found = families_with({"confirmed": confirmed}, flat_world(noise=noise), 600, seeds, rng(2))
        assert stats.binom.sf(found["confirmed"] - 1, 600, 0.05) > 0.01

    def test_nor_where_it_is_lambda1_of_one_cell_that_is_noisy(self) -> None:
        found = families_with({"confirmed": confirmed}, flat_curvature_world(20 * MIDDLE), 600, 3, rng(3))
        assert stats.binom.sf(found["confirmed"] - 1, 600, 0.05) > 0.01

    def test_correlated_attacks_and_heavy_tails_change_nothing(self) -> None:
        for world in (flat_world(attacks=2), flat_world(tails=3.0), flat_world(rising=False)):
            assert families_with({"confirmed": confirmed}, world, 200, 3, rng(4))["confirmed"] <= 8

    def test_families_judged_together_are_judged_as_alone(self) -> None:
        """The label of a loss makes a family: one of two has the q that its p-values give by themselves."""
        pairs = judged(flat_world(), 2, 3, rng(5))
        for _, family in pairs.groupby("family"):
            expected = stats.false_discovery_control(family["p"], method="by")
            by_itself = family[["p_lambda1_alone", "p_accuracy_alone"]].max(axis=1)
            curves = 4  # and a noisy cell has two directions, for .8 of the rate; no curve is found
            expected = np.maximum(expected, np.minimum(curves * 2 / 0.8 * by_itself, 1.0))
            assert family["q"].to_numpy() == pytest.approx(expected)

    def test_the_whole_report_confirms_nothing_on_flat_curves(self) -> None:
        rows = [
            row
            for k, momentum in enumerate((0.0, 0.25, 0.5, 0.9))
            for row in curve_rows(
                momentum=momentum, fgsm=flat(0.4), log2_lambda1=line(1.0, 1.0), noise=0.015, rng=rng(k)
            )
        ]
        found = counterexample_report(from_rows(rows))
        assert (found.families["testable"] > 0).all()
        assert found.families["confirmed"].sum() == 0


class TestCoverage:
    """Each interval holds its planted truth about as often as it says: not below 93 %, for 95 %."""

    @pytest.mark.parametrize("noise", [c.NOISE, c.UNEQUAL], ids=["equal noise", "ninefold"])
    @pytest.mark.parametrize("seeds", [3, 8])
    def test_trends(self, seeds: int, noise: float | np.ndarray) -> None:
        for found in c.both(partial(c.slope, seeds=seeds, noise=noise), 300, rng(10)):
            assert agrees(found, 0.95)

    @pytest.mark.parametrize("seeds", [3, 8])
    def test_paired_differences(self, seeds: int) -> None:
        for found in c.both(partial(c.paired, seeds=seeds), 200, rng(12)):
            assert agrees(found, 0.95)

    @pytest.mark.parametrize("noise", [c.NOISE, c.UNEQUAL, c.OUTLIER], ids=["equal noise", "ninefold", "one cell"])
    def test_equivalence(self, noise: float | np.ndarray) -> None:
        assert agrees(c.count(partial(c.pairwise_ninety, noise=noise), 300, rng(13)), 0.90)
        for at_bound in c.both(partial(c.steps, noise=noise / 5), 200, rng(14)):
            assert agrees(at_bound, 0.95)

    def test_no_interval_is_claimed_for_the_largest_of_all_differences(self) -> None:
        largest = c.count(c.largest_difference, 40, rng(14))
        assert largest.hits < 0.9 * largest.n

    def test_proportions_exactly(self) -> None:
        p = np.linspace(0.02, 0.98, 49)
        for n in (6, 12, 30):
            assert c.proportion(clopper_pearson, n, p).min() >= 0.95
            assert c.proportion(c.wilson, n, p).mean() >= 0.95

    def test_images_alone_do_not_cover_the_noise_of_seeds(self) -> None:
        found = c.count(c.seeds_accuracy, 300, rng(15))
        assert found.hits < 0.7 * found.n

    def test_accuracies_of_a_counterexample_are_given_over_seeds(self) -> None:
        """The limits that the report prints beside a pair hold the planted accuracy."""
        held = c.Held(0, 0)
        for world in range(12):
            planted = {"fgsm": line(0.2, 0.04), "pgd": flat(0.1), "log2_lambda1": line(1.0, 1.0)}
            report = counterexample_report(from_rows(curve_rows(**planted, noise=0.015, rng=rng(world))))
            keys = {"attack": "fgsm", "loss": "ce", "curvature": "lambda1_test"}
            found = report.found[(report.found[list(keys)] == pd.Series(keys)).all(axis=1)]
            cells = found.drop_duplicates("batch_j")
            truth = 0.2 + 0.04 * np.log2(cells["batch_j"].to_numpy(dtype=float) / 16)
            low, high = (cells[f"accuracy_{side}_j"].to_numpy(dtype=float) for side in ("low", "high"))
            held = c.Held(held.hits + int(((low <= truth) & (truth <= high)).sum()), held.n + len(cells))
        assert held.n > 60 and agrees(held, 0.95)

    @pytest.mark.parametrize("seeds", [3, 8])
    def test_attack_ratios(self, seeds: int) -> None:
        assert agrees(c.count(partial(c.attack_ratio, seeds=seeds), 400, rng(16)), 0.95)

    @pytest.mark.parametrize("slope", [0.0, 0.5, -0.5])
    def test_sign_errors(self, slope: float) -> None:
        for seeds in (3, 8):
            assert agrees(c.sign_error_interval(rng(17), seeds=seeds, slope=slope, environments=400), 0.95)

    @pytest.mark.parametrize(("strata", "tau2"), [(3, 0.1), (12, 0.0), (12, 0.5), (20, 0.1)])
    def test_the_forests_mean(self, strata: int, tau2: float) -> None:
        mean, prediction = c.both(partial(c.forest, strata=strata, tau2=tau2), 300, rng(18))
        assert agrees(mean, 0.94)
        assert agrees(prediction, 0.925)

    def test_the_forest_of_kendalls_taus(self) -> None:
        assert agrees(c.count(partial(c.forest_of_taus, strata=12, tau=-0.5), 150, rng(19)), 0.95)

    def test_correlations(self) -> None:
        for found in c.both(c.correlation, 400, rng(20)):
            assert agrees(found, 0.95)
        assert agrees(c.count(partial(c.kendall, tau=-0.5, sizes=7), 300, rng(21)), 0.92)


class TestPower:
    """What is there is found, and more seeds find more."""

    def test_a_trend_of_ten_points_is_found_with_three_seeds(self) -> None:
        found = c.count(partial(p.finds_trend, effect=10.0, noise=1.5, seeds=3), 60, rng(30))
        assert found.hits == found.n

    def test_a_trend_of_delta_itself_is_found_half_the_time(self) -> None:
        found = c.count(partial(p.finds_trend, effect=3.0, noise=0.5, seeds=3), 200, rng(31))
        assert 0.3 < found.hits / found.n < 0.7

    def test_a_flat_curve_is_called_flat_where_the_noise_allows(self) -> None:
        shares = [
            c.count(partial(p.finds_flat, effect=0.0, noise=noise, seeds=3), 25, rng(32)).hits for noise in (0.5, 3.0)
        ]
        assert shares == [25, 0]

    def test_a_counterexample_of_four_points_needs_seeds(self) -> None:
        world: World = p.exception_world(gap=0.04, ratio=2.0)
        few, many = (families_with({"true": p.true_find}, world, 100, k, rng(33))["true"] for k in (3, 8))
        assert few < many and many > 85
