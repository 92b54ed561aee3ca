"""The papers' claims: a ledger of tests over a results folder.

A claim is data (`claim.Claim`): what a paper says, the curves it is about, its tests (`claim_tests`, `reported`,
`printed`, `networks`, `spectra`) and the rule that makes one verdict of their strata. docs/your_own_claim.md adds one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from analysis.claims import large_batch, natural_training, sgd_variants
from analysis.claims.claim import Claim, Verdict
from analysis.claims.curves import Evidence
from analysis.claims.own_numbers import by_its_own_numbers
from analysis.tables.table import StudyTable
from search_spaces import GridError, Request
from search_spaces.outside import STUDY_FILES

PAPERS = (natural_training, sgd_variants, large_batch)
"""A file a paper, in the order of the ledger."""

CLAIMS: dict[str, Claim] = {claim.name: claim for paper in PAPERS for claim in paper.CLAIMS}
"""Claim id -> claim."""


def evaluate(table: StudyTable) -> list[Verdict]:
    """The verdict of every claim, once per attack loss where it speaks of attacks, in the order of the ledger.

    The claims of the study files that made these results come after the papers'.
    """
    return table.once("verdicts", lambda: _evaluate(Evidence(table), claims_of(table.requests).values()))


def _evaluate(evidence: Evidence, claims: Iterable[Claim]) -> list[Verdict]:
    return [verdict for claim in claims for verdict in _judge(claim, evidence)]


def claims_of(requests: Iterable[Request]) -> dict[str, Claim]:
    """Claim id -> claim: the papers', then those of the study files that made these requests.

    Raises:
        GridError: what a study file lists is no claim, or has the name of another.
    """
    found = dict(CLAIMS)
    for file in dict.fromkeys(request.grid for request in requests if request.grid in STUDY_FILES):
        for claim in getattr(STUDY_FILES[file], "CLAIMS", ()):
            if not isinstance(claim, Claim) or claim.name in found:
                raise GridError(f"{file}: {claim!r:.80} in CLAIMS is not a Claim, or its name is already used")
            found[claim.name] = claim
    return found


def _judge(claim: Claim, evidence: Evidence) -> list[Verdict]:
    """Its verdict on each loss, with what its paper's own numbers say."""
    try:
        own = by_its_own_numbers(claim)
        return [replace(verdict, by_its_own_numbers=own) for verdict in claim.verdicts(evidence)]
    except Exception as error:  # one broken test must not cost the reader the other claims; it is shown as broken
        reason = f"The test itself failed, which is a bug: {type(error).__name__}: {error}."
        return [Verdict(claim.name, claim.statement, claim.source, "not run", reason, loss) for loss in claim.losses]
