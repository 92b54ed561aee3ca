"""The tests of claims on two measures at once: how they order the batch sizes, or the seeds.

Each takes two samples and returns a `Finding`, as the tests of `sample_tests` do.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import stats

from analysis.statistics.correlations import (
    Correlation,
    kendall_by_group,
    kendall_tau_b,
    mean_sign_error,
    sign_error,
    spearman,
)
from analysis.statistics.estimates import (
    ALONG_BATCH_SIZES,
    AT_ONE_SIZE,
    Decision,
    Finding,
    Floats,
    LinearContrast,
    Reach,
    Sample,
    mean_of_seeds,
)
from analysis.statistics.sample_tests import (
    contrast,
    paired_difference,
    seed_table,
    slope_per_doubling,
    whole_seeds,
)
from analysis.statistics.thresholds import (
    CHANCE_SIGN_ERROR,
    MIN_BATCH_SIZES,
    MIN_GAP,
    MIN_RATIO,
    MIN_SEEDS,
    SIGNIFICANCE,
)


def opposed(x: Sample, y: Sample, *, delta: float = 0.0, reach: Reach = ALONG_BATCH_SIZES) -> Finding:
    """Decide whether `x` and `y` (paired by batch size and seed) order the batch sizes against each other.

    Kendall's tau-b of the cell means, its exact two-sided p; supported where tau is at most -`delta`, refuted above.
    Four sizes in order happen by chance in 2 of 24: with fewer than five the seeds decide, by the larger p of the two
    trends, that of `x` and that of `y` (intersection-union). Where tau has not the sign of their product, nothing is
    decided.
    """
    short, *arms = _paired(x, y, reach)
    if short:
        return short
    mean_x, mean_y = (arm.cells().mean for arm in arms)
    tau, test = kendall_tau_b(mean_x, mean_y), "exact p"
    if len(mean_x) < MIN_BATCH_SIZES:  # too few for the exact test to reach its level
        slopes = [slope_per_doubling(sample.decidable.cells(linear=True)) for sample in (x, y)]
        if np.sign(tau.estimate) != np.sign(slopes[0].value * slopes[1].value):
            reason = f"the order of {len(mean_x)} batch sizes is not that of the two trends"
            return Finding("inconclusive", reason, tau.estimate, tau.low, tau.high, 1.0, 1.0)
        tau, test = tau._replace(p=max(s.p_differs() for s in slopes)), "both measures' trends over seeds, p"
    return _by_direction(-tau.estimate, tau, f"{test} = {tau.p:.2g} over {len(mean_x)} batch sizes", delta)


def opposed_over_cells(*samples: Sample, delta: float) -> Finding:
    """Decide whether two measures are opposed over the cells of several curves: those of one measure, then the other's.

    Spearman's rho of the cell means; by direction, supported where rho is at most -`delta`.
    """
    half = len(samples) // 2
    paired = [_paired(x, y, AT_ONE_SIZE) for x, y in zip(samples[:half], samples[half:], strict=True)]
    means = [np.concatenate([arms[k].cells().mean for _, *arms in paired]) for k in (0, 1)]
    rho = spearman(*means)
    if rho.n < 4 or np.isnan(rho.estimate):
        there = rho.n >= 4 or any(short and short.verdict == "inconclusive" for short, *_ in paired)
        reason = f"{len(means[0])} cells with {MIN_SEEDS} seeds; needs 4 that differ"
        return Finding("inconclusive" if there else "not run", reason)
    return _by_direction(-rho.estimate, rho, f"p = {rho.p:.2g} over {len(means[0])} cells", delta)


def sharper_more_robust(robust: Sample, sharp: Sample, *, delta: float, reach: Reach = ALONG_BATCH_SIZES) -> Finding:
    """Decide whether in most pairs of batch sizes the network of larger `sharp` has the larger `robust` too.

    By the sign-error (Dziugaite et al. 2020) of each seed (`mean_sign_error`): supported where it is surely above
    chance by at least `delta`, refuted where below. A curve on which the means of either differ by less than those of a
    counterexample must (MIN_RATIO of the eigenvalues, MIN_GAP of accuracy) decides nothing.

    Args:
        robust: accuracies, in points.
        sharp: eigenvalues, in doublings.
        delta: share of pairs.
        reach: batch sizes that are needed.
    """
    short, robust, sharp = _paired(robust, sharp, reach)
    if short:
        return short
    seeds = np.unique(robust.seed, return_inverse=True)[1]
    found = mean_sign_error(sign_error(sharp.value, -robust.value, seeds), np.zeros(seeds.max() + 1, dtype=np.intp))
    if found.replicates[0] < MIN_SEEDS:
        return Finding("inconclusive", f"{found.replicates[0]} seeds with two batch sizes; needs {MIN_SEEDS}")
    error, p, low, high = (float(of[0]) for of in (found.estimate, found.p, found.low, found.high))
    mean = Correlation(error, p, low, high, int(found.pairs[0]))
    if np.ptp(sharp.cells().mean) < np.log2(MIN_RATIO) or np.ptp(robust.cells().mean) < 100 * MIN_GAP:
        reason = (
            f"λ₁ differs by less than a factor of {MIN_RATIO:g}, or the accuracy by less than {100 * MIN_GAP:g} point"
        )
        return Finding("inconclusive", reason, error, low, high, 1.0, 1.0)
    reason = f"in {error:.2f} of the pairs, mean over seeds, the sharper network is the more robust (p = {p:.2g})"
    return _by_direction(error - CHANCE_SIGN_ERROR, mean, reason, delta)


def _by_direction(effect: float, found: Correlation, reason: str, delta: float) -> Finding:
    """The finding of a two-sided test whose `effect`, above 0 as claimed, supports from `delta` on."""
    verdict: Decision = "inconclusive"
    if np.isnan(found.p):
        reason = "one of the two measures does not vary"
    elif found.p > SIGNIFICANCE:
        reason += ": compatible with chance"
    elif effect < 0:
        verdict = "refuted"
    elif effect >= delta:
        verdict = "supported"
    p_supported, p_refuted = (found.p, 1.0) if effect > 0 else (1.0, found.p)
    return Finding(verdict, reason, found.estimate, found.low, found.high, p_supported, p_refuted)


def unrelated(x: Sample, y: Sample, *, delta: float, reach: Reach = ALONG_BATCH_SIZES) -> Finding:
    """Decide whether Kendall's tau of `x` and `y` at these batch sizes lies within +-`delta`.

    Two things are unsure, and each has its test. What the noise of seeds does to tau: its interval is the jackknife's
    over seeds (Tukey 1958, Annals of Mathematical Statistics 29), on Student's t. Whether so few batch sizes have this
    order by chance: the exact p of tau. Supported where the 90 % interval lies inside +-`delta`. Refuted where it lies
    wholly outside and p is at most .05, which four batch sizes cannot reach.

    Noise alone makes tau small. So nothing is supported unless both measures are shown to change with the batch size
    (Kruskal and Wallis 1952, Journal of the American Statistical Association 47).
    """
    short, *_ = _paired(x, y, reach)
    if short:
        return short
    tables = _tables(x, y)
    seeds, n = tables[0].shape
    if seeds < MIN_SEEDS:
        return Finding("inconclusive", f"{seeds} seeds with every batch size; needs {MIN_SEEDS}")
    found = kendall_tau_b(*tables.mean(axis=1))
    if not np.isfinite(found.estimate):
        return Finding("inconclusive", "one of the two measures does not vary")
    others = [np.delete(tables, s, axis=1).mean(axis=1) for s in range(seeds)]
    left_x, left_y = np.concatenate(others, axis=1)
    without = kendall_by_group(left_x, left_y, np.repeat(np.arange(seeds), n)).tau
    pseudo = seeds * found.estimate - (seeds - 1) * without
    tau = LinearContrast(found.estimate, mean_of_seeds(pseudo, rounding=4 / (n * (n - 1))).se, seeds - 1)
    p_within, p_beyond = tau.p_within(delta), max(tau.p_beyond(delta), found.p)
    verdict: Decision = "inconclusive"
    reason = f"the interval of tau is not inside ±{delta:g}"
    if p_within <= SIGNIFICANCE and any(stats.kruskal(*table.T).pvalue > SIGNIFICANCE for table in tables):
        reason, p_within = "one of the two measures is not shown to change with the batch size", float("nan")
    elif p_within <= SIGNIFICANCE:
        verdict, reason = "supported", f"the interval of tau lies inside ±{delta:g}"
    elif p_beyond <= SIGNIFICANCE:
        verdict, reason = "refuted", f"the interval of tau lies outside ±{delta:g}"
    elif tau.p_beyond(delta) <= SIGNIFICANCE:
        reason = f"by chance {n} batch sizes have such an order with p = {found.p:.2g}"
    low, high = tau.interval(1 - 2 * SIGNIFICANCE)
    return Finding(
        verdict, reason, found.estimate, max(low, -1.0), min(high, 1.0), p_within, p_beyond, 1 - 2 * SIGNIFICANCE
    )


def _tables(*samples: Sample, linear: bool = False) -> Floats:
    """The values of the seeds that have every batch size in every sample, shape (samples, seeds, sizes)."""
    kept = [sample.decidable for sample in samples]
    sizes = set.intersection(*(set(sample.batch_size.tolist()) for sample in kept))
    kept = [sample.where(np.isin(sample.batch_size, list(sizes))) for sample in kept]
    common = sorted(set.intersection(*(set(whole_seeds(sample)) for sample in kept)))
    return np.stack([seed_table(sample, common, linear=linear)[1] for sample in kept])


def fall_together(x: Sample, y: Sample, *, delta: float, reach: Reach = AT_ONE_SIZE) -> Finding:
    """Decide whether both `x` and `y` fall from the smallest to the largest of their batch sizes, seed by seed.

    p is the larger of the two (intersection-union); the effect is that on `y`.
    """
    short, *_ = _paired(x, y, reach)
    if short:
        return short
    changes = [np.diff(_tables(x, y, linear=linear)[..., [0, -1]])[..., 0] for linear in (False, True)]
    ends = [
        contrast(
            Sample.of(np.ones(len(value)), np.arange(len(value)), value, linear, rounding=sample.rounding),
            claimed=-1,
            delta=delta,
            reach=AT_ONE_SIZE,
        )
        for sample, value, linear in zip((x, y), *changes, strict=True)
    ]
    if "not run" in {end.verdict for end in ends}:
        return Finding("inconclusive", ends[0].reason)
    reasons = dict.fromkeys(end.reason for end in ends)
    verdict: Decision = "inconclusive"
    if all(end.verdict == "supported" for end in ends):
        verdict = "supported"
    p_refuted = min(1.0, 2 * min(end.p_refuted for end in ends))
    if p_refuted <= SIGNIFICANCE:
        verdict = "refuted"
    p = max(end.p_supported for end in ends)
    return replace(ends[1], verdict=verdict, reason="; ".join(reasons), p_supported=p, p_refuted=p_refuted)


def _paired(x: Sample, y: Sample, reach: Reach) -> tuple[Finding | None, Sample, Sample]:
    """The decidable runs that have both, in one order; a finding as well where they are too few."""
    difference = paired_difference(x, y)
    places = [{pair: k for k, pair in enumerate(sample.pairs)} for sample in (x, y)]
    kept = [np.array([place[pair] for pair in difference.decidable.pairs], dtype=np.intp) for place in places]
    return difference.shortfall(reach), x.where(kept[0]), y.where(kept[1])
