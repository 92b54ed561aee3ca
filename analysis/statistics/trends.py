"""TR: does a measure rise or fall with the batch size?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.statistics.estimates import Floats, LinearContrast, Sample, cell_means, directional
from analysis.statistics.finding import SIGNIFICANCE, Finding
from analysis.statistics.inference import kendall_tau_b


@dataclass(frozen=True)
class Trend(Finding):
    """A trend along the batch size; effect and interval are the end-to-end change.

    `slope` per doubling with its 95 % interval, on the linear scale of the sample; exact Kendall `tau` of the
    cell means against batch size with its two-sided p. tau is shown beside the verdict, it does not enter it.
    """

    slope: float = float("nan")
    slope_low: float = float("nan")
    slope_high: float = float("nan")
    tau: float = float("nan")
    tau_p: float = float("nan")


def trend(sample: Sample, *, claimed: int, delta: float) -> Trend:
    """Decide whether `sample` rises (`claimed` +1) or falls (-1) with batch size by at least `delta` end to
    end.

    The change from the smallest to the largest batch is that of the least-squares line in log2(batch size),
    in the unit of `sample.value`; the noise is that of seeds within their cells, so that a bend in the curve is not
    mistaken for noise, and cell by cell, so that the cells need not be equally noisy.
    """
    short = sample.shortfall()
    if short:
        return Trend(short.verdict, short.reason)
    kept = sample.decidable()
    linear = slope_per_doubling(kept.batch_size, kept.linear)
    change = end_to_end(kept.batch_size, kept.value)
    found = directional(change, linear, claimed=claimed, delta=delta, what="the end-to-end change")
    means = cell_means(kept.batch_size, kept.value)
    rank = kendall_tau_b(means.size, means.mean)
    low, high = linear.interval(1 - SIGNIFICANCE)
    return Trend(**vars(found), slope=linear.value, slope_low=low, slope_high=high, tau=rank.estimate, tau_p=rank.p)


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
