"""TR from the peak: does a measure fall beyond the batch size at which it is best?"""

from __future__ import annotations

import numpy as np

from analysis.statistics.estimates import Sample, cell_means, directional
from analysis.statistics.finding import Finding
from analysis.statistics.trends import end_to_end, slope_per_doubling

LEAST_BEYOND = 3
"""A line from the peak on needs this many batch sizes, the peak's among them."""


def falls_from_peak(sample: Sample, *, delta: float) -> Finding:
    """Decide whether `sample` falls by at least `delta` from its best batch size to the largest.

    The best cell of several is best in part by luck, so the fall from it is overstated, and it is the data that
    chose where the line starts. Every batch size that leaves `LEAST_BEYOND` sizes is a start that could have been
    chosen: p-values are multiplied by their number and the interval holds for all of them at once (Bonferroni),
    so the error stays below 5 % however the start was chosen. A peak among the last two sizes starts the line at
    the last size that can.
    """
    short = sample.shortfall()
    if short:
        return short
    kept = sample.decidable()
    means = cell_means(kept.batch_size, kept.value)
    starts = means.size[: 1 - LEAST_BEYOND]
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
