"""What a test says of one stratum: its decision, effect, interval and p-values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Decision = Literal["supported", "refuted", "inconclusive", "not run"]
DECISIONS: tuple[Decision, ...] = ("supported", "refuted", "inconclusive", "not run")

SIGNIFICANCE = 0.05
"""Level of every decision. Two-sided 95 % for directions, 90 % intervals (two one-sided tests) for
equivalence.
"""


@dataclass(frozen=True)
class Finding:
    """What one test says of one stratum.

    `effect` and its interval (`low`, `high`) are in the unit of the measure: points of accuracy, or doublings
    of lambda1; `confidence` is that of the interval. `p_supported` and `p_refuted` are at most .05 where the
    test alone would support or refute the claim (an effect below delta still keeps it from being supported).
    NaN: not computed.
    """

    verdict: Decision
    reason: str
    effect: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")
    p_supported: float = float("nan")
    p_refuted: float = float("nan")
    confidence: float = 1 - SIGNIFICANCE

    @property
    def p(self) -> float:
        """The p-value behind the verdict: of the refutation where refuted, else of the support."""
        return self.p_refuted if self.verdict == "refuted" else self.p_supported
