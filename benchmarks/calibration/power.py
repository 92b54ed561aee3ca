"""How often planted effects are found: the tests of claims and confirmed counterexamples."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import product

import pandas as pd

from analysis.claims.claim_tests import paired
from analysis.statistics.association_tests import unrelated
from analysis.statistics.sample_tests import contrast, falls_from_peak, flat, larger_in_size, no_difference, trend
from analysis.statistics.thresholds import UNRELATED_TAU
from benchmarks.calibration.verdicts import ALONG, DELTA, LEVEL, PEAK, SHARPER, UNORDERED, Case
from benchmarks.calibration.worlds import SIZES, confirmed

HALF, ONE, USUAL, LARGE = 0.5, 1.0, 1.5, 3.0
"""Noise over seeds, in points."""


def _falls(points: float) -> Case:
    decide = partial(trend, claimed=-1, delta=DELTA)
    return Case("falls", f"falls by {points:g}", "supported", decide, (LEVEL - points * ALONG,), falls=True)


def _falls_from_peak(points: float) -> Case:
    decide = partial(falls_from_peak, delta=DELTA)
    curve = LEVEL + points / DELTA * PEAK
    return Case("falls from its best", f"by {points:g} from batch 64 on", "supported", decide, (curve,), falls=True)


def _flat(points: float) -> Case:
    decide = partial(flat, delta=DELTA)
    return Case("flat", f"changes by {points:g}", "supported", decide, (LEVEL + points * ALONG,))


def _higher(points: float) -> Case:
    decide = paired(partial(contrast, claimed=1, delta=DELTA))
    return Case("higher at equal batch", f"higher by {points:g}", "supported", decide, (LEVEL, LEVEL + points))


def _larger(points: float) -> Case:
    decide = paired(partial(larger_in_size, delta=DELTA))
    arms = (LEVEL, LEVEL + points, LEVEL, LEVEL)
    return Case("effect is larger", f"{points:g} and 0", "supported", decide, arms)


_SAME = Case(
    "the same at every batch", "no difference", "supported", paired(partial(no_difference, delta=DELTA)), (LEVEL, LEVEL)
)

_UNRELATED = Case(
    "does not follow lambda1", "tau +.05", "supported", partial(unrelated, delta=UNRELATED_TAU),
    (SHARPER, LEVEL + UNORDERED), curvature=True,
)  # fmt: skip
_RELATED = replace(_UNRELATED, planted="tau -1", verdict="refuted", arms=(SHARPER, LEVEL - 18 * ALONG))
_EQUAL = replace(_larger(5), planted="5 and 5", verdict="refuted", arms=(LEVEL, LEVEL + 5, LEVEL, LEVEL + 5))
_ELSEWHERE = Case(
    "equals a printed number", "8 off everywhere", "refuted", partial(no_difference, delta=DELTA, new=True),
    (LEVEL + 8,), printed=True,
)  # fmt: skip

PLANTED: tuple[tuple[Case, float], ...] = (
    *product(map(_falls, (3, 5, 10)), (HALF, USUAL, LARGE)),
    *product(map(_falls_from_peak, (5, 10)), (USUAL,)),
    *product(map(_flat, (0, 1.5)), (HALF, ONE, USUAL, LARGE)),
    *product(map(_higher, (3, 5)), (USUAL, LARGE)),
    *product([_SAME], (HALF, ONE, USUAL)),
    *product([_larger(8), _EQUAL], (USUAL,)),
    *product([_ELSEWHERE], (HALF, USUAL)),
    *product([_UNRELATED, _RELATED], (HALF, USUAL)),
)
"""What is planted, and the noise over seeds in points."""


def true_find(pairs: pd.DataFrame) -> pd.Series:
    """Confirmed pairs with the planted cell in them (`worlds.exception_world`)."""
    planted: pd.Series = confirmed(pairs) & (pairs["curve"] == 0) & (pairs["batch_j"] == SIZES[-1])
    return planted
