"""DF: a paired contrast at equal batch size. IN: a difference of two such contrasts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from analysis.statistics.estimates import (
    ALONG_BATCH_SIZES,
    Floats,
    LinearContrast,
    Reach,
    Sample,
    cell_means,
    directional,
)
from analysis.statistics.finding import Finding

Summary = Callable[[Floats, Floats], LinearContrast]
"""(batch sizes, values) -> one effect with its standard error."""


def paired_difference(first: Sample, second: Sample) -> Sample:
    """`second` minus `first` wherever both have the same batch size and seed; NaN where either diverged."""
    places = {pair: k for k, pair in enumerate(_pairs(first))}
    common = [(places[pair], k) for k, pair in enumerate(_pairs(second)) if pair in places]
    i, j = np.array(common, dtype=int).reshape(-1, 2).T
    return Sample(
        first.batch_size[i],
        first.seed[i],
        second.value[j] - first.value[i],
        second.linear[j] - first.linear[i],
    )


def _pairs(sample: Sample) -> list[tuple[float, object]]:
    return list(zip(sample.batch_size.tolist(), sample.seed.tolist(), strict=True))


def mean_over_sizes(batch_size: Floats, value: Floats) -> LinearContrast:
    """The unweighted mean over batch sizes of cell means."""
    cells = cell_means(batch_size, value)
    return cells.contrast(np.full(len(cells.size), 1 / len(cells.size)))


def contrast(difference: Sample, *, claimed: int, delta: float, reach: Reach = ALONG_BATCH_SIZES) -> Finding:
    """DF: decide whether a paired difference is positive (`claimed` +1) or negative (-1), averaged over batch
    sizes, of which there must be as many as `reach` says.
    """
    short = difference.shortfall(reach)
    if short:
        return short
    kept = difference.decidable()
    return directional(
        mean_over_sizes(kept.batch_size, kept.value),
        mean_over_sizes(kept.batch_size, kept.linear),
        claimed=claimed,
        delta=delta,
        what="the mean difference",
    )


def larger_in_size(first: Sample, second: Sample, *, delta: float, summary: Summary = mean_over_sizes) -> Finding:
    """IN on absolute effects: decide whether |effect of `first`| exceeds |effect of `second`|.

    `summary` takes the effect from a sample: the mean of a paired difference, or a trend's end-to-end change.
    The samples count as independent. Where `second` is near 0 its absolute value is biased upwards, which
    works against the claim.
    """
    short = first.shortfall() or second.shortfall()
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
