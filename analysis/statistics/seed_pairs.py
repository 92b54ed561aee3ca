"""DF by seed at one batch size: a network against the one it began as."""

from __future__ import annotations

import numpy as np

from analysis.statistics.estimates import LEAST_FINITE, LEAST_SEEDS, Floats, LinearContrast, directional
from analysis.statistics.finding import Finding


def difference_by_seed(value: Floats, linear: Floats, *, claimed: int, delta: float) -> Finding:
    """Decide whether differences by seed are positive (`claimed` +1) or negative (-1), at least `delta` on average.

    `value`, `linear`: shape (seeds,), in the unit of the effect and on the linear scale (logit of an accuracy); NaN
    where a network of the pair diverged.
    """
    if len(value) < LEAST_SEEDS:
        seeds = "seed" if len(value) == 1 else "seeds"
        return Finding("not run", f"{len(value)} {seeds} of both networks; needs {LEAST_SEEDS}")
    finite = np.isfinite(value) & np.isfinite(linear)
    if finite.mean() < LEAST_FINITE - 1e-12 or finite.sum() < 2:
        return Finding("inconclusive", f"too many seeds diverged: {int(finite.sum())} of {len(value)} left")
    return directional(
        _mean(value[finite]), _mean(linear[finite]), claimed=claimed, delta=delta, what="the mean difference"
    )


def _mean(values: Floats) -> LinearContrast:
    n = len(values)
    return LinearContrast(float(values.mean()), float(values.std(ddof=1) / np.sqrt(n)), n - 1)
