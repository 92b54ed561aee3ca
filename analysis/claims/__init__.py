"""The papers' claims: a ledger of tests over a results folder.

A claim is data (`claim.Claim`): what a paper says, the curves it is about, its tests (`tests`, `reported`, `printed`,
`networks`) and the rule that makes one verdict of their strata. docs/your_own_claim.md adds one.
"""

from __future__ import annotations

from analysis.claims import large_batch, natural_training, sgd_variants
from analysis.claims.claim import Claim, Verdict, mark_differing
from analysis.claims.curves import Evidence
from analysis.tables.table import StudyTable

PAPERS = (natural_training, sgd_variants, large_batch)
"""A file a paper, in the order of the ledger."""

CLAIMS: dict[str, Claim] = {claim.name: claim for paper in PAPERS for claim in paper.CLAIMS}
"""Claim id -> claim."""


def evaluate(table: StudyTable) -> list[Verdict]:
    """The verdict of every claim, once per attack loss where it speaks of attacks, in the order of the ledger."""
    evidence = Evidence(table)
    return mark_differing(_judge(claim, evidence, loss) for claim in CLAIMS.values() for loss in claim.losses)


def _judge(claim: Claim, evidence: Evidence, loss: str | None) -> Verdict:
    try:
        return claim.judge(evidence, loss)
    except Exception as error:  # one broken test must not cost the reader the other claims; it is shown as broken
        reason = f"The test itself failed, which is a bug: {type(error).__name__}: {error}."
        return Verdict(claim.name, claim.statement, claim.source, "not run", reason, loss)
