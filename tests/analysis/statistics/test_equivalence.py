"""Equivalence tests: what is flat, what is not, and what was merely not seen to differ."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from analysis.statistics.estimates import Sample, amount
from analysis.statistics.sample_tests import flat, no_difference, no_fall

SIZES = (16, 32, 64, 128, 256, 512, 1024)


def planted(levels: dict[int, float] | float, *, noise: float, seeds: int = 3) -> Sample:
    means = levels if isinstance(levels, dict) else dict.fromkeys(SIZES, levels)
    rng = np.random.default_rng(1)
    batch = np.repeat(np.array(list(means)), seeds)
    value = np.repeat(np.array(list(means.values())), seeds) + noise * rng.normal(size=len(batch))
    return Sample.of(batch, np.tile(np.arange(seeds), len(means)), value)


@pytest.mark.parametrize(
    ("levels", "noise", "verdict"),
    [
        (40.0, 0.5, "supported"),
        (dict.fromkeys(SIZES, 40.0) | {1024: 25.0}, 0.5, "refuted"),
        (40.0, 3.0, "inconclusive"),
    ],
    ids=["flat", "one size falls off", "too noisy to say"],
)
def test_a_planted_truth_is_found(levels: dict[int, float] | float, noise: float, verdict: str) -> None:
    assert flat(planted(levels, noise=noise), delta=3.0).verdict == verdict


@pytest.mark.parametrize(
    ("levels", "noise", "verdict"),
    [
        (40.0, 0.5, "supported"),
        ({size: 40.0 + 3 * place for place, size in enumerate(SIZES)}, 0.5, "supported"),
        (dict.fromkeys(SIZES, 40.0) | {1024: 25.0}, 0.5, "refuted"),
        (dict.fromkeys(SIZES, 40.0) | {16: 30.0, 1024: 32.0}, 0.5, "refuted"),
        (40.0, 3.0, "inconclusive"),
    ],
    ids=["flat", "rises", "falls at last", "ends higher than it began", "too noisy to say"],
)
def test_a_fall_between_any_two_sizes_is_degradation(
    levels: dict[int, float] | float, noise: float, verdict: str
) -> None:
    assert no_fall(planted(levels, noise=noise), delta=3.0).verdict == verdict


def test_where_there_is_no_room_to_fall_that_nothing_falls_is_no_support() -> None:
    sample = planted(2.0, noise=0.1)
    of_percent = Sample.of(sample.batch_size, sample.seed, sample.value, percent=True)
    assert no_fall(sample, delta=3.0).verdict == "supported"
    assert no_fall(of_percent, delta=3.0).verdict == "inconclusive"


def test_the_effect_is_the_largest_fall_with_welchs_interval() -> None:
    sample = planted(dict.fromkeys(SIZES, 40.0) | {256: 45.0, 1024: 33.0}, noise=0.5)
    groups = {size: sample.value[sample.batch_size == size] for size in SIZES}
    pair = stats.ttest_ind(groups[1024], groups[256], equal_var=False)
    found = no_fall(sample, delta=3.0)
    assert found.effect == pytest.approx(groups[1024].mean() - groups[256].mean())
    assert (found.low, found.high) == pytest.approx(pair.confidence_interval(0.9))


def test_a_difference_that_only_the_correction_leaves_open_is_not_called_the_same() -> None:
    sample = planted(dict.fromkeys(SIZES, 40.0) | {1024: 43.3}, noise=0.3)
    found = flat(sample, delta=3.0)
    assert found.verdict == "inconclusive"
    assert found.low > 3.0
    assert found.reason.endswith(f"exceeds {amount(3.0)}, but not after the correction for 21 comparisons")


def test_a_significant_difference_within_delta_is_flat() -> None:
    means = {b: 40.0 + 0.1 * i for i, b in enumerate(SIZES)}
    sample = planted(means, noise=0.05)
    groups = [sample.value[sample.batch_size == b] for b in SIZES]
    assert stats.f_oneway(*groups).pvalue < 1e-6
    assert flat(sample, delta=3.0).verdict == "supported"


def test_the_smallest_delta_is_where_the_verdict_turns() -> None:
    sample = planted(40.0, noise=0.8)
    groups = [sample.value[sample.batch_size == size] for size in SIZES]
    pairs = [stats.ttest_ind(b, a, equal_var=False) for a, b in combinations(groups, 2)]
    turn = np.abs([pair.confidence_interval(0.9) for pair in pairs]).max()
    assert f"the same within {amount(turn)}" in flat(sample, delta=3.0).reason
    assert flat(sample, delta=turn * 1.001).verdict == "supported"
    assert flat(sample, delta=turn * 0.999).verdict != "supported"


def test_the_interval_of_a_pair_is_welchs() -> None:
    sample = planted(dict.fromkeys(SIZES, 40.0) | {1024: 30.0}, noise=0.5)
    found = flat(sample, delta=3.0)
    groups = [sample.value[sample.batch_size == size] for size in SIZES]
    *others, second = groups
    first = max(others, key=np.mean)
    expected = stats.ttest_ind(second, first, equal_var=False)
    assert found.effect == pytest.approx(second.mean() - first.mean())
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval(0.9)))


@pytest.mark.parametrize("noise", [0.3, 1.0])
def test_a_step_of_delta_to_a_noisy_cell_is_not_called_flat(noise: float) -> None:
    """400 curves: at most 5 % may be called flat (upper limit by four binomial standard errors: 9.4 %)."""
    rng = np.random.default_rng(6)
    batch, seed = np.repeat(SIZES, 3), np.tile(np.arange(3), 7)
    level, spread = np.repeat([0.0] * 6 + [3.0], 3), np.repeat([0.1] * 6 + [noise], 3)
    samples = [Sample.of(batch, seed, level + spread * rng.normal(size=21)) for _ in range(400)]
    called = sum(flat(one, delta=3.0).verdict == "supported" for one in samples)
    missed = sum(no_difference(one, delta=3.0).verdict == "supported" for one in samples)
    assert max(called, missed) / 400 < 0.05 + 4 * np.sqrt(0.05 * 0.95 / 400)


def test_refutation_is_adjusted_for_the_number_of_pairs() -> None:
    """With true differences just below delta, 21 unadjusted tests would refute far too often."""
    rng = np.random.default_rng(2)
    batch, seed = np.repeat(SIZES, 3), np.tile(np.arange(3), 7)
    level = np.repeat([0.0, 0.0, 0.0, 3.0, 3.0, 3.0, 3.0], 3)
    studies = 400
    refuted = sum(
        flat(Sample.of(batch, seed, level + rng.normal(size=21)), delta=3.0).verdict == "refuted"
        for _ in range(studies)
    )
    assert refuted / studies < 0.05 + 3 * np.sqrt(0.05 * 0.95 / studies)


def test_two_arms_are_compared_at_every_batch_size() -> None:
    assert no_difference(planted(0.2, noise=0.5), delta=3.0).verdict == "supported"
    apart = planted(dict.fromkeys(SIZES, 0.0) | {16: 9.0}, noise=0.5)
    found = no_difference(apart, delta=3.0)
    assert (found.verdict, found.effect) == ("refuted", pytest.approx(apart.value[apart.batch_size == 16].mean()))


def test_against_a_number_from_elsewhere_more_seeds_do_not_make_a_true_agreement_a_difference() -> None:
    """Both sides have the same truth and a noise of 2 points a run, the other side one run. "Differs by more than 0" is
    said of one cell in 5 % of 400 studies, however many seeds; a confidence interval said so in 16, 32 and 46 %, more
    often the more seeds there were.
    """
    rng = np.random.default_rng(3)
    for seeds in (3, 20):
        said = 0
        for _ in range(400):
            ours = 2 * rng.normal(size=seeds) - 2 * rng.normal()
            one = Sample.of([64.0] * seeds, range(seeds), ours)
            said += one.cells().at(0, new=True).p_beyond(0.0) <= 0.025
        assert said / 400 < 0.05 + 4 * np.sqrt(0.05 * 0.95 / 400)


def test_one_freak_run_is_no_disagreement_with_a_print_and_two_batch_sizes_are() -> None:
    """A printed run that is 20 points off at one batch size may be of heavy tails; at two it is another kind of run."""

    def against(off: list[float]) -> str:
        values = np.repeat(off, 5) + 0.5 * np.random.default_rng(4).normal(size=25)
        sample = Sample.of(np.repeat(2.0 ** np.arange(4, 9), 5), np.tile(range(5), 5), values)
        return no_difference(sample, delta=3.0, new=True).verdict

    assert against([0, 0, 0, 0, 20.0]) == "inconclusive"
    assert against([0, 0, -20.0, 0, 20.0]) == "refuted"
    assert against([0, 0, 0, 0, 0]) == "supported"
