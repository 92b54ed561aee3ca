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

from analysis.statistics.estimates import (
    ALONG_BATCH_SIZES,
    AT_ONE_SIZE,
    CellMeans,
    Decision,
    Finding,
    Floats,
    LinearContrast,
    Reach,
    Sample,
    amount,
    directional,
    mean_by_seed,
    mean_of_seeds,
)
from analysis.statistics.multiplicity import holm, simes
from analysis.statistics.thresholds import (
    MIN_SEEDS,
    MIN_SIZES_FROM_PEAK,
    REVERSAL_LEVEL,
    SAME_SIGNS,
    SIGNIFICANCE,
)

# Trends


def slope_per_doubling(cells: CellMeans) -> LinearContrast:
    """The slope of the least-squares line through the cell means, on log2 of the batch size.

    Every batch size counts alike, however many seeds it has: seeds that are added to some cells change the error of
    the slope, not the slope that is estimated.
    """
    offset = np.log2(cells.size) - np.log2(cells.size).mean()
    return cells.contrast(offset / float(offset @ offset))


def end_to_end(cells: CellMeans) -> LinearContrast:
    """The change of that line from the smallest to the largest batch size."""
    return slope_per_doubling(cells).times(float(np.log2(cells.size[-1] / cells.size[0])))


def trend(sample: Sample, *, claimed: int, delta: float, reach: Reach = ALONG_BATCH_SIZES) -> Finding:
    """Decide whether `sample` rises (`claimed` +1) or falls (-1) with batch size by at least `delta` end to end.

    The effect is the change of the least-squares line in log2(batch size) from the smallest to the largest batch, in
    the unit of `sample.value`; the noise is that of seeds within their cells, so that a bend in the curve is not
    mistaken for noise, and cell by cell, so that the cells need not be equally noisy.

    Support also needs that the cell means themselves change by `delta` from the smallest to the largest batch, and
    that no part of the curve goes back by as much (`reversals`). A curve that is not shown to start further than
    `delta` from the end of its scale may have no room to change by more: that it does not is no refutation. Nor is it
    where the whole curve is not shown to lie further than `delta` from either end.
    """
    short = sample.shortfall(reach)
    if short:
        return short
    kept = sample.decidable
    cells = kept.cells()
    change, slope = end_to_end(cells), slope_per_doubling(kept.cells(linear=True))
    found = directional(change, slope, claimed=claimed, delta=delta, what="the end-to-end change")
    seen = float(cells.mean[-1] - cells.mean[0])
    found = replace(found, observed=seen)
    found = _given_room_ahead(found, kept, claimed=claimed, delta=delta)
    if found.verdict != "supported":
        return found
    if claimed * seen < delta:
        return found.undecided(f"the line changes by {amount(delta)}, the measured ends do not")
    p_back, where = reversals(cells, kept.cells(linear=True), claimed=claimed, delta=delta)
    found = replace(found, p_supported=max(found.p_supported, p_back * SIGNIFICANCE / REVERSAL_LEVEL))
    if p_back > REVERSAL_LEVEL:
        return replace(found, verdict="inconclusive", reason=f"it {_WAYS[claimed]}, but {where}")
    return found


_WAYS = {1: "rises", -1: "falls"}


def _given_room(found: Finding, p_room: float, *, claimed: int, delta: float, where: str) -> Finding:
    """No refutation of a change by `delta` where room for one is not shown; its p-value is the larger of the two.

    The p-value is kept where nothing is decided, so that rules over several networks count this one as tested. A change
    by `delta` and more the other way is a refutation whatever the room. `where`: the reason, with `{}` for delta.
    """
    if found.verdict != "refuted" or claimed * found.effect < -delta:
        return found
    found = replace(found, p_refuted=max(found.p_refuted, p_room))
    if p_room <= SIGNIFICANCE:
        return found
    return replace(found, verdict="inconclusive", reason=where.format(amount(delta)))


_NO_ROOM = "within {} of the end of the scale: no room for such a change"


def _given_room_ahead(found: Finding, kept: Sample, *, claimed: int, delta: float, looks: int = 1) -> Finding:
    """The finding of a change along `kept`, one of so many `looks` (Bonferroni), given room for it.

    Values with an end are percentages, so the end ahead is the nearer one in one half of the scale. With the end behind
    it the curve could change, yet where all of it stays there nothing is measured: an attack that fools no network says
    as little of their order as one that fools them all.
    """
    start = kept.where(kept.batch_size == kept.batch_size.min())
    ahead = (float(start.value.mean()) < 50) == (claimed < 0)
    p_room = min(1.0, looks * (start if ahead else kept).p_room(delta))
    where = f"it may start {_NO_ROOM}" if ahead else "all may lie within {} of the end of the scale: nothing to compare"
    return _given_room(found, p_room, claimed=claimed, delta=delta, where=where)


def reversals(cells: CellMeans, linear: CellMeans, *, claimed: int, delta: float) -> tuple[float, str]:
    """The p-value of "no part of a curve that changes as `claimed` goes back by `delta`", and in words which may.

    Lines through the first and through the last two sizes and more show a U or a hump. Every part must be shown not to
    go back by delta, so p is the largest (intersection-union). It is compared with `REVERSAL_LEVEL`, not with 5 %:
    docs/calibration.md has what both cost.

    Where delta is 0 the direction decides: p is 1 where some part goes back significantly (Holm), else 0.
    """
    count = len(cells.size)
    parts = [slice(0, stop) for stop in range(2, count)] + [slice(start, count) for start in range(1, count - 1)]
    if not parts:
        return 0.0, ""
    changes = [end_to_end(cells.part(part)).times(-claimed) for part in parts]
    if delta > 0:
        p = np.array([change.p_below(delta) for change in changes])
        worst, p_back = int(np.argmax(p)), float(p.max())
    else:
        straight = [end_to_end(linear.part(part)).times(-claimed) for part in parts]
        adjusted = holm([max(a.p_above(0.0), b.p_above(0.0)) for a, b in zip(changes, straight, strict=True)])
        worst, p_back = int(np.argmin(adjusted)), float(adjusted.min() <= SIGNIFICANCE)
    ends = cells.size[parts[worst]][[0, -1]]
    back = changes[worst].value
    how = f"{_WAYS[-claimed]} by {amount(back)}" if back >= delta else f"may go back by {amount(delta)}"
    return p_back, f"{how} from batch {ends[0]:.0f} to {ends[1]:.0f}"


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
    kept = sample.decidable
    means = kept.cells()
    starts = means.size[: 1 - MIN_SIZES_FROM_PEAK]
    start = min(float(means.size[int(np.argmax(means.mean))]), float(starts[-1]))
    beyond = kept.where(kept.batch_size >= start)
    cells = beyond.cells()
    found = directional(
        end_to_end(cells),
        slope_per_doubling(beyond.cells(linear=True)),
        claimed=-1,
        delta=delta,
        what=f"the change from batch {start:.0f} on",
        looks=len(starts),
    )
    found = replace(found, observed=float(cells.mean[-1] - cells.mean[0]))
    return _given_room_ahead(found, beyond, claimed=-1, delta=delta, looks=len(starts))


# Differences at equal batch size


def paired_difference(first: Sample, second: Sample, *, lost_is_chance: bool = False) -> Sample:
    """`second` minus `first` wherever both have the same batch size and seed; NaN where either diverged.

    `lost_is_chance`: where only one of the two diverged, and values are in percent, it counts with the accuracy of a
    guess: that training fails under one setting alone is an effect of it.

    The room of a difference is the mean of both rooms, or that of the one that is finite: the larger of two noisy
    values would be too large on average.
    """
    places = {pair: k for k, pair in enumerate(first.pairs)}
    common = [(places[pair], k) for k, pair in enumerate(second.pairs) if pair in places]
    i, j = np.array(common, dtype=int).reshape(-1, 2).T
    value, linear = np.stack([first.value[i], second.value[j]]), np.stack([first.linear[i], second.linear[j]])
    if lost_is_chance:
        chance = first.chance
        lost = np.isnan(value)
        alone = lost & (lost.sum(axis=0) == 1) & ~np.isinf(first.room[i])
        value, linear = (
            np.where(alone, at_chance, values)
            for values, at_chance in ((value, 100 * chance), (linear, np.log(chance / (1 - chance))))
        )
    room = first.room[i], second.room[j]
    return Sample(
        first.batch_size[i],
        first.seed[i],
        value[1] - value[0],
        linear[1] - linear[0],
        max(first.rounding, second.rounding),
        (np.fmax(*room) + np.fmin(*room)) / 2,
    )


def mean_over_sizes(kept: Sample) -> tuple[LinearContrast, LinearContrast]:
    """The mean over batch sizes of `value` and of `linear`, each seed one observation (`estimates.mean_by_seed`)."""
    return (
        mean_by_seed(kept.batch_size, kept.seed, kept.value, rounding=kept.rounding),
        mean_by_seed(kept.batch_size, kept.seed, kept.linear),
    )


def contrast(difference: Sample, *, claimed: int, delta: float, reach: Reach = ALONG_BATCH_SIZES) -> Finding:
    """Decide whether a paired difference, averaged over batch sizes, is positive (`claimed` +1) or negative (-1).

    Room is asked for at the nearer end of the scale, whatever is claimed: an attack that leaves almost nothing, or
    almost everything, right on both sides cannot tell them apart in either direction.
    """
    short = difference.shortfall(reach)
    if short:
        return short
    kept = difference.decidable
    found = directional(*mean_over_sizes(kept), claimed=claimed, delta=delta, what="the mean difference")
    return _given_room(found, kept.p_room(delta), claimed=claimed, delta=delta, where=f"both may lie {_NO_ROOM}")


def step(difference: Sample, *, claimed: int, delta: float, reach: Reach = ALONG_BATCH_SIZES) -> Finding:
    """As `contrast`, supported by the direction alone; refuted by a difference of `delta` and more the other way."""
    found = contrast(difference, claimed=claimed, delta=0.0, reach=reach)
    if found.verdict != "refuted" or claimed * found.effect <= -delta:
        return found
    return replace(found, verdict="inconclusive", reason=f"it goes the other way, by less than {amount(delta)}")


def exceeds_somewhere(difference: Sample, *, delta: float) -> Finding:
    """Decide whether a paired difference is positive on average over batch sizes, and at least `delta` at one of them.

    The test is that of the mean over sizes, each seed one observation; the size only keeps out what is too small to
    matter anywhere.
    """
    found = contrast(difference, claimed=1, delta=0.0, reach=AT_ONE_SIZE)
    if found.verdict == "supported" and float(difference.decidable.cells().mean.max()) < delta:
        return found.undecided(f"the difference reaches {amount(delta)} at no batch size")
    return found


def no_gain(difference: Sample, *, claimed: int, delta: float, reach: Reach = ALONG_BATCH_SIZES) -> Finding:
    """Non-inferiority: decide whether a paired difference in the direction `claimed` stays under `delta`.

    Supported where a one-sided test says so at the 5 % level, whatever happens in the other direction. Refuted where
    the difference is as large as delta and its 95 % interval excludes 0.
    """
    there = contrast(difference, claimed=claimed, delta=delta, reach=reach)
    if there.verdict == "not run" or not there.p_supported >= 0.0:
        return there
    kept = difference.decidable
    p = mean_over_sizes(kept)[0].times(claimed).p_below(delta)
    verdict: Decision = "inconclusive"
    reason = f"neither a difference of {amount(delta)} nor its absence is shown"
    if p <= SIGNIFICANCE:
        verdict, reason = "supported", f"the mean difference is below {amount(delta)}"
    elif there.verdict == "supported":
        verdict, reason = "refuted", f"the mean difference reaches {amount(delta)}"
    found = replace(there, verdict=verdict, reason=reason, p_supported=p, p_refuted=there.p_supported)
    return _could_fail(found, kept, delta)


Effects = Callable[[Floats, Floats], Floats]
"""(batch sizes, shape (sizes,); values by seed, shape (seeds, sizes)) -> effects by seed, shape (seeds, effects)."""


def at_each_size(batch_sizes: Floats, values: Floats) -> Floats:
    """The effects at the batch sizes, as they are."""
    return values


def end_to_end_by_seed(batch_sizes: Floats, values: Floats) -> Floats:
    """The change of each seed's own line from the smallest to the largest batch size, shape (seeds, 1)."""
    offset = np.log2(batch_sizes) - np.log2(batch_sizes).mean()
    doublings = np.log2(batch_sizes[-1] / batch_sizes[0])
    return np.asarray(values @ offset * doublings / (offset @ offset))[:, None]


def larger_in_size(
    first: Sample, second: Sample, *, delta: float, reach: Reach = ALONG_BATCH_SIZES, effects: Effects = at_each_size
) -> Finding:
    """Decide whether the effects of `first` are larger in size than those of `second`: an interaction of sizes.

    `effects` takes them from a sample: a paired difference at each batch size (+20 at one and -20 at another do not
    cancel), or a trend's end-to-end change; at the batch sizes that both have. The mean absolute effect and its error
    are the jackknife's over seeds (Tukey 1958, Annals of Mathematical Statistics 29), of the seeds without a diverged
    run under either. It removes half of the bias of an absolute value near 0, so a refutation also needs
    `_p_not_larger`.
    """
    short = first.shortfall(reach) or second.shortfall(reach)
    if short:
        return short
    finite = first.decidable, second.decidable
    sizes = np.intersect1d(finite[0].batch_size, finite[1].batch_size)
    if not reach.met(sizes):
        return Finding("inconclusive", f"{len(sizes)} batch sizes under both; needs {reach.words}")
    kept = [sample.where(np.isin(sample.batch_size, sizes)) for sample in finite]
    common = sorted(set(whole_seeds(kept[0])) & set(whole_seeds(kept[1])))
    if len(common) < MIN_SEEDS:
        return Finding("inconclusive", f"{len(common)} seeds without a diverged run under both; needs {MIN_SEEDS}")
    by_seed = [[effects(*seed_table(s, common, linear=linear)) for s in kept] for linear in (False, True)]
    value, linear = (np.subtract(*map(_mean_size, arms)) for arms in by_seed)
    rounding = max(first.rounding, second.rounding)
    found = directional(
        mean_of_seeds(value, rounding),
        mean_of_seeds(linear),
        claimed=1,
        delta=delta,
        what="the difference of absolute effects",
    )
    if found.verdict == "refuted":
        p = max(found.p_refuted, _p_not_larger(*by_seed[0], delta=delta, rounding=rounding))
        found = replace(found, p_refuted=p)
        if p > SIGNIFICANCE:
            reason = f"some effects may be of either sign, so a difference of {amount(delta)} is not excluded"
            return replace(found, verdict="inconclusive", reason=reason)
    return _given_room(found, kept[0].p_room(delta), claimed=1, delta=delta, where=f"the first may lie {_NO_ROOM}")


def _p_not_larger(first: Floats, second: Floats, *, delta: float, rounding: float) -> float:
    """The p-value of "the mean absolute effect of `first` exceeds that of `second` by less than `delta`".

    Both are effects by seed, shape (seeds, effects). Noise makes the absolute value of an effect near 0 too large, and
    so the difference too small. Signs that do not depend on the noise of `second` give a mean that is at most its mean
    absolute effect: those of `first`, or all of them turned round, which share the level (Bonferroni). An effect of
    `second` has its own sign only where that is sure (Student's t, Holm over effects).
    """
    mean, error = second.mean(axis=0), second.std(axis=0, ddof=1) / np.sqrt(len(second))
    t = np.divide(np.abs(mean), error, out=np.where(mean == 0, 0.0, np.inf), where=error > 0)
    sure = holm(2 * stats.t.sf(t, len(second) - 1)) <= SIGNIFICANCE
    signs = np.sign(first.mean(axis=0))
    ps = [1.0]
    for turn, share in ((1, SAME_SIGNS), (-1, 1 - SAME_SIGNS)):
        difference = first * signs - second * np.where(sure, np.sign(mean), turn * signs)
        ps.append(mean_of_seeds(difference.mean(axis=1), rounding).p_below(delta) / share)
    return min(ps)


def whole_seeds(kept: Sample) -> list[int]:
    """The seeds that have every batch size."""
    seeds, count = np.unique(kept.seed, return_counts=True)
    return [int(seed) for seed in seeds[count == len(np.unique(kept.batch_size))]]


def seed_table(kept: Sample, seeds: list[int], *, linear: bool) -> tuple[Floats, Floats]:
    """The batch sizes, and the values of these seeds at them, shape (seeds, sizes)."""
    chosen = kept.where(np.isin(kept.seed, seeds))
    order = np.lexsort((chosen.batch_size, chosen.seed))
    values = (chosen.linear if linear else chosen.value)[order]
    sizes = np.unique(kept.batch_size)
    return sizes, values.reshape(len(seeds), len(sizes))


def _mean_size(effects: Floats) -> Floats:
    """The jackknife's pseudo-values of the mean absolute effect, one a seed; effects of shape (seeds, effects)."""
    count, total = len(effects), effects.sum(axis=0)
    whole = np.abs(total / count).mean()
    return np.asarray(count * whole - np.abs((total - effects) / (count - 1)).mean(axis=1) * (count - 1))


# Equivalence: a difference that is not significant is not enough


def flat(sample: Sample, *, delta: float, reach: Reach = ALONG_BATCH_SIZES) -> Finding:
    """Decide whether `sample` is the same within +-`delta` at every two batch sizes.

    Each two are compared by Welch's t: a variance pooled over the curve would call the step to a noisy cell flat.
    """
    short = sample.shortfall(reach)
    if short:
        return short
    kept = sample.decidable
    return _could_fail(_all_within(_changes(kept), delta), kept, delta)


def no_fall(sample: Sample, *, delta: float, reach: Reach = ALONG_BATCH_SIZES) -> Finding:
    """Non-inferiority along the batch size: decide whether no larger batch size has a value lower by `delta` or more.

    Every two batch sizes are compared by Welch's t. Supported when every fall is shown to be smaller than delta, each
    at the 5 % level (intersection-union), whatever rises. Refuted when one, Holm-adjusted over all of them, exceeds
    delta. The effect is the change at the largest fall, with its 90 % interval.
    """
    short = sample.shortfall(reach)
    if short:
        return short
    kept = sample.decidable
    changes = _changes(kept)
    falls = [change.times(-1) for change in changes]
    p_below = max(fall.p_below(delta) for fall in falls)
    p_above = min(1.0, len(falls) * min(fall.p_above(delta) for fall in falls))
    verdict: Decision = "inconclusive"
    reason = f"neither a fall by {amount(delta)} nor its absence is shown"
    if p_below <= SIGNIFICANCE:
        verdict, reason = "supported", f"no fall reaches {amount(delta)}"
    elif p_above <= SIGNIFICANCE:
        verdict, reason = "refuted", f"a fall exceeds {amount(delta)}"
    lowest = min(changes, key=lambda change: change.value)
    low, high = lowest.interval(1 - 2 * SIGNIFICANCE)
    found = Finding(verdict, reason, lowest.value, low, high, p_below, p_above, confidence=1 - 2 * SIGNIFICANCE)
    return _could_fail(found, kept, delta)


def _changes(kept: Sample) -> list[LinearContrast]:
    """The change between every two batch sizes, from the smaller to the larger."""
    cells = kept.cells()
    means = [cells.at(k) for k in range(len(cells.size))]
    return [later.less(earlier) for earlier, later in combinations(means, 2)]


def no_difference(difference: Sample, *, delta: float, reach: Reach = ALONG_BATCH_SIZES, new: bool = False) -> Finding:
    """Decide whether a paired difference is within +-`delta` at every batch size.

    `new`: the other side is a single number from elsewhere, with the noise of one run of its own: each difference is
    judged by the prediction interval of a new seed, which does not shrink to nothing as our seeds grow in number. One
    run far off its kind, as heavy tails have them, is no disagreement: that takes two batch sizes.
    """
    short = difference.shortfall(reach)
    if short:
        return short
    kept = difference.decidable
    cells = kept.cells()
    means = [cells.at(k, new=new) for k in range(len(cells.size))]
    return _could_fail(_all_within(means, delta, beyond=2 if new else 1), kept, delta)


def _could_fail(found: Finding, kept: Sample, delta: float) -> Finding:
    """No support for what could not fail: values that are not shown to lie further than `delta` from the end."""
    if found.verdict != "supported":
        return found
    p_room = kept.p_room(delta)
    found = replace(found, p_supported=max(found.p_supported, p_room))
    if p_room <= SIGNIFICANCE:
        return found
    reason = f"all may lie within {amount(delta)} of the end of the scale, where it could not fail"
    return replace(found, verdict="inconclusive", reason=reason)


def _all_within(differences: Sequence[LinearContrast], delta: float, *, beyond: int = 1) -> Finding:
    """Two one-sided tests on every difference: supported when all 90 % intervals lie within +-`delta`.

    Refuted when one, Holm-adjusted over all of them, lies wholly outside; or when `beyond` of them do, by Simes' p of
    all but the `beyond` - 1 that lie furthest out (a partial conjunction, Benjamini & Heller 2008, Biometrics 64).
    Effect and interval are those of the largest difference; the reason says the least bound at which it would pass.
    """
    intervals = [d.interval(1 - 2 * SIGNIFICANCE) for d in differences]
    p_within = max(d.p_within(delta) for d in differences)
    outside = np.sort([d.p_beyond(delta) for d in differences])
    p_beyond = float(min(1.0, outside[0] * len(outside)))
    if beyond > 1:
        p_beyond = simes(outside[beyond - 1 :])
    smallest = max(max(abs(low), abs(high)) for low, high in intervals)
    largest = int(np.argmax([abs(d.value) for d in differences]))
    beyond_it = "a difference exceeds" if beyond == 1 else f"at least {beyond} differences exceed"
    verdict: Decision = "inconclusive"
    reason = f"shown to be the same within {amount(smallest)}, but not within {amount(delta)}"
    if p_within <= SIGNIFICANCE:
        verdict, reason = "supported", f"the same within {amount(smallest)}, so within {amount(delta)}"
    elif p_beyond <= SIGNIFICANCE:
        verdict, reason = "refuted", f"{beyond_it} {amount(delta)}"
    elif min(outside) <= SIGNIFICANCE:
        seen = f"a difference of {amount(differences[largest].value)} exceeds {amount(delta)}"
        enough = "" if beyond == 1 else f"at {beyond} batch sizes "
        reason = f"{seen}, but not {enough}after the correction for {len(outside)} comparisons"
    effect, (low, high) = differences[largest].value, intervals[largest]
    return Finding(verdict, reason, effect, low, high, p_within, p_beyond, confidence=1 - 2 * SIGNIFICANCE)
