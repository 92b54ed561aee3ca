"""The papers' claims: a ledger of tests over a results folder.

A claim is data (`claim.Claim`): what a paper says, the curves it is about, its tests (`tests`, `reported`, `printed`,
`networks`) and the rule that makes one verdict of their strata. docs/your_own_claim.md adds one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from analysis.claims import large_batch, natural_training, sgd_variants
from analysis.claims.claim import Claim, Verdict, mark_differing
from analysis.claims.curves import Evidence
from analysis.claims.own_numbers import by_its_own_numbers
from analysis.tables.table import StudyTable

PAPERS = (natural_training, sgd_variants, large_batch)
"""A file a paper, in the order of the ledger."""

CLAIMS: dict[str, Claim] = {claim.name: claim for paper in PAPERS for claim in paper.CLAIMS}
"""Claim id -> claim."""


def evaluate(table: StudyTable) -> list[Verdict]:
    """The verdict of every claim, once per attack loss where it speaks of attacks, in the order of the ledger."""
    evidence = Evidence(table)
    return mark_differing(verdict for claim in CLAIMS.values() for verdict in _judge(claim, evidence))


def _judge(claim: Claim, evidence: Evidence) -> Iterator[Verdict]:
    """Its verdict on each loss, with what its paper's own numbers say."""
    own = ""
    for loss in claim.losses:
        try:
            own = own or by_its_own_numbers(claim)
            yield replace(claim.judge(evidence, loss), by_its_own_numbers=own)
        except Exception as error:  # one broken test must not cost the reader the other claims; it is shown as broken
            reason = f"The test itself failed, which is a bug: {type(error).__name__}: {error}."
            yield Verdict(claim.name, claim.statement, claim.source, "not run", reason, loss)
