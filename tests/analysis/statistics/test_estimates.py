"""Which cells can decide, and the t statistics of their contrasts."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from scipy import stats

from analysis.statistics.estimates import Finding, LinearContrast, Sample, cell_means, directional, mean_by_seed
from analysis.statistics.sample_tests import contrast, flat, no_fall, trend

SIZES = (16, 32, 64, 128, 256)


def sample(values_per_size: dict[int, list[float]]) -> Sample:
    triples = [(b, s, v) for b, values in values_per_size.items() for s, v in enumerate(values)]
    batch, seed, value = zip(*triples, strict=True)
    return Sample.of(batch, seed, value)


def test_a_sample_refuses_arrays_of_different_lengths() -> None:
    with pytest.raises(ValueError, match="one length"):
        Sample.of([16, 32], [0, 0], [1.0])


def test_five_sizes_over_sixteenfold_with_three_seeds_suffice() -> None:
    assert sample({b: [1.0, 2.0, 3.0] for b in SIZES}).shortfall() is None


@pytest.mark.parametrize(
    ("sizes", "seeds"),
    [((16, 32, 64, 128), 3), ((16, 24, 32, 64, 128), 3), (SIZES, 2), (SIZES, 1), ((), 3)],
    ids=["four sizes", "eightfold", "two seeds", "one seed", "nothing"],
)
def test_less_is_not_run(sizes: tuple[int, ...], seeds: int) -> None:
    batch = [b for b in sizes for _ in range(seeds)]
    short = Sample.of(batch, [s for _ in sizes for s in range(seeds)], np.ones(len(batch))).shortfall()
    assert short is not None
    assert short.verdict == "not run"


@pytest.mark.parametrize("seeds", [1, 2])
@pytest.mark.parametrize("decide", [partial(trend, claimed=1), partial(contrast, claimed=1), flat, no_fall])
def test_no_test_runs_on_too_few_seeds(decide: Callable[..., Finding], seeds: int) -> None:
    assert decide(sample({b: [1.0, 2.0][:seeds] for b in SIZES}), delta=3.0).verdict == "not run"


def test_runs_that_diverged_make_it_inconclusive_rather_than_not_run() -> None:
    short = sample({b: [1.0, 2.0, 3.0] for b in SIZES[:4]} | {256: [np.nan, np.nan, 3.0]}).shortfall()
    assert short is not None
    assert short.verdict == "inconclusive"
    assert "diverged" in short.reason


def test_a_cell_decides_with_three_finite_seeds_of_which_not_too_many_others_diverged() -> None:
    """Diverged seeds do not count towards the three: before, two finite ones and one diverged decided."""
    nan = np.nan
    kept = sample({16: [1.0, nan, 3.0], 32: [nan, nan, 1.0, 2.0, 3.0], 64: [1.0, 2.0], 128: [1.0, 2.0, 3.0, nan]})
    assert kept.decidable.batch_size.tolist() == [128, 128, 128]
    assert kept.decidable.value.tolist() == [1.0, 2.0, 3.0]


def test_seeds_that_agree_to_the_last_digit_are_not_exact() -> None:
    """A standard error of 0 gave p = 0: here 40.0 % three times at batch 16, and 40.01 % at 32, on 10,000 images."""
    values = np.repeat([40.0, 40.01], 3)
    exact = Sample.of(np.repeat([16, 32], 3), [0, 1, 2] * 2, values)
    rounded = Sample.of(np.repeat([16, 32], 3), [0, 1, 2] * 2, values, rounding=0.01)
    step = np.array([-1.0, 1.0])
    assert exact.cells().contrast(step).p_above(0.0) == 0.0
    assert rounded.cells().contrast(step).p_above(0.0) > 0.005
    assert rounded.cells().variance == pytest.approx([0.01**2 / 12] * 2)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6])
def test_the_mean_over_sizes_has_the_error_of_whole_seeds(share: float) -> None:
    """1,000 studies of three seeds whose cells correlate by `share`: 95 % intervals hold 0 within 4 binomial errors.

    With the variances of cells they miss it in 4, 14 and 27 %.
    """
    rng, missed, by_cells = np.random.default_rng(8), 0, 0
    batch, seed = np.repeat(np.array(SIZES, dtype=float), 3), np.tile(np.arange(3), 5)
    for _ in range(1000):
        noise = np.sqrt(share) * np.tile(rng.normal(size=3), 5) + np.sqrt(1 - share) * rng.normal(size=15)
        low, high = mean_by_seed(batch, seed, noise).interval(0.95)
        missed += low * high > 0
        low, high = cell_means(batch, noise).contrast(np.full(5, 0.2)).interval(0.95)
        by_cells += low * high > 0
    assert abs(missed / 1000 - 0.05) < 4 * np.sqrt(0.05 * 0.95 / 1000)
    assert by_cells / 1000 == pytest.approx({0.0: 0.04, 0.3: 0.14, 0.6: 0.27}[share], abs=0.02)


def test_with_every_seed_in_every_cell_it_is_students_t_over_the_seeds_means() -> None:
    table = np.random.default_rng(2).normal(size=(5, 4))
    ours = mean_by_seed(np.repeat(np.array(SIZES, dtype=float), 4), np.tile(range(4), 5), table.ravel())
    expected = stats.ttest_1samp(table.mean(axis=0), 0.0)
    assert (ours.value / ours.se, ours.dof) == pytest.approx((expected.statistic, 3))


def test_every_cell_has_its_own_variance() -> None:
    groups = {16: [1.0, 2.0, 4.0], 32: [3.0, 3.5], 64: [0.0, 1.0, 5.0, 2.0], 128: [7.0]}
    cells = cell_means(sample(groups).batch_size, sample(groups).value)
    assert cells.mean == pytest.approx([np.mean(g) for g in groups.values()])
    assert cells.variance[:3] == pytest.approx([np.var(g, ddof=1) for g in list(groups.values())[:3]])
    assert np.isnan(cells.variance[3])


def test_the_difference_of_two_cells_is_welchs_t_test() -> None:
    low, high = [1.0, 2.0, 4.0], [3.0, 3.5, 9.0, 5.0]
    cells = cell_means(np.repeat([16.0, 32.0], [3, 4]), np.array(low + high))
    expected = stats.ttest_ind(high, low, equal_var=False)
    for ours in (cells.at(1).less(cells.at(0)), cells.contrast(np.array([-1.0, 1.0]))):
        assert ours.dof == pytest.approx(expected.df)
        assert 2 * ours.p_above(0.0) == pytest.approx(expected.pvalue)
        assert ours.interval(0.95) == pytest.approx(tuple(expected.confidence_interval(0.95)))


def test_cells_without_noise_have_a_contrast_without_noise() -> None:
    cells = cell_means(np.repeat([16.0, 32.0], 3), np.repeat([1.0, 2.0], 3))
    assert cells.contrast(np.array([-1.0, 1.0])) == LinearContrast(1.0, 0.0, 2.0)


def test_p_values_are_those_of_a_one_sample_t_test() -> None:
    values = np.array([0.3, 1.1, -0.2, 0.9, 1.6])
    mean = LinearContrast(values.mean(), values.std(ddof=1) / np.sqrt(5), 4)
    assert mean.p_above(0.2) == pytest.approx(stats.ttest_1samp(values, 0.2, alternative="greater").pvalue)
    assert mean.p_below(2.0) == pytest.approx(stats.ttest_1samp(values, 2.0, alternative="less").pvalue)
    expected = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    assert mean.interval(0.95) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize("value", [-2.5, -1.0, 0.0, 0.4, 1.5, 2.5])
def test_equivalence_p_values_agree_with_the_90_percent_interval(value: float) -> None:
    estimate, delta = LinearContrast(value, 0.5, 8), 1.3
    low, high = estimate.interval(0.9)
    assert (estimate.p_within(delta) <= 0.05) == (-delta < low and high < delta)
    assert (estimate.p_beyond(delta) <= 0.05) == (low > delta or high < -delta)


def test_without_noise_the_value_itself_decides() -> None:
    exact = LinearContrast(2.0, 0.0, 10)
    assert (exact.p_above(1.0), exact.p_above(2.0), exact.p_below(3.0)) == (0.0, 1.0, 0.0)


@pytest.mark.parametrize(
    ("value", "se", "verdict"),
    [
        (-5.0, 0.5, "supported"),
        (+5.0, 0.5, "refuted"),
        (0.0, 0.5, "refuted"),
        (-1.0, 0.3, "refuted"),
        (-2.5, 0.9, "inconclusive"),
        (-2.0, 2.0, "inconclusive"),
    ],
    ids=["falls", "rises", "equivalent to 0", "falls by nothing", "falls, below delta", "noise"],
)
def test_a_claim_of_falling_by_three_points(value: float, se: float, verdict: str) -> None:
    estimate = LinearContrast(value, se, 14)
    found = directional(estimate, estimate, claimed=-1, delta=3.0, what="it")
    assert found.verdict == verdict
    assert (found.p_refuted <= 0.05) == (verdict == "refuted")


def test_both_scales_must_exclude_zero() -> None:
    points, logits = LinearContrast(-5.0, 1.0, 14), LinearContrast(-0.2, 0.2, 14)
    assert directional(points, logits, claimed=-1, delta=3.0, what="it").verdict == "inconclusive"
