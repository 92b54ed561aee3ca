"""The trend test against closed forms, planted truths and simulated coverage."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from scipy import stats

from analysis.statistics.estimates import Sample, cell_means, directional
from analysis.statistics.sample_tests import end_to_end, falls_from_peak, flat, slope_per_doubling, trend

SIZES = (16, 32, 64, 128, 256, 512, 1024)


def planted(
    slope: float, *, noise: float = 1.0, seeds: int = 3, sizes: tuple[int, ...] = SIZES, start: float = 50.0
) -> Sample:
    """`start` at batch 16, `slope` per doubling, normal noise between seeds."""
    rng = np.random.default_rng(3)
    batch = np.repeat(np.array(sizes, dtype=float), seeds)
    value = start + slope * np.log2(batch / 16) + noise * rng.normal(size=len(batch))
    return Sample.of(batch, np.tile(np.arange(seeds), len(sizes)), value)


@pytest.mark.parametrize(
    ("slope", "noise", "verdict"),
    [
        (-2.0, 1.0, "supported"),
        (+2.0, 1.0, "refuted"),
        (0.0, 0.3, "refuted"),
        (-0.2, 0.3, "refuted"),
        (-0.5, 6.0, "inconclusive"),
    ],
    ids=["falls", "rises", "flat", "falls by less than delta", "undecidable"],
)
def test_a_planted_trend_is_found(slope: float, noise: float, verdict: str) -> None:
    assert trend(planted(slope, noise=noise), claimed=-1, delta=3.0).verdict == verdict


def test_diverged_cells_are_left_out_while_enough_remain() -> None:
    sample = planted(-2.0)
    at_1024 = sample.batch_size == 1024
    broken = Sample.of(sample.batch_size, sample.seed, np.where(at_1024, np.nan, sample.value))
    assert trend(broken, claimed=-1, delta=3.0).effect == pytest.approx(
        trend(sample.where(~at_1024), claimed=-1, delta=3.0).effect
    )
    mostly = Sample.of(sample.batch_size, sample.seed, np.where(sample.batch_size > 64, np.nan, sample.value))
    assert trend(mostly, claimed=-1, delta=3.0).verdict == "inconclusive"


def test_the_slope_is_the_least_squares_slope() -> None:
    sample = planted(-1.3)
    fitted = stats.linregress(np.log2(sample.batch_size), sample.value)
    assert slope_per_doubling(sample.cells()).value == pytest.approx(fitted.slope)


def test_every_batch_size_counts_alike_however_many_seeds_it_has() -> None:
    """A line through all seeds would follow the cells that have more of them: another quantity, not a better one."""
    sample = planted(-1.3).where(np.arange(21) % 5 != 0)
    means = [sample.value[sample.batch_size == size].mean() for size in SIZES]
    fitted = stats.linregress(np.log2(SIZES), means)
    assert slope_per_doubling(sample.cells()).value == pytest.approx(fitted.slope)


def test_its_standard_error_is_that_of_the_cells_with_satterthwaites_degrees_of_freedom() -> None:
    sample = planted(-1.3)
    x = np.arange(7.0) - 3
    cells = np.array([np.var(sample.value[sample.batch_size == b], ddof=1) / 3 for b in SIZES])
    parts = (x / np.sum(x**2)) ** 2 * cells
    ours = slope_per_doubling(sample.cells())
    assert ours.se == pytest.approx(np.sqrt(parts.sum()))
    assert ours.dof == pytest.approx(parts.sum() ** 2 / np.sum(parts**2 / 2))


@pytest.mark.parametrize(
    "noise",
    [np.full(7, 1.5), np.array([0.5, 0.5, 1.0, 1.5, 2.0, 3.0, 4.5]), np.array([5.0, 1, 1, 1, 1, 1, 5])],
    ids=["equal noise", "ninefold along the sizes", "fivefold at both ends"],
)
def test_the_interval_covers_the_truth_as_often_as_it_says(noise: np.ndarray) -> None:
    """2,000 studies of seven sizes and three seeds; 95 % is held within four binomial standard errors (1.9 points)."""
    rng = np.random.default_rng(11)
    studies, x = 2_000, np.log2(np.repeat(np.array(SIZES, dtype=float), 3) / 16)
    values = -1.0 * x + np.repeat(noise, 3) * rng.normal(size=(studies, len(x)))
    covered = 0
    for value in values:
        low, high = slope_per_doubling(cell_means(16 * 2**x, value)).interval(0.95)
        covered += low <= -1.0 <= high
    assert abs(covered / studies - 0.95) < 4 * np.sqrt(0.95 * 0.05 / studies)


def curve(means: list[float], *, noise: float, seed: int = 0, seeds: int = 3, percent: bool = False) -> Sample:
    rng = np.random.default_rng(seed)
    value = np.repeat(means, seeds) + noise * rng.normal(size=7 * seeds)
    return Sample.of(np.repeat(SIZES, seeds), np.tile(range(seeds), 7), value, percent=percent)


def by_the_line_alone(sample: Sample, *, claimed: int) -> str:
    """The verdict of before: the sign and size of the fitted line's change."""
    change, slope = end_to_end(sample.cells()), slope_per_doubling(sample.cells(linear=True))
    return directional(change, slope, claimed=claimed, delta=3.0, what="the change").verdict


@pytest.mark.parametrize("claimed", [-1, 1], ids=["a U does not fall", "a hump does not rise"])
@pytest.mark.parametrize("noise", [0.5, 1.5, 3.0])
def test_a_curve_that_goes_back_is_no_trend(claimed: int, noise: float) -> None:
    """0, -4, -8, -10, -8, -6, -4 was supported as falling in 57 to 75 % of simulated studies, a hump in 91 to 99 %."""
    means = (-claimed * np.array([0.0, -4, -8, -10, -8, -6, -4])).tolist()
    found = [trend(curve(means, noise=noise, seed=k), claimed=claimed, delta=3.0) for k in range(100)]
    supported = sum(one.verdict == "supported" for one in found)
    assert supported / 100 < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 100)
    straight = [by_the_line_alone(curve(means, noise=noise, seed=k), claimed=claimed) for k in range(100)]
    assert straight.count("supported") > 25
    assert noise > 1.5 or any("but rises by" in one.reason or "but falls by" in one.reason for one in found)


def test_the_measured_ends_must_change_too() -> None:
    """Down at once and flat from there on the last size, which is back: a line falls by 4.9, the ends by 1."""
    found = trend(curve([0, 0, 0, -3, -6, -6, -1.0], noise=0.1), claimed=-1, delta=3.0)
    assert found.verdict == "inconclusive"


def test_a_fall_cannot_be_refuted_where_it_had_no_room() -> None:
    """2.9 to 1.2 % with a delta of 3 points: "falls" was refuted and "almost constant" supported, every time."""
    low = curve([2.9, 2.6, 2.3, 2.0, 1.7, 1.4, 1.2], noise=0.1, percent=True)
    assert trend(low, claimed=-1, delta=3.0).verdict == "inconclusive"
    assert flat(low, delta=3.0).verdict == "inconclusive"
    assert by_the_line_alone(low, claimed=-1) == "refuted"
    assert "no room" in trend(low, claimed=-1, delta=3.0).reason
    assert "could not fail" in flat(low, delta=3.0).reason
    higher = curve([42.9, 42.6, 42.3, 42.0, 41.7, 41.4, 41.2], noise=0.1, percent=True)
    assert trend(higher, claimed=-1, delta=3.0).verdict == "refuted"
    assert flat(higher, delta=3.0).verdict == "supported"


def test_an_attack_that_fools_no_network_refutes_no_fall() -> None:
    """100 % everywhere, or 99.9 %: "falls" was refuted where "almost constant" could not be decided."""
    for level in (100.0, 99.9):
        whole = curve([level] * 7, noise=0.01, percent=True)
        for test in (partial(trend, claimed=-1), falls_from_peak):
            found = test(whole, delta=3.0)
            assert found.verdict == "inconclusive"
            assert found.reason == "all may lie within [3] of the end of the scale: nothing to compare"
    assert trend(curve([90.0] * 7, noise=0.1, percent=True), claimed=-1, delta=3.0).verdict == "refuted"
    rising = curve([95, 95.5, 96, 97, 98, 99, 99.5], noise=0.1, percent=True)
    assert trend(rising, claimed=-1, delta=3.0).verdict == "refuted"  # it goes the other way by more than delta


def test_a_fall_by_less_than_delta_is_said_in_those_words() -> None:
    small = curve([0, -0.1, -0.2, -0.3, -0.4, -0.5, -0.6], noise=0.05)
    found = trend(small, claimed=-1, delta=3.0)
    assert found.verdict == "refuted"
    assert found.reason == "the end-to-end change has the claimed sign, but is less than [3]"
    assert "less than [3] either way" in trend(curve([0.0] * 7, noise=0.05), claimed=-1, delta=3.0).reason
