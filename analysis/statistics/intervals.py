"""Estimates with their uncertainty: proportions, means, correlations, random effects and where a new stratum lies."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special, stats

from analysis.statistics.thresholds import FLOOR, SIGNIFICANCE

Array = NDArray[np.float64]

TAIL = SIGNIFICANCE / 2
"""What a 95 % interval leaves out on either side."""


class Interval(NamedTuple):
    """Lower and upper limit."""

    low: Any
    high: Any


class Estimate(NamedTuple):
    """A value between its limits; `n` counts what it rests on."""

    estimate: float
    low: float
    high: float
    n: int


class RandomEffects(NamedTuple):
    """Mean of a random-effects model, its interval, the prediction interval of a new stratum, heterogeneity.

    `i2` is the share of the variance between strata in the total variation (0 to 1), `k` the strata, `p` the two-sided
    p value of a mean of zero.
    """

    mean: float
    low: float
    high: float
    predicted_low: float
    predicted_high: float
    i2: float
    p: float
    k: int


def clopper_pearson(correct: ArrayLike, n: ArrayLike) -> Interval:
    """Exact two-sided 95 % interval of a proportion; arrays broadcast (Clopper & Pearson 1934, Biometrika 26).

    scipy's `binomtest(k, n).proportion_ci` for thousands of cells at once. NaN where `n` is 0.
    """
    k, size = np.asarray(correct, dtype=float), np.asarray(n, dtype=float)
    low = np.where(k > 0, stats.beta.ppf(TAIL, k, size - k + 1), 0.0)
    high = np.where(k < size, stats.beta.ppf(1.0 - TAIL, k + 1, size - k), 1.0)
    empty = ~(size > 0)
    return Interval(np.where(empty, np.nan, low)[()], np.where(empty, np.nan, high)[()])


def at_floor(correct: ArrayLike, n: ArrayLike) -> NDArray[np.bool_]:
    """Whether so few of `n` images withstand an attack that the accuracy is surely below `FLOOR`; arrays broadcast."""
    return np.asarray(clopper_pearson(correct, n).high < FLOOR)


def logit_accuracy(correct: ArrayLike, n: ArrayLike) -> Any:
    """Log odds of (correct + 1/2) in (n + 1) trials: finite at 0 and at n. Scalar in, scalar out."""
    share = (np.asarray(correct, dtype=float) + 0.5) / (np.asarray(n, dtype=float) + 1.0)
    return np.log(share / (1.0 - share))


def mean_interval(values: ArrayLike, *, new: bool = False) -> Estimate:
    """Mean over seeds with Student's 95 % interval; no limits (NaN) under two values, no mean under one.

    `new`: the limits are those of one more value instead (a prediction interval). They do not shrink to nothing as
    values are added.
    """
    data = np.asarray(values, dtype=float)
    mean, low, high = (float(found[0]) for found in mean_intervals([data], new=new))
    return Estimate(mean, low, high, data.size)


def mean_intervals(samples: Iterable[ArrayLike], *, new: bool = False) -> tuple[Array, Array, Array]:
    """`mean_interval` of many samples at once: means, lower and upper limits, shape (samples,) each.

    NaN for a sample with a value that is not finite.
    """
    arrays = [np.asarray(sample, dtype=float) for sample in samples]
    n = np.array([len(array) for array in arrays], dtype=int)
    owner, values = np.repeat(np.arange(len(n)), n), np.concatenate([np.zeros(0), *arrays])
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.bincount(owner, values, len(n)) / n
        squares = np.bincount(owner, (values - mean[owner]) ** 2, len(n))
        half = special.stdtrit(n - 1, 1.0 - TAIL) * np.sqrt(squares / (n - 1) * (1 / n + new))
    finite = np.isfinite(mean)
    mean, half = np.where(finite, mean, np.nan), np.where(n > 1, half, np.nan)
    return mean, mean - half, mean + half


Z_VARIANCE = {
    "pearson": lambda r, n: 1.0 / (n - 3.0),
    "spearman": lambda r, n: (1.0 + r**2 / 2.0) / (n - 3.0),
    "kendall": lambda r, n: 0.437 / (n - 4.0),
}
"""Variance of atanh(r): Fisher (1921); Bonett & Wright (2000, Psychometrika 65); Fieller, Hartley & Pearson
(1957).
"""


def fisher_z_interval(r: float, n: int, kind: str = "pearson", *, controls: int = 0) -> Interval:
    """95 % interval of a correlation by Fisher's z; each controlled variable costs one observation.

    `kind` is a key of `Z_VARIANCE`. Kendall's tau enters as tau N / (N + 1), N = n (n - 1) / 2 pairs (half
    a pair added to either order, our choice), since tau = 1 is common on a curve of few points. NaN where n
    is too small, and where another correlation is 1 or -1: its interval would have no width.
    """
    effective = n - controls
    inner = float(continuity_tau(r, n)) if kind == "kendall" else r
    if not abs(inner) < 1.0 - 1e-12 or effective <= (4 if kind == "kendall" else 3):
        return Interval(np.nan, np.nan)
    half = float(special.ndtri(1.0 - TAIL)) * np.sqrt(Z_VARIANCE[kind](inner, effective))
    z = np.arctanh(inner)
    return Interval(min(float(np.tanh(z - half)), r), max(float(np.tanh(z + half)), r))


def continuity_tau(tau: Any, n: Any) -> Any:
    """Kendall's tau of `n` points with half a pair added to either order. Arrays broadcast."""
    pairs = n * (n - 1) / 2.0
    return tau * pairs / (pairs + 1.0)


def random_effects(effects: ArrayLike, variances: ArrayLike) -> RandomEffects:
    """Random-effects mean over strata, its Hartung-Knapp 95 % interval and a prediction interval.

    tau2 after DerSimonian & Laird (1986); Hartung & Knapp (2001, Statistics in Medicine 20), whose standard
    error is not let below the classical one; prediction after Nagashima, Noma & Furukawa (2019), which needs three
    strata. Strata with a non-finite effect or variance are left out. With one stratum its own normal interval is
    given.
    """
    y, v = np.asarray(effects, dtype=float), np.asarray(variances, dtype=float)
    usable = np.isfinite(y) & np.isfinite(v) & (v > 0)
    y, v = y[usable], v[usable]
    k = int(y.size)
    if k == 0:
        return RandomEffects(np.nan, np.nan, np.nan, np.nan, np.nan, np.nan, np.nan, 0)
    if k == 1:
        se = float(np.sqrt(v[0]))
        half = float(stats.norm.ppf(1.0 - TAIL)) * se
        p = float(2 * stats.norm.sf(abs(y[0]) / se))
        return RandomEffects(float(y[0]), y[0] - half, y[0] + half, np.nan, np.nan, np.nan, p, 1)
    w = 1.0 / v
    q = float((w * (y - (w * y).sum() / w.sum()) ** 2).sum())
    scale = float(w.sum() - (w**2).sum() / w.sum())
    tau2 = max(0.0, (q - (k - 1)) / scale)
    i2 = max(0.0, (q - (k - 1)) / q) if q > 0 else 0.0
    w = 1.0 / (v + tau2)
    mean = float((w * y).sum() / w.sum())
    spread = float((w * (y - mean) ** 2).sum()) / (k - 1)
    se = float(np.sqrt(max(spread, 1.0) / w.sum()))
    half = float(stats.t.ppf(1.0 - TAIL, k - 1)) * se
    p = float(2 * stats.t.sf(abs(mean) / se, k - 1))
    predicted = prediction_interval(tuple(y.tolist()), tuple(v.tolist())) if k > 2 else (np.nan, np.nan)
    return RandomEffects(mean, mean - half, mean + half, *predicted, i2, p, k)


NODES, WEIGHTS = (part / 2 for part in np.polynomial.legendre.leggauss(24))
SHARES = NODES + 0.5
"""Probabilities at which a quantile is taken, with `WEIGHTS`: Gauss and Legendre's rule on (0, 1)."""

GRID = np.concatenate([[0.0], np.geomspace(1e-4, 1e4, 300)])
"""Values of tau2 in units of the mean variance within strata, dense enough to interpolate between."""


@lru_cache(maxsize=1024)
def prediction_interval(effects: tuple[float, ...], variances: tuple[float, ...]) -> tuple[float, float]:
    """The 95 % interval of a new stratum's effect, for three strata and more, all finite (Nagashima, Noma & Furukawa
    2019, Statistical Methods in Medical Research 28).

    tau2 is not an estimate, which is often 0 by chance and gives intervals that cover too little: it has its
    confidence distribution, by which Cochran's Q at the true tau2 is a chi-square of k - 1 degrees of freedom. Given
    tau2 a new effect is normal about the mean, which has Student's t with Hartung & Knapp's error, not let below the
    classical one.

    Taus of few batch sizes take few values, so that most studies of a report have the interval of another: it is kept.
    """
    y, v = np.array(effects), np.array(variances)
    k = y.size
    grid = GRID * v.mean()
    weight, mean = _weighted(y, v, grid)
    cochran = (weight * (y - mean[:, None]) ** 2).sum(axis=1)
    tau2 = np.interp(SHARES, special.chdtrc(k - 1, cochran), grid)
    weight, mean = _weighted(y, v, tau2)
    spread = (weight * (y - mean[:, None]) ** 2).sum(axis=1) / (k - 1)
    error = np.sqrt(np.maximum(spread, 1.0) / weight.sum(axis=1))
    centre = mean[:, None] + np.sqrt(tau2)[:, None] * special.ndtri(SHARES)

    def beyond(x: float, quantile: float) -> float:
        """In quantiles of Student's t the function is almost straight: a third fewer steps to its root."""
        below = WEIGHTS @ special.stdtr(k - 1, (x - centre) / error[:, None]) @ WEIGHTS
        return float(special.stdtrit(k - 1, below)) - quantile

    reach = float(np.ptp(centre) + error.max() * special.stdtrit(k - 1, 1 - TAIL / 10))
    span = float(centre.min()) - reach, float(centre.max()) + reach
    low, high = (
        float(optimize.brentq(beyond, *span, args=(float(special.stdtrit(k - 1, tail)),), xtol=1e-9))
        for tail in (TAIL, 1 - TAIL)
    )
    return low, high


def _weighted(effects: Array, variances: Array, tau2: Array) -> tuple[Array, Array]:
    """Weights (shape (tau2, strata)) and weighted mean (shape (tau2,)) at each tau2."""
    weight = 1.0 / (variances + tau2[:, None])
    return weight, (weight * effects).sum(axis=1) / weight.sum(axis=1)
