"""Where the effect of a new stratum lies, when the spread between strata is itself uncertain."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

Array = NDArray[np.float64]

NODES, WEIGHTS = (part / 2 for part in np.polynomial.legendre.leggauss(24))
SHARES = NODES + 0.5
"""Probabilities at which a quantile is taken, with `WEIGHTS`: Gauss and Legendre's rule on (0, 1)."""

GRID = np.concatenate([[0.0], np.geomspace(1e-4, 1e4, 300)])
"""Values of tau2 in units of the mean variance within strata, dense enough to interpolate between."""


def prediction_interval(effects: Array, variances: Array, level: float) -> tuple[float, float]:
    """The interval of a new stratum's effect (Nagashima, Noma & Furukawa 2019, Statistical Methods in Medical Research
    28), for three strata and more, all finite.

    tau2 is not an estimate, which is often 0 by chance and gives intervals that cover too little: it has its
    confidence distribution, by which Cochran's Q at the true tau2 is a chi-square of k - 1 degrees of freedom. Given
    tau2 a new effect is normal about the mean, which has Student's t with Hartung & Knapp's error, not let below the
    classical one.
    """
    k = effects.size
    grid = GRID * variances.mean()
    weight, mean = _weighted(effects, variances, grid)
    cochran = (weight * (effects - mean[:, None]) ** 2).sum(axis=1)
    tau2 = np.interp(SHARES, special.chdtrc(k - 1, cochran), grid)
    weight, mean = _weighted(effects, variances, tau2)
    spread = (weight * (effects - mean[:, None]) ** 2).sum(axis=1) / (k - 1)
    error = np.sqrt(np.maximum(spread, 1.0) / weight.sum(axis=1))
    centre = mean[:, None] + np.sqrt(tau2)[:, None] * special.ndtri(SHARES)

    def below(x: float, share: float) -> float:
        return float(WEIGHTS @ special.stdtr(k - 1, (x - centre) / error[:, None]) @ WEIGHTS) - share

    tails = (1 - level) / 2, (1 + level) / 2
    reach = float(np.ptp(centre) + error.max() * special.stdtrit(k - 1, 1 - tails[0] / 10))
    span = float(centre.min()) - reach, float(centre.max()) + reach
    low, high = (float(optimize.brentq(below, *span, args=(tail,))) for tail in tails)
    return low, high


def _weighted(effects: Array, variances: Array, tau2: Array) -> tuple[Array, Array]:
    """Weights (shape (tau2, strata)) and weighted mean (shape (tau2,)) at each tau2."""
    weight = 1.0 / (variances + tau2[:, None])
    return weight, (weight * effects).sum(axis=1) / weight.sum(axis=1)
