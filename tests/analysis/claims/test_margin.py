"""The margin of a stratum: its effect over delta, on the side for which it speaks."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from analysis.claims.claim_tests import as_claimed, below, trends, within
from analysis.claims.curves import Curve
from analysis.claims.measures import CLEAN
from analysis.claims.stratum import Margin
from analysis.statistics.estimates import Finding


def found(effect: float, low: float, high: float) -> Finding:
    return Finding("inconclusive", "", effect, low, high)


@pytest.mark.parametrize(
    ("margin", "expected"),
    [
        (as_claimed(+1)(found(6.0, 3.0, 9.0), 3.0), (2.0, 1.0, 3.0)),
        (as_claimed(-1)(found(6.0, 3.0, 9.0), 3.0), (-2.0, -3.0, -1.0)),
        (below(+1)(found(1.0, -2.0, 4.0), 2.0), (0.5, -1.0, 2.0)),
        (below(-1)(found(1.0, -2.0, 4.0), 2.0), (1.5, 0.0, 3.0)),
        (within(found(1.0, -2.0, 4.0), 2.0), (0.5, -1.0, 1.0)),
        (within(found(-3.0, -4.0, -2.0), 2.0), (-0.5, -1.0, 0.0)),
    ],
)
def test_right_of_zero_speaks_for_the_claim(margin: Margin, expected: Margin) -> None:
    assert margin == pytest.approx(expected)


def test_an_effect_without_an_interval_keeps_its_place() -> None:
    value, low, high = as_claimed(+1)(found(3.0, math.nan, math.nan), 3.0)
    assert value == 1.0
    assert math.isnan(low)
    assert math.isnan(high)


@pytest.mark.parametrize(("delta", "least"), [(0, 0.0), ({"m1": 0}, 0.0), ({"c1": 0}, 0.5), (None, 0.5)])
def test_the_least_effect_is_a_number_or_one_of_each_model(
    delta: float | dict[str, float] | None, least: float
) -> None:
    curve = Curve({"dataset": "mnist", "model": "m1"}, CLEAN)
    assert replace(trends(-1, CLEAN), delta=delta).least_effect(curve) == least
