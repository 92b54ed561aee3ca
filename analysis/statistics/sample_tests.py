"""The tests of claims: what samples along the batch size say of a direction, of flatness, or of an association.

Each takes samples and `delta`, the least effect that counts, and returns a `Finding`. `reach` says which batch sizes
it needs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
from scipy import stats

from analysis.statistics.correlations import kendall_tau_b
from analysis.statistics.estimates import (
    ALONG_BATCH_SIZES,
    Decision,
    Finding,
    Floats,
    LinearContrast,
    Reach,
    Sample,
    cell_means,
    directional,
)
from analysis.statistics.intervals import Z_VARIANCE, continuity_tau, fisher_z_interval
from analysis.statistics.multiplicity import holm
from analysis.statistics.thresholds import MIN_FINITE_SHARE, MIN_SEEDS, MIN_SIZES_FROM_PEAK, SIGNIFICANCE

Summary = Callable[[Floats, Floats], LinearContrast]
"""(batch sizes, values) -> one effect with its standard error."""


# Trends


def slope_per_doubling(batch_size: Floats, value: Floats) -> LinearContrast:
    """Least-squares slope of `value` on log2(`batch_size`), both of shape (n,): a linear contrast of the cell means."""
    cells = cell_means(batch_size, value)
    x = np.log2(cells.size)
    offset = x - np.average(x, weights=cells.count)
    weights = cells.count * offset
    return cells.contrast(weights / float(weights @ offset))


def end_to_end(batch_size: Floats, value: Floats) -> LinearContrast:
    """The change of the least-squares line from the smallest to the largest batch size."""
    doublings = float(np.log2(batch_size.max() / batch_size.min()))
    return slope_per_doubling(batch_size, value).times(doublings)


def trend(sample: Sample, *, claimed: int, delta: float, reach: Reach = ALONG_BATCH_SIZES) -> Finding:
    """Decide whether `sample` rises (`claimed` +1) or falls (-1) with batch size by at least `delta` end to end.

    The effect is the change of the least-squares line in log2(batch size) from the smallest to the largest batch, in
    the unit of `sample.value`; the noise is that of seeds within their cells, so that a bend in the curve is not
    mistaken for noise, and cell by cell, so that the cells need not be equally noisy.
    """
    short = sample.shortfall(reach)
    if short:
        return short
    kept = sample.decidable()
    change = end_to_end(kept.batch_size, kept.value)
    slope = slope_per_doubling(kept.batch_size, kept.linear)
    return directional(change, slope, claimed=claimed, delta=delta, what="the end-to-end change")


def falls_from_peak(sample: Sample, *, delta: float, reach: Reach = ALONG_BATCH_SIZES) -> Finding:
    """Decide whether `sample` falls by at least `delta` from its best batch size to the largest.

    The best cell of several is best in part by luck, so the fall from it is overstated, and it is the data that
    chose where the line starts. Every batch size that leaves `MIN_SIZES_FROM_PEAK` sizes is a start that could have
    been chosen: p-values are multiplied by their number and the interval holds for all of them at once (Bonferroni),
    so the error stays below 5 % however the start was chosen. A peak among the last two sizes starts the line at
    the last size that can.
    """
    short = sample.shortfall(reach)
    if short:
        return short
    kept = sample.decidable()
    means = cell_means(kept.batch_size, kept.value)
    starts = means.size[: 1 - MIN_SIZES_FROM_PEAK]
    start = min(float(means.size[int(np.argmax(means.mean))]), float(starts[-1]))
    beyond = kept.where(kept.batch_size >= start)
    return directional(
        end_to_end(beyond.batch_size, beyond.value),
        slope_per_doubling(beyond.batch_size, beyond.linear),
        claimed=-1,
        delta=delta,
        what=f"the change from batch {start:.0f} on",
        looks=len(starts),
    )


# Differences at equal batch size


def paired_difference(first: Sample, second: Sample) -> Sample:
    """`second` minus `first` wherever both have the same batch size and seed; NaN where either diverged."""
    places = {pair: k for k, pair in enumerate(first.pairs)}
    common = [(places[pair], k) for k, pair in enumerate(second.pairs) if pair in places]
    i, j = np.array(common, dtype=int).reshape(-1, 2).T
    return Sample(
        first.batch_size[i], first.seed[i], second.value[j] - first.value[i], second.linear[j] - first.linear[i]
    )


def mean_over_sizes(batch_size: Floats, value: Floats) -> LinearContrast:
    """The unweighted mean over batch sizes of cell means."""
    cells = cell_means(batch_size, value)
    return cells.contrast(np.full(len(cells.size), 1 / len(cells.size)))


def contrast(difference: Sample, *, claimed: int, delta: float, reach: Reach = ALONG_BATCH_SIZES) -> Finding:
    """Decide whether a paired difference, averaged over batch sizes, is positive (`claimed` +1) or negative (-1)."""
    short = difference.shortfall(reach)
    if short:
        return short
    kept = difference.decidable()
    effect, linear = (mean_over_sizes(kept.batch_size, values) for values in (kept.value, kept.linear))
    return directional(effect, linear, claimed=claimed, delta=delta, what="the mean difference")


def no_gain(difference: Sample, *, claimed: int, delta: float, reach: Reach = ALONG_BATCH_SIZES) -> Finding:
    """Non-inferiority: decide whether a paired difference in the direction `claimed` stays under `delta`.

    Supported where a one-sided test says so at the 5 % level, whatever happens in the other direction. Refuted where
    the difference is as large as delta and its 95 % interval excludes 0.
    """
    there = contrast(difference, claimed=claimed, delta=delta, reach=reach)
    if there.verdict == "not run" or not there.p_supported >= 0.0:
        return there
    kept = difference.decidable()
    p = mean_over_sizes(kept.batch_size, kept.value).times(claimed).p_below(delta)
    verdict: Decision = "inconclusive"
    reason = f"neither a difference of {delta:g} nor its absence is shown"
    if p <= SIGNIFICANCE:
        verdict, reason = "supported", f"the mean difference is below {delta:g}"
    elif there.verdict == "supported":
        verdict, reason = "refuted", f"the mean difference reaches {delta:g}"
    return replace(there, verdict=verdict, reason=reason, p_supported=p, p_refuted=there.p_supported)


def larger_in_size(
    first: Sample, second: Sample, *, delta: float, reach: Reach = ALONG_BATCH_SIZES, summary: Summary = mean_over_sizes
) -> Finding:
    """Decide whether |effect of `first`| exceeds |effect of `second`|: an interaction of absolute effects.

    `summary` takes the effect from a sample: the mean of a paired difference, or a trend's end-to-end change.
    The samples count as independent. Where `second` is near 0 its absolute value is biased upwards, which
    works against the claim.
    """
    short = first.shortfall(reach) or second.shortfall(reach)
    if short:
        return short
    kept = first.decidable(), second.decidable()
    effect, linear = (
        _difference_in_size(*(summary(s.batch_size, getattr(s, scale)) for s in kept)) for scale in ("value", "linear")
    )
    return directional(effect, linear, claimed=1, delta=delta, what="the difference of absolute effects")


def _difference_in_size(first: LinearContrast, second: LinearContrast) -> LinearContrast:
    """|first| - |second| with Welch-Satterthwaite degrees of freedom."""
    return LinearContrast(abs(first.value), first.se, first.dof).less(
        LinearContrast(abs(second.value), second.se, second.dof)
    )


def exceeds_at_large_batch(difference: Sample, *, delta: float, least: int) -> Finding:
    """Decide whether a paired difference of logarithms is positive on average over batch sizes of `least` and more."""
    large = difference.where(difference.batch_size >= least)
    _, counts = np.unique(large.batch_size, return_counts=True)
    if not (counts >= MIN_SEEDS).any():
        return Finding("not run", f"no batch size of {least} or more with {MIN_SEEDS} seeds")
    kept = large.decidable()
    if not len(kept.value):
        return Finding("inconclusive", "too many seeds diverged")
    ratio = mean_over_sizes(kept.batch_size, kept.value)
    return directional(ratio, ratio, claimed=1, delta=delta, what="the mean log ratio")


def difference_by_seed(value: Floats, linear: Floats, *, claimed: int, delta: float) -> Finding:
    """Decide whether differences by seed at one batch size are positive (`claimed` +1) or negative (-1).

    `value`, `linear`: shape (seeds,), in the unit of the effect and on the linear scale (logit of an accuracy); NaN
    where a network of the pair diverged.
    """
    if len(value) < MIN_SEEDS:
        seeds = "seed" if len(value) == 1 else "seeds"
        return Finding("not run", f"{len(value)} {seeds} of both networks; needs {MIN_SEEDS}")
    finite = np.isfinite(value) & np.isfinite(linear)
    if finite.mean() < MIN_FINITE_SHARE - 1e-12 or finite.sum() < 2:
        return Finding("inconclusive", f"too many seeds diverged: {int(finite.sum())} of {len(value)} left")
    effect, straight = (
        LinearContrast(float(x.mean()), float(x.std(ddof=1) / np.sqrt(len(x))), len(x) - 1)
        for x in (value[finite], linear[finite])
    )
    return directional(effect, straight, claimed=claimed, delta=delta, what="the mean difference")


# Equivalence: a difference that is not significant is not enough


def flat(sample: Sample, *, delta: float, reach: Reach = ALONG_BATCH_SIZES) -> Finding:
    """Decide whether `sample` is the same within +-`delta` at every two batch sizes.

    Each two are compared by Welch's t: a variance pooled over the curve would call the step to a noisy cell flat.
    """
    short = sample.shortfall(reach)
    if short:
        return short
    kept = sample.decidable()
    cells = cell_means(kept.batch_size, kept.value)
    means = [cells.at(k) for k in range(len(cells.size))]
    return _all_within([later.less(earlier) for earlier, later in combinations(means, 2)], delta)


def no_difference(difference: Sample, *, delta: float, reach: Reach = ALONG_BATCH_SIZES) -> Finding:
    """Decide whether a paired difference is within +-`delta` at every batch size."""
    short = difference.shortfall(reach)
    if short:
        return short
    kept = difference.decidable()
    cells = cell_means(kept.batch_size, kept.value)
    return _all_within([cells.at(k) for k in range(len(cells.size))], delta)


def _all_within(differences: Sequence[LinearContrast], delta: float) -> Finding:
    """Two one-sided tests on every difference: supported when all 90 % intervals lie within +-`delta`.

    Refuted when one, Holm-adjusted over all of them, lies wholly outside. Effect and interval are those of the largest
    difference; the reason says the least bound at which it would pass.
    """
    intervals = [d.interval(1 - 2 * SIGNIFICANCE) for d in differences]
    p_within = max(d.p_within(delta) for d in differences)
    p_beyond = float(np.min(holm([d.p_beyond(delta) for d in differences])))
    smallest = max(max(abs(low), abs(high)) for low, high in intervals)
    largest = int(np.argmax([abs(d.value) for d in differences]))
    verdict: Decision = "inconclusive"
    reason = f"flat only within +-{smallest:.2g}, not within +-{delta:g}"
    if p_within <= SIGNIFICANCE:
        verdict, reason = "supported", f"flat within +-{smallest:.2g}, so within +-{delta:g}"
    elif p_beyond <= SIGNIFICANCE:
        verdict, reason = "refuted", f"at least one difference exceeds {delta:g}"
    effect, (low, high) = differences[largest].value, intervals[largest]
    return Finding(verdict, reason, effect, low, high, p_within, p_beyond, confidence=1 - 2 * SIGNIFICANCE)


# Association of two measures along the batch size


def opposed(x: Sample, y: Sample, *, delta: float = 0.0, reach: Reach = ALONG_BATCH_SIZES) -> Finding:
    """Decide whether `x` and `y` (paired by batch size and seed) order the batch sizes against each other.

    Kendall's tau-b of the cell means, its exact two-sided p; supported where tau is at most -`delta`, refuted above.
    """
    short, mean_x, mean_y = _paired_means(x, y, reach)
    if short:
        return short
    tau = kendall_tau_b(mean_x, mean_y)
    against = tau.estimate < 0
    verdict: Decision = "inconclusive"
    reason = f"the order of {len(mean_x)} batch sizes is compatible with chance (exact p = {tau.p:.2g})"
    if tau.p <= SIGNIFICANCE:
        verdict = "refuted" if not against else ("supported" if tau.estimate <= -delta else "inconclusive")
        reason = f"exact p = {tau.p:.2g} over {len(mean_x)} batch sizes"
    p_supported, p_refuted = (tau.p, 1.0) if against else (1.0, tau.p)
    return Finding(verdict, reason, tau.estimate, tau.low, tau.high, p_supported, p_refuted)


def unrelated(x: Sample, y: Sample, *, delta: float, reach: Reach = ALONG_BATCH_SIZES) -> Finding:
    """Decide whether Kendall's tau of `x` and `y` lies within +-`delta`: by two one-sided tests on Fisher's z.

    Supported where the 90 % interval lies inside +-`delta`, refuted where it lies wholly outside.
    """
    short, mean_x, mean_y = _paired_means(x, y, reach)
    if short:
        return short
    n = len(mean_x)
    tau = kendall_tau_b(mean_x, mean_y).estimate
    if not np.isfinite(tau):
        return Finding("inconclusive", "one of the two measures does not vary")
    low, high = fisher_z_interval(tau, n, "kendall", level=1 - 2 * SIGNIFICANCE)
    se = float(np.sqrt(Z_VARIANCE["kendall"](tau, n)))
    z, limit = float(np.arctanh(continuity_tau(tau, n))), float(np.arctanh(delta))
    p_within = float(max(stats.norm.sf((limit - z) / se), stats.norm.sf((limit + z) / se)))
    p_beyond = float(min(stats.norm.sf((z - limit) / se), stats.norm.sf((-z - limit) / se)))
    narrowest = float(np.tanh(stats.norm.ppf(1 - SIGNIFICANCE) * se))
    verdict: Decision = "inconclusive"
    reason = f"the interval of tau is not inside +-{delta:g}"
    if narrowest > delta:
        reason += f", nor can it be: with {n} batch sizes it reaches +-{narrowest:.2g} at least"
    if p_within <= SIGNIFICANCE:
        verdict, reason = "supported", f"the interval of tau lies inside +-{delta:g}"
    elif p_beyond <= SIGNIFICANCE:
        verdict, reason = "refuted", f"the interval of tau lies outside +-{delta:g}"
    return Finding(verdict, reason, tau, low, high, p_within, p_beyond, confidence=1 - 2 * SIGNIFICANCE)


def _paired_means(x: Sample, y: Sample, reach: Reach) -> tuple[Finding | None, Floats, Floats]:
    """Cell means of both over the runs that have both; a finding instead where they are too few."""
    difference = paired_difference(x, y)
    short = difference.shortfall(reach)
    if short:
        return short, np.empty(0), np.empty(0)
    common = set(difference.decidable().pairs)
    arms = (s.where(np.array([pair in common for pair in s.pairs], dtype=bool)) for s in (x, y))
    mean_x, mean_y = (cell_means(arm.batch_size, arm.value).mean for arm in arms)
    return None, mean_x, mean_y
