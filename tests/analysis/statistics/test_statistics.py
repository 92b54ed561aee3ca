"""The statistics against scipy, closed forms, enumeration and a published worked example."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.statistics.correlations import (
    SignError,
    granulated_by_group,
    kendall_by_group,
    kendall_tau_b,
    mean_sign_error,
    partial_spearman,
    pearson,
    permutation_p,
    repeated_measures_correlation,
    sign_error,
    spearman,
)
from analysis.statistics.groups import pairs_within
from analysis.statistics.intervals import (
    clopper_pearson,
    fisher_z_interval,
    logit_accuracy,
    mean_interval,
    mean_intervals,
    random_effects,
)
from analysis.statistics.multiplicity import benjamini_yekutieli, holm

RNG = np.random.default_rng


@pytest.mark.parametrize(("k", "n"), [(0, 10), (3, 10), (10, 10), (37, 10_000)])
def test_proportion_intervals_are_scipys(k: int, n: int) -> None:
    expected = stats.binomtest(k, n).proportion_ci(0.95, method="exact")
    assert clopper_pearson(k, n) == pytest.approx(expected, abs=1e-9)


def test_proportion_intervals_broadcast_and_know_nothing_of_no_trials() -> None:
    low, high = clopper_pearson([0, 5, 0], [10, 10, 0])
    assert low.shape == high.shape == (3,)
    assert np.isnan([low[2], high[2]]).all()


def test_logit_accuracy_is_finite_at_the_ends_and_odd_about_one_half() -> None:
    assert logit_accuracy([0, 50, 100], 100) == pytest.approx([-np.log(201), 0.0, np.log(201)])


def test_mean_interval_is_students() -> None:
    found = mean_interval([1.0, 2.0, 4.0])
    expected = stats.ttest_1samp([1.0, 2.0, 4.0], 0).confidence_interval()
    assert found[1:3] == pytest.approx(expected) and found.estimate == pytest.approx(7 / 3)
    assert mean_interval([2.0])[0] == 2.0 and np.isnan(mean_interval([2.0]).low)
    mean, low, high = mean_intervals([[1.0, 2.0, 4.0], [], [2.0], [1.0, np.inf], [3.0, np.nan]])
    assert (mean[0], low[0], high[0]) == found[:3] and mean[2] == 2.0
    assert np.isnan([*mean[[1, 3, 4]], *low[1:], *high[1:]]).all()


@pytest.mark.parametrize("n", [2, 4, 7, 8, 9, 20])
def test_kendall_without_ties_has_scipys_exact_p(n: int) -> None:
    x, y = RNG(n).normal(size=(2, n))
    expected = stats.kendalltau(x, y, method="exact")
    assert kendall_tau_b(x, y)[:2] == pytest.approx((expected.statistic, expected.pvalue))


@pytest.mark.parametrize(("x", "y"), [([1, 2, 2, 3, 4], [5, 5, 3, 1, 2]), ([1, 1, 2, 2, 3, 3], [1, 2, 2, 3, 3, 3])])
def test_kendall_with_ties_counts_every_permutation(x: list[int], y: list[int]) -> None:
    found = kendall_tau_b(x, y)
    null = [abs(stats.kendalltau(x, order).statistic) for order in itertools.permutations(y)]
    assert found.estimate == pytest.approx(stats.kendalltau(x, y).statistic)
    assert found.p == pytest.approx(np.mean(np.array(null) >= abs(found.estimate) - 1e-12))


def test_kendall_of_many_points_is_asymptotic_and_of_constants_unknown() -> None:
    x, y = RNG(0).normal(size=(2, 80))
    assert kendall_tau_b(x, y)[:2] == pytest.approx(stats.kendalltau(x, y, method="asymptotic")[:2])
    assert np.isnan(kendall_tau_b([1, 1, 1], [1, 2, 3]).estimate)
    assert np.isnan(kendall_tau_b([1, np.nan, 3], [1, 2, 3]).p)


def test_kendall_by_group_is_kendall_of_each_group() -> None:
    rng = RNG(3)
    groups = rng.integers(0, 6, size=60)
    x, y = rng.integers(0, 5, size=(2, 60)).astype(float)
    found = kendall_by_group(x, y, groups)
    each = [stats.kendalltau(x[groups == g], y[groups == g]).statistic for g in range(6)]
    assert found.tau == pytest.approx(each)


def test_pairs_within_names_every_pair_once() -> None:
    i, j = pairs_within(np.array([1, 0, 1, 1, 0]))
    assert sorted(tuple(sorted(pair)) for pair in zip(i, j, strict=True)) == [(0, 2), (0, 3), (1, 4), (2, 3)]


def test_the_p_of_spearman_is_exact_for_few_points() -> None:
    """Four points in order: chance in 2 of 24, not the 2e-16 of the t approximation; ties share their rank."""
    assert spearman([1, 2, 3, 4], [1, 2, 3, 4]).p == pytest.approx(2 / 24)
    x, y = np.array([1.0, 2, 2, 4, 5]), np.array([3.0, 1, 2, 2, 5])
    ranks = stats.rankdata(y)
    null = [np.corrcoef(stats.rankdata(x), order)[0, 1] for order in itertools.permutations(ranks)]
    found = spearman(x, y)
    tails = [np.mean(np.array(null) * side >= found.estimate * side - 1e-12) for side in (1, -1)]
    assert found.p == pytest.approx(min(1.0, 2 * min(tails)))


@pytest.mark.parametrize("n", [5, 7])
def test_the_p_of_permutations_is_scipys(n: int) -> None:
    """All orders are taken, so that the two agree exactly; two points are equal, for ties."""
    x, y = RNG(n).normal(size=(2, n))
    y[1] = y[0]
    exact = stats.permutation_test((y,), lambda order: float(x @ order), permutation_type="pairings", n_resamples=5040)
    assert permutation_p(x, y) == pytest.approx(exact.pvalue)


def test_spearman_is_scipys() -> None:
    x, y = RNG(1).integers(0, 9, size=(2, 30))
    expected = stats.spearmanr(x, y)
    assert spearman(x, y)[:2] == pytest.approx((expected.statistic, expected.pvalue))


def test_partial_spearman_of_one_control_is_the_textbook_formula() -> None:
    x, y, z = RNG(2).normal(size=(3, 25))
    xy, xz, yz = (stats.spearmanr(*pair).statistic for pair in ((x, y), (x, z), (y, z)))
    expected = (xy - xz * yz) / np.sqrt((1 - xz**2) * (1 - yz**2))
    assert partial_spearman(x, y, z).estimate == pytest.approx(expected)


def test_partial_spearman_sees_through_a_common_cause() -> None:
    rng = RNG(5)
    cause = rng.normal(size=400)
    x, y = cause + 0.3 * rng.normal(size=(2, 400))
    assert spearman(x, y).estimate > 0.8
    assert abs(partial_spearman(x, y, cause).estimate) < 0.15
    assert np.isnan(partial_spearman(x, y, x).estimate)


def test_pearson_is_scipys() -> None:
    x, y = RNG(4).normal(size=(2, 12))
    expected = stats.pearsonr(x, y)
    found = pearson(x, y)
    assert found[:2] == pytest.approx((expected.statistic, expected.pvalue))
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval()))


def test_fisher_intervals_follow_their_variances() -> None:
    low, high = fisher_z_interval(0.5, 30, "spearman")
    half = stats.norm.ppf(0.975) * np.sqrt((1 + 0.125) / 27)
    assert np.arctanh([low, high]) == pytest.approx([np.arctanh(0.5) - half, np.arctanh(0.5) + half])
    perfect = fisher_z_interval(-1.0, 7, "kendall")
    assert perfect.low == -1.0 and -0.95 < perfect.high < -0.5
    assert np.isnan(fisher_z_interval(0.5, 4, "kendall").low)
    assert fisher_z_interval(0.5, 32, controls=2) == fisher_z_interval(0.5, 30)


def test_granulated_tau_averages_over_the_settings_of_each_axis() -> None:
    grid = pd.DataFrame(list(itertools.product([1, 2, 3], [1, 2])), columns=["a", "b"])
    grid["x"] = grid["a"] * 10.0 + grid["b"]
    grid["y"] = grid["a"] * 10.0 - grid["b"]  # agrees along a, disagrees along b
    psi, settings = granulated_by_group(grid, "x", "y", ["a", "b"], np.zeros(6, dtype=np.intp), 1)
    assert psi.tolist() == [[1.0, -1.0]]
    assert settings.tolist() == [[2, 3]]


def test_granulated_tau_takes_nan_for_a_key_and_ignores_what_does_not_vary() -> None:
    df = pd.DataFrame({"a": [1, 2, 1, 2], "t": [np.nan] * 4, "x": [1.0, 2, 5, 9], "y": [1.0, 2, 9, 5]})
    df["s"] = [0, 0, 1, 1]
    ((a, s, t),), _ = granulated_by_group(df, "x", "y", ["a", "s", "t"], np.zeros(4, dtype=np.intp), 1)
    assert a == 0.0 and s == 1.0
    assert np.isnan(t)


def test_sign_error_is_the_share_of_discordant_pairs_with_ties_halved() -> None:
    x = [1.0, 2, 3, 1, 2, 3, 1, 2]
    y = [1.0, 2, 3, 3, 2, 1, 4, 4]
    found = sign_error(x, y, ["up"] * 3 + ["down"] * 3 + ["flat"] * 2)
    assert dict(zip(("down", "flat", "up"), found.errors, strict=True)) == {"up": 0.0, "down": 1.0, "flat": 0.5}


def test_sign_error_compares_no_replicates() -> None:
    found = sign_error([1.0, 2, 3], [3.0, 2, 9], ["e"] * 3, level=["a", "a", "b"])
    assert found.errors[0] == 0.0 and found.pairs[0] == 2


OF_SEVEN = 21
"""Pairs of seven batch sizes."""
BY_CHANCE = np.sqrt(2 * (2 * 7 + 5) / (9 * 7 * 6)) / 2
"""The standard deviation of the sign-error of seven batch sizes in random order."""


@pytest.mark.parametrize(
    ("errors", "p"),
    [
        ([0.0, 0.1, 0.2], 2 * stats.t.sf(0.4 / (0.1 / np.sqrt(3)), 2)),
        ([0.1, 0.1, 0.1], 2 * stats.norm.sf(0.4 / (BY_CHANCE / np.sqrt(3)))),
        ([0.5, 0.5, 0.5], 1.0),
    ],
    ids=["seeds decide", "seeds agree: chance decides", "at chance"],
)
def test_the_p_of_a_mean_sign_error_is_the_larger_of_students_and_that_of_chance(errors: list[float], p: float) -> None:
    """The first had p = .0016, from its interval as if that were normal; Student's is .0202."""
    found = mean_sign_error(SignError(np.array(errors), np.full(3, OF_SEVEN)), np.zeros(3, dtype=np.intp))
    assert found.p[0] == pytest.approx(p)
    assert (found.pairs[0], found.replicates[0]) == (63, 3)


@pytest.mark.parametrize("spread", ["as in random orders", "wider"])
def test_a_mean_sign_error_has_its_level_at_one_percent_and_its_interval_is_its_test(spread: str) -> None:
    """20,000 environments of three seeds. From the interval as if that were normal, p was at most .01 in 1.9 % of the
    wider ones.
    """
    rng, n = np.random.default_rng(0), 20_000
    if spread == "wider":
        found = SignError(rng.normal(0.5, 2 * BY_CHANCE, 3 * n), np.full(3 * n, OF_SEVEN))
    else:
        found = sign_error(rng.normal(size=21 * n), rng.normal(size=21 * n), np.arange(3 * n).repeat(7))
    mean = mean_sign_error(found, np.arange(n).repeat(3))
    assert np.mean(mean.p <= 0.01) < 0.01 + 3 * np.sqrt(0.01 * 0.99 / n)
    assert np.array_equal(mean.p <= 0.05, (mean.low > 0.5) | (mean.high < 0.5))


# Bland & Altman (1995, BMJ 310:446): intramural pH and PaCO2, the worked example of Bakdash & Marusich (2017)
_BLAND = {
    1: [(6.68, 3.97), (6.53, 4.12), (6.43, 4.09), (6.33, 3.97)],
    2: [(6.85, 5.27), (7.06, 5.37), (7.13, 5.41), (7.17, 5.44)],
    3: [(7.40, 5.67), (7.42, 3.64), (7.41, 4.32), (7.37, 4.73), (7.34, 4.96), (7.35, 5.04), (7.28, 5.22),
        (7.30, 4.82), (7.34, 5.07)],
    4: [(7.36, 5.67), (7.33, 5.10), (7.29, 5.53), (7.30, 4.75), (7.35, 5.51)],
    5: [(7.35, 4.28), (7.30, 4.44), (7.30, 4.32), (7.37, 3.23), (7.27, 4.46), (7.28, 4.72), (7.32, 4.75),
        (7.32, 4.99)],
    6: [(7.38, 4.78), (7.30, 4.73), (7.29, 5.12), (7.33, 4.93), (7.31, 5.03), (7.33, 4.93)],
    7: [(6.86, 6.85), (6.94, 6.44), (6.92, 6.52)],
    8: [(7.19, 5.28), (7.29, 4.56), (7.21, 4.34), (7.25, 4.32), (7.20, 4.41), (7.19, 3.69), (6.77, 6.09),
        (6.82, 5.58)],
}  # fmt: skip


def test_repeated_measures_correlation_gives_the_published_example() -> None:
    subject = np.concatenate([[s] * len(rows) for s, rows in _BLAND.items()])
    ph, carbon = np.array([pair for rows in _BLAND.values() for pair in rows]).T
    found = repeated_measures_correlation(ph, carbon, subject)
    assert found.n == 47
    assert found.estimate == pytest.approx(-0.507, abs=5e-4)
    assert found.p == pytest.approx(0.0008, abs=5e-5)
    assert (found.low, found.high) == pytest.approx((-0.71, -0.23), abs=0.01)


def test_repeated_measures_correlation_is_the_ancovas_and_ignores_subjects_seen_once() -> None:
    rng = RNG(6)
    subject = np.repeat(np.arange(5), 4)
    x, y = rng.normal(size=(2, 20)) + 3.0 * subject
    dummies = (subject[:, None] == np.arange(5)).astype(float)
    full = np.column_stack([dummies, x])
    alone, both = (np.linalg.lstsq(d, y, rcond=None)[1][0] for d in (dummies, full))
    found = repeated_measures_correlation(x, y, subject)
    assert found.estimate**2 == pytest.approx((alone - both) / alone)
    once = repeated_measures_correlation([*x, 9.0], [*y, 9.0], [*subject, 77])
    assert once == pytest.approx(found)


def test_random_effects_of_equal_variances_is_closed_form() -> None:
    y = np.array([0.1, 0.5, 0.9, 0.3])
    found = random_effects(y, np.full(4, 0.01))
    s2 = y.var(ddof=1)
    assert found.i2 == pytest.approx(1 - 0.01 / s2)
    assert (found.low, found.high) == pytest.approx(mean_interval(y)[1:3])


def test_prediction_draws_tau2_from_its_confidence_distribution() -> None:
    """With equal variances v all is closed form: tau2 = S / chi-square - v, not below 0, S the sum of squares; the mean
    has the larger of the variances S / (k - 1) and v + tau2, over k. 400,000 draws err by less than 1 %.
    """
    rng = RNG(8)
    y, v = np.array([0.1, 0.5, 0.9, 0.3, -0.4, 0.2]), 0.04
    k, squares = y.size, ((y - y.mean()) ** 2).sum()
    tau2 = np.maximum(squares / rng.chisquare(k - 1, size=400_000) - v, 0.0)
    error = np.sqrt(np.maximum(squares / (k - 1), v + tau2) / k)
    draws = y.mean() + error * rng.standard_t(k - 1, size=tau2.size) + np.sqrt(tau2) * rng.normal(size=tau2.size)
    found = random_effects(y, np.full(k, v))
    assert (found.predicted_low, found.predicted_high) == pytest.approx(np.quantile(draws, [0.025, 0.975]), rel=0.01)
    assert np.isnan(random_effects(y[:2], np.full(2, v)).predicted_low)


def test_random_effects_of_agreeing_strata_is_not_narrower_than_the_fixed_effect() -> None:
    found = random_effects([0.2, 0.2, 0.2], [0.01, 0.02, 0.04])
    assert found.i2 == 0.0
    half = stats.t.ppf(0.975, 2) / np.sqrt(100 + 50 + 25)
    assert found.high - found.mean == pytest.approx(half)
    assert random_effects([], []).k == 0
    assert random_effects([0.3, np.nan], [0.04, 0.1])[:3] == pytest.approx((0.3, 0.3 - 0.392, 0.3 + 0.392), abs=1e-3)


def test_holm_is_the_worked_example_and_keeps_nan_apart() -> None:
    assert holm([0.01, 0.04, np.nan, 0.03]) == pytest.approx([0.03, 0.06, np.nan, 0.06], nan_ok=True)


def test_benjamini_yekutieli_is_scipys_on_what_was_tested() -> None:
    p = np.array([0.001, 0.2, 0.04, np.nan])
    q = benjamini_yekutieli(p)
    assert q[:3] == pytest.approx(stats.false_discovery_control(p[:3], method="by"))
    assert np.isnan(q[3])
