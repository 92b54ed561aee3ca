"""How often planted effects are found: trends, confirmed counterexamples, flat curves."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.statistics.sample_tests import flat, no_difference, trend
from benchmarks.calibration.coverage import Random, as_sample, curve
from benchmarks.calibration.worlds import ACCURACY, CURVES, NOISE, SIZES, World, confirmed

DELTA = 3.0
"""Points: the smallest change of adversarial accuracy that counts as one."""


def finds_trend(rng: Random, *, effect: float, noise: float, seeds: int) -> bool:
    """Whether a fall of `effect` points from the first to the last batch size is supported as a trend."""
    sample = as_sample(curve(rng, seeds, -effect / (len(SIZES) - 1), noise))
    return trend(sample, claimed=-1, delta=DELTA).verdict == "supported"


def finds_flat(rng: Random, *, effect: float, noise: float, seeds: int) -> bool:
    """Whether a curve that changes by `effect` points from end to end is supported as flat within 3 points."""
    sample = as_sample(curve(rng, seeds, effect / (len(SIZES) - 1), noise))
    return flat(sample, delta=DELTA).verdict == "supported"


def finds_none(rng: Random, *, effect: float, noise: float, seeds: int) -> bool:
    """Whether paired differences of mean `effect` and standard deviation `noise` (points) are supported as none."""
    difference = as_sample(curve(rng, seeds, 0.0, noise, effect))
    return no_difference(difference, delta=DELTA).verdict == "supported"


def exception_world(*, gap: float, ratio: float, noise: float = NOISE) -> World:
    """Four flat curves; on one of them the largest batch is sharper by `ratio` and more robust by `gap` (fraction)."""
    accuracy = np.full((CURVES, len(SIZES)), ACCURACY)
    sharp = np.zeros_like(accuracy)
    accuracy[0, -1] += gap
    sharp[0, -1] = np.log2(ratio)
    return World(accuracy, sharp, np.full_like(accuracy, noise))


def true_find(pairs: pd.DataFrame) -> pd.Series:
    """Confirmed pairs with the planted cell in them."""
    planted: pd.Series = confirmed(pairs) & (pairs["curve"] == 0) & (pairs["batch_j"] == SIZES[-1])
    return planted
