"""AS: do two measures along the batch size go together, against each other, or neither?"""

from __future__ import annotations

import numpy as np
from scipy import stats

from analysis.statistics.contrasts import paired_difference
from analysis.statistics.estimates import Floats, Sample, cell_means
from analysis.statistics.finding import SIGNIFICANCE, Decision, Finding
from analysis.statistics.inference import kendall_tau_b
from analysis.statistics.intervals import continuity_tau, fisher_z_interval

KENDALL_VARIANCE = 0.437
"""Variance of atanh(tau) times (n - 4): Fieller, Hartley & Pearson (1957)."""


def opposed(x: Sample, y: Sample) -> Finding:
    """Decide whether `x` and `y` (paired by batch size and seed) order the batch sizes against each other.

    Kendall's tau-b of the cell means, its exact two-sided p; supported where tau is below 0, refuted above.
    """
    short, mean_x, mean_y = _means(x, y)
    if short:
        return short
    tau = kendall_tau_b(mean_x, mean_y)
    low, high = fisher_z_interval(tau.estimate, len(mean_x), "kendall")
    against = tau.estimate < 0
    verdict: Decision = "inconclusive"
    reason = f"the order of {len(mean_x)} batch sizes is compatible with chance (exact p = {tau.p:.2g})"
    if tau.p <= SIGNIFICANCE:
        verdict = "supported" if against else "refuted"
        reason = f"exact p = {tau.p:.2g} over {len(mean_x)} batch sizes"
    return Finding(
        verdict,
        reason,
        effect=tau.estimate,
        low=low,
        high=high,
        p_supported=tau.p if against else 1.0,
        p_refuted=1.0 if against else tau.p,
    )


def unrelated(x: Sample, y: Sample, *, bound: float) -> Finding:
    """Decide whether Kendall's tau of `x` and `y` lies within +-`bound`: by two one-sided tests on Fisher's z.

    Supported where the 90 % interval lies inside +-`bound`, refuted where it lies wholly outside.
    """
    short, mean_x, mean_y = _means(x, y)
    if short:
        return short
    n = len(mean_x)
    tau = kendall_tau_b(mean_x, mean_y).estimate
    if not np.isfinite(tau):
        return Finding("inconclusive", "one of the two measures does not vary")
    low, high = fisher_z_interval(tau, n, "kendall", level=1 - 2 * SIGNIFICANCE)
    se = float(np.sqrt(KENDALL_VARIANCE / (n - 4)))
    z, limit = float(np.arctanh(continuity_tau(tau, n))), float(np.arctanh(bound))
    p_within = float(max(stats.norm.sf((limit - z) / se), stats.norm.sf((limit + z) / se)))
    p_beyond = float(min(stats.norm.sf((z - limit) / se), stats.norm.sf((-z - limit) / se)))
    narrowest = float(np.tanh(stats.norm.ppf(1 - SIGNIFICANCE) * se))
    verdict: Decision = "inconclusive"
    reason = f"the interval of tau is not inside +-{bound:g}"
    if narrowest > bound:
        reason += f", nor can it be: with {n} batch sizes it reaches +-{narrowest:.2g} at least"
    if p_within <= SIGNIFICANCE:
        verdict, reason = "supported", f"the interval of tau lies inside +-{bound:g}"
    elif p_beyond <= SIGNIFICANCE:
        verdict, reason = "refuted", f"the interval of tau lies outside +-{bound:g}"
    return Finding(
        verdict,
        reason,
        effect=tau,
        low=low,
        high=high,
        p_supported=p_within,
        p_refuted=p_beyond,
        confidence=1 - 2 * SIGNIFICANCE,
    )


def _means(x: Sample, y: Sample) -> tuple[Finding | None, Floats, Floats]:
    """Cell means of both over the runs that have both; a finding instead where they are too few."""
    nothing = np.array([], dtype=float)
    difference = paired_difference(x, y)
    short = difference.shortfall()
    if short:
        return short, nothing, nothing
    kept = difference.decidable()
    common = set(zip(kept.batch_size.tolist(), kept.seed.tolist(), strict=True))
    arms = []
    for sample in (x, y):
        pairs = zip(sample.batch_size.tolist(), sample.seed.tolist(), strict=True)
        mine = sample.where(np.array([pair in common for pair in pairs], dtype=bool))
        arms.append(cell_means(mine.batch_size, mine.value).mean)
    return None, arms[0], arms[1]
