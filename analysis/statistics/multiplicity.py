"""p-values of many tests at once: Holm, most of them, Benjamini-Yekutieli, one noisy cell on a curve."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from analysis.statistics.groups import Codes
from analysis.statistics.intervals import Array
from analysis.statistics.thresholds import NOISY_CELL_DIRECTIONS, NOISY_CELL_SHARE


def holm(p: ArrayLike) -> Array:
    """Holm's step-down adjusted p values (Holm 1979): family-wise error under any dependence. NaN stays
    NaN.
    """
    values = np.asarray(p, dtype=float)
    adjusted = np.full(values.shape, np.nan)
    tested = np.flatnonzero(np.isfinite(values))
    order = tested[np.argsort(values[tested], kind="stable")]
    m = order.size
    adjusted[order] = np.minimum(np.maximum.accumulate(values[order] * (m - np.arange(m))), 1.0)
    return adjusted


def simes(p: ArrayLike) -> float:
    """The p-value of "one of these effects is there" (Simes 1986, Biometrika 73): for tests that are independent or
    positively dependent. 1 without tests.
    """
    return float(stats.false_discovery_control(np.asarray(p, dtype=float)).min(initial=1.0))


def most_hold(p: ArrayLike) -> float:
    """The p-value of "more than half of these effects are there", each with a p-value of its own; NaN is none (1).

    Of k tests more than half are u = k // 2 + 1. Where fewer effects are there, at least k - u + 1 tests are of none,
    so Simes' p-value of the k - u + 1 largest is valid: the partial conjunction of Benjamini & Heller (2008, Biometrics
    64), for tests that are independent or positively dependent, as those on the same networks and seeds are. Two
    steps of momentum share a curve with opposite signs: simulated, a majority of them is wrong in 2 to 3 % of studies.
    """
    values = np.sort(np.nan_to_num(np.asarray(p, dtype=float), nan=1.0))
    return simes(values[len(values) // 2 :])


def benjamini_yekutieli(p: ArrayLike) -> Array:
    """q values of Benjamini & Yekutieli (2001, Annals of Statistics 29): false discovery rate under any
    dependence.

    NaN stays NaN and does not count as a test.
    """
    values = np.asarray(p, dtype=float)
    adjusted = np.full(values.shape, np.nan)
    tested = np.flatnonzero(np.isfinite(values))
    if tested.size:
        adjusted[tested] = stats.false_discovery_control(values[tested], method="by")
    return adjusted


def allow_for_a_noisy_cell(p: Array, found: NDArray[np.bool_], curve: Codes, rate: float) -> Array:
    """Adjusted p-values (shape (pairs,)), at most `rate` where the noise of one cell does not explain the pair.

    Three seeds of a noisy cell agree by chance often enough that no variance shared with other cells can tell, and
    six pairs that share the cell err together. So what is adjusted for is the number of curves, not that of pairs:
    Benjamini & Hochberg (1995, JRSS B 57) on each curve's least `p` among its pairs that are `found` without regard to
    this; a pair then counts at the level of its curve (as Benjamini & Bogomolov 2014, JRSS B 76, do for families).
    """
    if not p.size:
        return p
    codes = np.unique(curve, return_inverse=True)[1]
    least = np.ones(int(codes.max()) + 1)
    np.minimum.at(least, codes[found], p[found])
    weight = NOISY_CELL_DIRECTIONS / NOISY_CELL_SHARE
    passed = int((stats.false_discovery_control(np.minimum(weight * least, 1.0)) <= rate).sum())
    return np.asarray(np.minimum(weight * p * least.size / max(passed, 1), 1.0))
