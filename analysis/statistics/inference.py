"""The statistics of the study, in one place: tests and adjustments here, intervals and ranks from their
files.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from analysis.statistics.intervals import (
    Array,
    Estimate,
    Interval,
    Pooled,
    RandomEffects,
    clopper_pearson,
    continuity_tau,
    fisher_z_interval,
    logit_accuracy,
    mean_interval,
    pooled_sd,
    random_effects,
    wilson,
)
from analysis.statistics.ranks import (
    Correlation,
    Granulated,
    SignError,
    correlation_p,
    granulated_kendall_tau,
    kendall_tau_b,
    partial_spearman,
    sign_error,
    spearman,
)

__all__ = [
    "Correlation",
    "Estimate",
    "Granulated",
    "Interval",
    "Pooled",
    "RandomEffects",
    "RepeatedMeasures",
    "SignError",
    "benjamini_yekutieli",
    "clopper_pearson",
    "continuity_tau",
    "correlation_p",
    "fisher_z_interval",
    "granulated_kendall_tau",
    "holm",
    "kendall_tau_b",
    "logit_accuracy",
    "mean_interval",
    "partial_spearman",
    "pearson",
    "pooled_sd",
    "random_effects",
    "repeated_measures_correlation",
    "sign_error",
    "spearman",
    "wilson",
]


class RepeatedMeasures(NamedTuple):
    """Correlation within subjects, two-sided p, 95 % interval, degrees of freedom, observations used."""

    estimate: float
    p: float
    low: float
    high: float
    dof: int
    n: int


def pearson(x: ArrayLike, y: ArrayLike) -> Correlation:
    """Pearson's r with t's p and Fisher's interval; NaN for NaN in, a constant or under three points."""
    a, b = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    n = a.size
    r = _cosine(a - a.mean(), b - b.mean()) if n > 2 else np.nan
    if not np.isfinite(r):
        return Correlation(np.nan, np.nan, np.nan, np.nan, n)
    return Correlation(r, correlation_p(r, n - 2), *fisher_z_interval(r, n), n)


def repeated_measures_correlation(x: ArrayLike, y: ArrayLike, subject: ArrayLike) -> RepeatedMeasures:
    """Correlation of x and y within subjects (Bakdash & Marusich 2017, Frontiers in Psychology 8:456).

    The common slope of an analysis of covariance with one intercept per subject: correlation of the
    deviations from the subjects' means, with N - k - 1 degrees of freedom for N observations of k subjects.
    Subjects seen once tell nothing and are left out. NaN in, no variation or no degree of freedom: NaN out.
    """
    a, b = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    codes = np.unique(np.asarray(subject), return_inverse=True)[1].reshape(-1)
    repeated = np.bincount(codes)[codes] > 1 if codes.size else np.zeros(0, dtype=bool)
    a, b, codes = a[repeated], b[repeated], np.unique(codes[repeated], return_inverse=True)[1].reshape(-1)
    n, k = a.size, int(codes.max()) + 1 if codes.size else 0
    dof = n - k - 1
    r = _cosine(_centred(a, codes), _centred(b, codes)) if dof > 0 else np.nan
    if not np.isfinite(r):
        return RepeatedMeasures(np.nan, np.nan, np.nan, np.nan, max(dof, 0), n)
    return RepeatedMeasures(r, correlation_p(r, dof), *fisher_z_interval(r, dof + 2), dof, n)


def _centred(values: Array, codes: np.ndarray) -> Array:
    means = np.bincount(codes, weights=values) / np.bincount(codes)
    return np.asarray(values - means[codes])


def _cosine(a: Array, b: Array) -> float:
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(np.clip(a @ b / scale, -1.0, 1.0)) if scale > 0 else np.nan


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
