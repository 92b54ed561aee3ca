"""What the next look at a curve may decide: which curve of a study to give more seeds (`study.until_decided`).

A forecast steers and decides nothing: whatever it says, verdicts keep their error rates (`analysis.claims.looks`).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from analysis.claims import claims_of
from analysis.claims.claim import Claim
from analysis.claims.claim_tests import AGREEMENT, ClaimTest, OverNetworks, ReportTest, SameVerdicts
from analysis.claims.curves import Curve, Evidence, Key
from analysis.claims.looks import DECIDED, over_looks
from analysis.claims.pairings import Arms
from analysis.claims.rules import Levels
from analysis.claims.stratum import Stratum
from analysis.statistics.estimates import Floats, Sample
from analysis.statistics.intervals import logit_accuracy
from analysis.statistics.thresholds import LOOK_SHARES, LOOKS
from analysis.tables.table import StudyTable

DRAWS = 24
"""Simulated continuations behind each chance."""

UNKNOWN_CHANCE = 0.2
"""Of a stratum that was not looked at yet, or whose test reads a report of the whole study. Our choice."""

Place = tuple[object, ...]

Planned = tuple[ClaimTest | OverNetworks, tuple[Key, ...], Arms | None]
"""A test and the curves that it reads; None: it walks networks, not arms."""


@dataclass(frozen=True)
class Prospect:
    """An undecided stratum of an undecided claim, and the chance that more seeds decide it.

    Attributes:
        claim: The claim.
        curves: The curves that it reads.
        seeds: Of each cell at its next look.
        any: Whether it reads whatever curves there are, rather than needs each.
        share: What it counts of its claim: one over the number of undecided strata of all its verdicts.
        soon: The chance that the next look decides.
        ever: The chance that one of the looks up to the last does.
    """

    claim: str
    curves: tuple[Key, ...]
    seeds: int
    share: float
    soon: float = UNKNOWN_CHANCE
    ever: float = UNKNOWN_CHANCE
    any: bool = False


Memory = dict[tuple[object, ...], tuple[float, float]]
"""Chances that were computed before, by all that they depend on."""


def claims_about(table: StudyTable) -> list[str]:
    """The claims of which some stratum is planned in full, at batch sizes at which it can be tested."""
    evidence = Evidence(table)
    known = claims_of(table.requests)
    return [name for name, claim in known.items() if any(True for _ in _planned(claim, evidence, claim.losses[0]))]


def prospects(table: StudyTable, names: Iterable[str], *, most: int, memory: Memory) -> Iterator[Prospect]:
    """The strata that are still to be decided of these claims, by looks of up to `most` seeds.

    A claim that is decided on each of its losses has none, nor has a stratum that some curve outside the plan is
    needed for.
    """
    evidence = Evidence(table)
    known = claims_of(table.requests)
    for name in names:
        claim = known[name]
        found = [
            one
            for verdict in (claim.judge(evidence, loss) for loss in claim.losses)
            if verdict.verdict not in DECIDED
            for one in of_verdict(claim, evidence, verdict.loss, verdict.strata, most, memory)
        ]
        yield from (replace(one, share=1 / len(found)) for one in found)


def of_verdict(
    claim: Claim, evidence: Evidence, loss: str | None, strata: Sequence[Stratum], most: int, memory: Memory
) -> Iterator[Prospect]:
    """As `prospects`, of one verdict, whose `strata` are known.

    Strata that no request asks for are left out: nothing can decide them here. What a plan can decide is whether the
    claim holds where it is run.
    """
    planned = list(_planned(claim, evidence, loss))
    reachable = [s for s in strata if s.counted and (s.verdict != "not run" or _can_be_run(s, planned))]
    for test, curves, arms in planned:
        taken = [seen for _, seen in evidence.looks if not seen.awaited(curves)]
        left = [(n, share) for n, share in zip(LOOKS, LOOK_SHARES, strict=True) if n <= most][len(taken) :]
        if not left:
            continue
        if isinstance(test, OverNetworks) or arms is None:  # open as long as its claim is
            yield Prospect(claim.name, curves, left[0][0], 1.0, any=True)
            continue
        levels = _levels_if_open(claim, evidence, loss, reachable, test, arms)
        if not levels:
            continue
        soon = ever = UNKNOWN_CHANCE
        if taken and not isinstance(test, ReportTest):
            place = _place_of(test, arms)
            key = (claim.name, loss, place, tuple(n for n, _ in left), *levels.values())
            if key not in memory:
                memory[key] = _chances(test, taken[-1], claim, loss, place, left, levels)
            soon, ever = memory[key]
        yield Prospect(claim.name, curves, left[0][0], 1.0, soon, ever, any=test.whole)


def _can_be_run(stratum: Stratum, planned: Iterable[Planned]) -> bool:
    """Whether some planned curves decide this stratum, or one of those that are to agree in it."""
    return any(
        _is_of(stratum, arms) if stratum.unit == AGREEMENT else _place_of(test, arms) == _place(stratum)
        for test, _, arms in planned
        if isinstance(test, ClaimTest) and arms is not None
    )


def _levels_if_open(
    claim: Claim, evidence: Evidence, loss: str | None, reachable: Sequence[Stratum], test: ClaimTest, arms: Arms
) -> Levels:
    """What the test on these arms still has to reach; empty where it is sure, changes nothing or does not count.

    A test that is to agree with others counts through their agreement, and is open until it or that is sure.
    """
    place = _place_of(test, arms)
    own = [s for s in reachable if _place(s) == place]
    counts = next(iter(own), None)
    if test not in claim.tests:
        counts = next((s for s in reachable if s.unit == AGREEMENT and _is_of(s, arms)), None)
        walked = over_looks(evidence, partial(test.strata, scope=claim.scope, loss=loss)) if counts else ()
        own = [s for s in walked if _place(s) == place]
    if counts is None:  # one closer to the paper was run
        return {}
    levels = claim.rule.levels(reachable, counts)
    return {} if levels and any(_sure(one, levels) for one in (counts, *own)) else levels


def _planned(claim: Claim, evidence: Evidence, loss: str | None) -> Iterator[Planned]:
    """The tests of a claim with the curves of each stratum, where all of them are planned, at enough batch sizes.

    A test that walks networks is one stratum of all the curves of the claim.
    """
    first = evidence.looks[0][1] if evidence.looks else evidence
    single = [one for test in claim.tests for one in (test.tests if isinstance(test, SameVerdicts) else (test,))]
    for test in single:
        if isinstance(test, ClaimTest):
            for arms in test.arms(first.as_planned, claim.scope, loss):
                keys = tuple(dict.fromkeys(curve.key for curve in arms.curves))
                if keys and all(map(evidence.plans, keys)) and _testable(test, arms, claim, loss, first):
                    yield test, keys, arms
        elif curves := evidence.planned(claim.scope):
            yield test, curves, None


def _testable(test: ClaimTest, arms: Arms, claim: Claim, loss: str | None, evidence: Evidence) -> bool:
    """Whether the test can be made at these batch sizes; a `ReportTest` finds that out only when it is made."""
    return isinstance(test, ReportTest) or test.judge(evidence, claim.scope, loss, arms.curves).verdict != "not run"


def _sure(stratum: Stratum, levels: Levels) -> bool:
    return stratum.verdict in DECIDED and stratum.p <= levels[stratum.verdict]


def _place(stratum: Stratum) -> Place:
    return (stratum.study, *stratum.keys.values(), stratum.measure, *stratum.details.values(), stratum.part)


def _place_of(test: ClaimTest, arms: Arms) -> Place:
    return (arms.curves[0].study, *arms.keys.values(), arms.tested, *arms.details.values(), test.part)


def _is_of(agreement: Stratum, arms: Arms) -> bool:
    """Whether the verdict on these arms is one of those that are to agree."""
    return (agreement.study, agreement.keys, agreement.details) == (arms.curves[0].study, arms.keys, arms.details)


# Chances


def _chances(
    test: ClaimTest,
    evidence: Evidence,
    claim: Claim,
    loss: str | None,
    place: Place,
    left: Sequence[tuple[int, float]],
    levels: Levels,
) -> tuple[float, float]:
    """The shares of simulated continuations that the next look decides, and that any of those left does.

    Cell means are drawn around the measured ones with the error that they have, and new seeds around these.
    """
    curves = next(
        (arms.curves for arms in test.arms(evidence, claim.scope, loss) if _place_of(test, arms) == place), ()
    )
    if not curves:
        return UNKNOWN_CHANCE, UNKNOWN_CHANCE
    rng = np.random.default_rng(zlib.crc32(repr((claim.name, loss, place, left)).encode()))
    decide = partial(test.judge, evidence, claim.scope, loss)
    first = [
        _first_decided(decide, [continued(curve, left[-1][0], rng) for curve in curves], left, levels)
        for _ in range(DRAWS)
    ]
    return first.count(0) / DRAWS, sum(one is not None for one in first) / DRAWS


def _first_decided(
    decide: Callable[[Sequence[Curve]], Stratum],
    curves: Sequence[Curve],
    left: Sequence[tuple[int, float]],
    levels: Levels,
) -> int | None:
    """The place of the first look that decides; None where none does."""
    for place, (seeds, share) in enumerate(left):
        found = decide([c.where(c.sample.seed < seeds) for c in curves])
        if found.verdict in DECIDED and found.p / share <= levels[found.verdict]:
            return place
    return None


def continued(curve: Curve, seeds: int, rng: np.random.Generator) -> Curve:
    """The curve with simulated seeds up to so many in each cell.

    The variance of a new seed is half the cell's own and half the mean of the curve's: that of three seeds alone is
    too uncertain. A new seed diverges as often as the cell's did.
    """
    sample = curve.sample
    sizes, cell, count = np.unique(sample.batch_size, return_inverse=True, return_counts=True)
    finite = np.isfinite(sample.value)
    left = np.bincount(cell, weights=finite)
    mean, own = _spread(cell[finite], sample.value[finite], len(sizes))
    variance = (own + own.mean()) / 2
    truth = rng.normal(mean, np.sqrt(variance / np.maximum(left, 1)))
    more = np.maximum(seeds - count, 0)
    at = np.repeat(np.arange(len(sizes)), more)
    drawn = rng.normal(truth[at], np.sqrt(variance[at]))
    percent = bool(np.isfinite(sample.room[finite]).any())
    if percent:
        drawn = np.clip(drawn, 0.0, 100.0)
    drawn[rng.random(len(at)) < 1 - (left / np.maximum(count, 1))[at]] = np.nan
    linear = drawn
    if percent and sample.rounding:
        images = round(100 / sample.rounding)
        linear = logit_accuracy(np.round(drawn / 100 * images), images)
    start = np.repeat(np.cumsum(more) - more, more)
    seed = count[at] + np.arange(len(at)) - start
    flags = np.array([curve.flag[cell == k][0] for k in range(len(sizes))], dtype=object)
    return replace(
        curve,
        sample=Sample.of(
            np.concatenate([sample.batch_size, sizes[at]]),
            np.concatenate([sample.seed.astype(int), seed]),
            np.concatenate([sample.value, drawn]),
            np.concatenate([sample.linear, linear]),
            percent=percent,
            rounding=sample.rounding,
            chance=sample.chance,
        ),
        flag=np.concatenate([curve.flag, flags[at]]),
        trial_id=np.concatenate([curve.trial_id, np.full(len(at), "", dtype=object)]),
    )


def _spread(cell: NDArray[np.intp], value: Floats, cells: int) -> tuple[Floats, Floats]:
    """Mean and variance over the seeds of each cell, shape (cells,); 0 where there are too few."""
    count = np.bincount(cell, minlength=cells)
    mean = np.bincount(cell, weights=value, minlength=cells) / np.maximum(count, 1)
    squares = np.bincount(cell, weights=(value - mean[cell]) ** 2, minlength=cells)
    return mean, squares / np.maximum(count - 1, 1)
