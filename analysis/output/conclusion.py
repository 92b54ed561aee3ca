"""What a run says at its end: which claims its results decide, and which are inconclusive."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from analysis.claims.claim import Verdict, outcome
from analysis.tables.words import listed

NAMED = 8
"""Claims that a line names; more are counted."""


class Conclusion(NamedTuple):
    """Names of claims: those that are supported, refuted, that depend on the attack's loss, and that are inconclusive.

    Between them those that are decided where they were run, while other networks of the paper were not.
    """

    supported: list[str]
    refuted: list[str]
    differ: list[str]
    supported_where_run: list[str]
    refuted_where_run: list[str]
    open: list[str]

    @property
    def decided(self) -> bool:
        """Whether a claim holds or does not, be it only where it was run."""
        return bool(self.supported or self.refuted or self.supported_where_run or self.refuted_where_run)

    @property
    def found(self) -> str:
        """What is decided: `supported: A8; supported where run: A1 and A2`."""
        named = {
            "supported": self.supported,
            "refuted": self.refuted,
            "depending on the attack's loss": self.differ,
            "supported where run": self.supported_where_run,
            "refuted where run": self.refuted_where_run,
        }
        return "; ".join(f"{word}: {_listed(one)}" for word, one in named.items() if one) or "no claim is decided"

    @property
    def undecided(self) -> str:
        """What is not: `2 of 5 testable claims (A1 and A4)`."""
        judged = sum(map(len, self))
        if not judged:
            return "no claim could be judged: each needs several batch sizes, seeds or settings"
        claims = f"{len(self.open)} of {judged} testable claim{'s' if judged > 1 else ''}"
        return f"{claims} ({_listed(self.open)})" if self.open else claims


def conclude(verdicts: Iterable[Verdict]) -> Conclusion:
    """Sort the claims that were judged by what became of them."""
    reached = {claim: outcome(both) for claim, both in by_claim(verdicts).items()}
    wanted = ("supported", "refuted", "differs", "supported where run", "refuted where run", "inconclusive")
    return Conclusion(*([claim for claim, one in reached.items() if one == word] for word in wanted))


def by_claim(verdicts: Iterable[Verdict]) -> dict[str, list[Verdict]]:
    """Claim -> its verdicts, one a loss."""
    found: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        found.setdefault(verdict.claim, []).append(verdict)
    return found


def _listed(claims: Sequence[str]) -> str:
    names = list(claims)
    if len(names) > NAMED + 1:  # one more is shorter by its name
        names[NAMED:] = [f"{len(claims) - NAMED} more"]
    return listed(names)
