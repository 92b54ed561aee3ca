"""What one noisy cell among quiet ones could feign: p-values of a cell by itself, adjusted over curves."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from analysis.statistics.groups import Codes
from analysis.statistics.intervals import Array

DIRECTIONS = 2
"""A noisy cell errs above a smaller batch size or below a larger one."""

SHARE = 0.8
"""... and so much of the false discovery rate is its. The rest is left to seeds that are all equally noisy and to the
means that the noisy cell is held against, which are not exactly known.
"""


def over_curves(p: Array, found: NDArray[np.bool_], curve: Codes, rate: float) -> Array:
    """Adjusted p-values (shape (pairs,)), at most `rate` where the noise of one cell does not explain the pair.

    Three seeds of a noisy cell agree by chance often enough that no variance shared with other cells can tell, and
    six pairs that share the cell err together. So what is adjusted for is the number of curves, not that of pairs:
    Benjamini & Hochberg (1995, JRSS B 57) on each curve's least `p` among its pairs that are `found` without regard to
    this; a pair then counts at the level of its curve (as Benjamini & Bogomolov 2014, JRSS B 76, do for families).
    """
    if not p.size:
        return p
    codes = np.unique(curve, return_inverse=True)[1]
    least = np.ones(int(codes.max()) + 1)
    np.minimum.at(least, codes[found], p[found])
    weight = DIRECTIONS / SHARE
    passed = int((stats.false_discovery_control(np.minimum(weight * least, 1.0)) <= rate).sum())
    return np.asarray(np.minimum(weight * p * least.size / max(passed, 1), 1.0))
