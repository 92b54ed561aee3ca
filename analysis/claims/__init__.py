"""The papers' claims: a ledger of tests over a results folder."""

from __future__ import annotations

from analysis.claims import large_batch as c
from analysis.claims import natural_training as a
from analysis.claims import sgd_variants as b
from analysis.claims.claim import Claim
from analysis.claims.evidence import Evidence
from analysis.claims.verdict import Verdict, mark_differing
from analysis.tables.table import StudyTable

CLAIMS: dict[str, Claim] = {
    "A1": a.A1,
    "A2": a.A2,
    "A3": a.A3,
    "A4": a.A4,
    "A5": a.A5,
    "A6": a.A6,
    "A7": a.A7,
    "A8": a.A8,
    "A9": a.A9,
    "A10": a.A10,
    "A11": a.A11,
    "A12": a.A12,
    "A13": a.A13,
    "A14": a.A14,
    "A15": a.A15,
    "A16": a.A16,
    "A17": a.A17,
    "B1": b.B1,
    "B2": b.B2,
    "B3": b.B3,
    "B4": b.B4,
    "B5": b.B5,
    "B6": b.B6,
    "B7": b.B7,
    "B8": b.B8,
    "B9": b.B9,
    "B10": b.B10,
    "B11": b.B11,
    "C1": c.C1,
    "C2": c.C2,
    "C3": c.C3,
    "C4": c.C4,
    "C5": c.C5,
    "C6": c.C6,
    "C7": c.C7,
    "C8": c.C8,
    "C9": c.C9,
    "C10": c.C10,
    "C11": c.C11,
    "C12": c.C12,
    "C13": c.C13,
}
"""Claim id -> claim, in the order of the ledger. A new claim is one entry in a paper's file and one line
here.
"""


def evaluate(table: StudyTable) -> list[Verdict]:
    """The verdict of every claim, once per attack loss where it speaks of attacks, in the order of the
    ledger.
    """
    evidence = Evidence(table)
    return mark_differing(_judge(claim, evidence, loss) for claim in CLAIMS.values() for loss in claim.losses)


def _judge(claim: Claim, evidence: Evidence, loss: str | None) -> Verdict:
    try:
        return claim(evidence, loss)
    except Exception as error:  # one broken test must not cost the reader the other claims; it is shown as broken
        reason = f"The test itself failed, which is a bug: {type(error).__name__}: {error}."
        return Verdict(claim.name, claim.statement, claim.source, "not run", reason, loss)
