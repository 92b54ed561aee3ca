"""Association of two measures along the batch size, and over seeds."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.statistics.association_tests import fall_together, opposed, opposed_over_cells, unrelated
from analysis.statistics.correlations import kendall_tau_b
from analysis.statistics.estimates import Reach, Sample

REACH = Reach(4, 8.0)


def curve(means: np.ndarray, *, noise: float, seeds: int, rng: np.random.Generator) -> Sample:
    sizes = 16.0 * 2.0 ** np.arange(len(means))
    value = np.repeat(means, seeds) + noise * rng.normal(size=len(means) * seeds)
    return Sample.of(np.repeat(sizes, seeds), np.tile(np.arange(seeds), len(means)), value, rounding=0.004)


def verdicts(order: np.ndarray, *, noise: float = 0.05, seeds: int = 3, studies: int = 1) -> list[str]:
    """What is said of a measure in this order and one that falls, each with noise of its own."""
    rng = np.random.default_rng(int(1000 * noise) + seeds)
    falls = -np.arange(float(len(order)))
    pairs = ([curve(m, noise=noise, seeds=seeds, rng=rng) for m in (order, falls)] for _ in range(studies))
    return [unrelated(x, y, delta=0.3, reach=REACH).verdict for x, y in pairs]


@pytest.mark.parametrize(
    ("order", "verdict"),
    [([3, 6, 2, 5, 1, 4.0], "supported"), ([6, 5, 4, 3, 2, 1.0], "refuted"), ([6, 4, 5, 1, 3, 2.0], "inconclusive")],
    ids=["tau .2", "tau 1", "tau .6, by chance p = .14"],
)
def test_no_correlation_is_supported_by_seeds_and_refuted_by_sizes_too(order: list[float], verdict: str) -> None:
    assert verdicts(np.array(order)) == [verdict]


def test_four_batch_sizes_in_order_refute_nothing() -> None:
    """Chance has them in order in 2 of 24."""
    assert verdicts(np.array([4.0, 3, 2, 1])) == ["inconclusive"]


@pytest.mark.parametrize(("noise", "seeds"), [(1.0, 3), (3.0, 8)])
def test_a_correlation_is_not_called_none_because_of_noise(noise: float, seeds: int) -> None:
    """Kendall's tau of .33: "none" is said in at most 5 % of 200 studies. Noise as large as the steps hides it, but
    then neither measure is shown to change.
    """
    order = np.array([4.0, 5, 6, 1, 3, 2])
    assert kendall_tau_b(order, -np.arange(6.0)).estimate == pytest.approx(1 / 3)
    found = verdicts(order, noise=noise, seeds=seeds, studies=200)
    assert found.count("supported") / 200 < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 200)


def test_batch_sizes_in_any_order_are_seldom_called_correlated() -> None:
    rng, refuted = np.random.default_rng(2), 0
    for _ in range(200):
        refuted += verdicts(rng.permutation(8).astype(float)).count("refuted")
    assert refuted / 200 < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 200)


@pytest.mark.parametrize(
    ("last", "verdict"), [((-1.0, -5.0), "supported"), ((1.0, -5.0), "refuted"), ((0.0, -5.0), "inconclusive")]
)
def test_two_measures_fall_together_or_one_does_not(last: tuple[float, float], verdict: str) -> None:
    rng = np.random.default_rng(0)
    x, y = (curve(np.array([0.0, end]), noise=0.05, seeds=3, rng=rng) for end in last)
    assert fall_together(x, y, delta=0.0).verdict == verdict


@pytest.mark.parametrize(
    ("accuracy", "verdict"),
    [((20.0, 10, 9, 8), "supported"), ((8.0, 9, 10, 20), "refuted"), ((20.0, 8, 9, 10), "inconclusive")],
)
def test_four_batch_sizes_are_opposed_by_their_trends_and_not_against_their_order(
    accuracy: tuple[float, ...], verdict: str
) -> None:
    """20, 8, 9, 10 % under a rising curvature: tau is 0, both trends are opposed, and it was refuted."""
    rng = np.random.default_rng(3)
    x, y = (curve(np.array(means), noise=0.05, seeds=3, rng=rng) for means in ((1.0, 2, 3, 4), accuracy))
    assert opposed(x, y, reach=REACH).verdict == verdict


@pytest.mark.parametrize(("cells", "verdict", "p"), [(5, "supported", 2 / 120), (4, "inconclusive", 2 / 24)])
def test_cells_in_perfect_order_have_an_exact_p_and_no_interval(cells: int, verdict: str, p: float) -> None:
    """An interval from -1 to -1 was printed for five cells."""
    rng, order = np.random.default_rng(3), np.arange(float(cells))
    found = opposed_over_cells(*(curve(means, noise=0.05, seeds=3, rng=rng) for means in (order, -order)), delta=0.0)
    assert (found.verdict, found.effect) == (verdict, pytest.approx(-1.0))
    assert found.p_supported == pytest.approx(p)
    assert np.isnan([found.low, found.high]).all()
