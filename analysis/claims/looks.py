"""What several looks at a study say together, where seeds are added until claims are decided.

A look at n seeds has a p-value p of its own and a share w of the level; the sequential p-value is the least p / w of
the looks so far. Shares add up to 1, so that P(p_seq <= u) <= sum of P(p <= w u) <= u for every u, whichever curve is
trained next and whenever that stops: it enters Holm's adjustment, and any rule over strata, as any p-value does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np

from analysis.claims.curves import Evidence
from analysis.claims.stratum import Stratum
from analysis.statistics.estimates import Decision, Floats
from analysis.statistics.thresholds import SIGNIFICANCE

DECIDED: tuple[Decision, Decision] = ("supported", "refuted")


def over_looks(evidence: Evidence, walk: Callable[[Evidence], Iterable[Stratum]]) -> list[Stratum]:
    """The strata that `walk` finds, each as all looks at it say together; without a plan for looks as they are."""
    if not evidence.looks:
        return list(walk(evidence))
    found: dict[tuple[object, ...], list[tuple[int, float, Stratum]]] = {}
    for look, seen in evidence.looks:
        first = not found or look is evidence.looks[0][0]
        times: dict[tuple[object, ...], int] = {}
        for one in walk(seen):
            place = (one.dataset, one.model, one.study, *one.keys.values(), one.measure, *one.details.values())
            place = (*place, one.part, one.closeness, one.counted)
            times[place] = times.get(place, 0) + 1
            if first or (place, times[place]) in found:
                found.setdefault((place, times[place]), []).append((look.seeds, look.share, one))
    return [together(of) for of in found.values()]


def together(looks: Sequence[tuple[int, float, Stratum]]) -> Stratum:
    """One stratum at several looks: the first that decides it, or the last, with the sequential p-values.

    Args:
        looks: the seeds of each look, its share of the level, and what it found.
    """
    taken = [look for look in looks if look[2].verdict != "not run"]
    if not taken:
        return looks[0][2]
    allowed = [one for *_, one in taken if one.looks_allowed]
    if allowed:  # it reads the whole study, whichever look asks
        return allowed[-1]
    supports = np.array([one.p_supported / share for _, share, one in taken])
    refutes = np.array([one.p_refuted / share for _, share, one in taken])
    ps = {"supported": supports, "refuted": refutes}
    sure = [k for k, (*_, one) in enumerate(taken) if one.verdict in DECIDED and ps[one.verdict][k] <= SIGNIFICANCE]
    place = sure[0] if sure else len(taken) - 1
    seeds, _, shown = taken[place]
    if shown.verdict in DECIDED and not sure:
        uncorrected = f"{shown.verdict} by this test alone, but not after the correction for repeated testing"
        shown = replace(shown, verdict="inconclusive", reason=f"{shown.reason}; {uncorrected}")
    told = f"tested with {seeds if sure else ', '.join(str(n) for n, *_ in taken)} seeds"
    return replace(shown.remarked(told), p_supported=_least(supports), p_refuted=_least(refutes))


def _least(ps: Floats) -> float:
    known = ps[np.isfinite(ps)]
    return min(1.0, float(known.min())) if len(known) else float("nan")


def with_awaited(strata: Sequence[Stratum]) -> tuple[Stratum, ...]:
    """The strata, those whose curves are planned and not trained yet as undecided ones.

    The order of training depends on the results so far. If curves without a look were left out of Holm's adjustment,
    its error rate would exceed 5 %; so they count as undecided, with p = 1.
    """
    if all(one.verdict == "not run" for one in strata):
        return tuple(strata)
    return tuple(
        replace(one, verdict="inconclusive", p_supported=1.0, p_refuted=1.0) if one.awaited else one for one in strata
    )
