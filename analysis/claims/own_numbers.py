"""What a paper's own printed numbers say of its claims."""

from __future__ import annotations

from functools import cache

from analysis.claims.claim import Claim, prefer_papers_protocol
from analysis.claims.curves import Evidence
from analysis.published.replay import printed_study

NOT_PRINTED = "no printed numbers"


@cache  # it depends on no results
def by_its_own_numbers(claim: Claim) -> str:
    """The verdict of the claim's own tests and rule on the strata that its paper prints numbers for.

    The noise of seeds is our assumption (`analysis.published.replay`). Attacks are those on the published loss.
    """
    evidence = _printed()
    strata = (s for test in claim.tests for s in test.strata(evidence, claim.scope, claim.losses[0]))
    printed = [s for s in prefer_papers_protocol(strata) if s.counted and s.verdict != "not run"]
    return claim.rule(printed).verdict if printed else NOT_PRINTED


@cache
def _printed() -> Evidence:
    return Evidence(printed_study())
