"""What the next look at a curve may decide: which curve of a study to give more seeds (`study.until_decided`).

A forecast steers and decides nothing: whatever it says, verdicts keep their error rates (`analysis.claims.looks`).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from analysis.claims import claims_of
from analysis.claims.claim import Claim
from analysis.claims.curves import Curve, Evidence, Key
from analysis.claims.looks import DECIDED, over_looks
from analysis.claims.pairings import Arms
from analysis.claims.rules import Levels
from analysis.claims.stratum import Stratum
from analysis.claims.tests import AGREEMENT, OverNetworks, ReportTest, SameVerdicts, Test
from analysis.statistics.estimates import Reach, Sample
from analysis.statistics.intervals import logit_accuracy
from analysis.statistics.thresholds import LOOK_SHARES, LOOKS
from analysis.tables.table import StudyTable

DRAWS = 24
"""Simulated continuations behind each chance."""

UNKNOWN_CHANCE = 0.2
"""Of a stratum that was not looked at yet, or whose test reads a report of the whole study. Our choice."""

Place = tuple[object, ...]


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
    counted = {_place(s): s for s in strata if s.counted}
    tested = [(test, arms) for test, _, arms in planned if isinstance(test, Test) and arms]
    reached = {_place_of(test, arms) for test, arms in tested}
    among = [
        s
        for place, s in counted.items()
        if s.verdict != "not run"
        or place in reached
        or (s.unit == AGREEMENT and any(_is_of(s, arms) for _, arms in tested))
    ]
    agreements = [s for s in among if s.unit == AGREEMENT]
    for test, curves, arms in planned:
        levels: Levels = {}
        place: Place = ()
        if isinstance(test, Test) and arms:
            place = _place_of(test, arms)
            found = counted.get(place)
            if found is None and test not in claim.tests:  # of tests that are to agree: open until both are sure
                found = next((s for s in agreements if _is_of(s, arms)), None)
                own = over_looks(evidence, partial(test.strata, scope=claim.scope, loss=loss)) if found else []
                now = next((s for s in own if _place(s) == place), None)
            else:
                now = found
            if found is None:
                continue  # one closer to the paper was run
            levels = claim.rule.levels(among, found)
            if not levels or any(one and _sure(one, levels) for one in (found, now)):
                continue
        taken = [seen for _, seen in evidence.looks if not seen.awaited(curves)]
        left = [(n, share) for n, share in zip(LOOKS, LOOK_SHARES, strict=True) if n <= most][len(taken) :]
        if not left:
            continue
        one = Prospect(claim.name, curves, left[0][0], 1.0, any=not isinstance(test, Test) or test.whole)
        if taken and isinstance(test, Test) and not isinstance(test, ReportTest) and arms:
            key = (claim.name, loss, place, tuple(n for n, _ in left), *levels.values())
            if key not in memory:
                memory[key] = _chances(test, taken[-1], claim, loss, place, left, levels)
            one = replace(one, soon=memory[key][0], ever=memory[key][1])
        yield one


def _planned(
    claim: Claim, evidence: Evidence, loss: str | None
) -> Iterator[tuple[Test | OverNetworks, tuple[Key, ...], Arms | None]]:
    """The tests of a claim with the curves of each stratum, where all of them are planned, at enough batch sizes.

    A test that walks networks is one stratum of all the curves of the claim.
    """
    first = evidence.looks[0][1] if evidence.looks else evidence
    single = [one for test in claim.tests for one in (test.tests if isinstance(test, SameVerdicts) else (test,))]
    for test in single:
        if isinstance(test, Test):
            for arms in test.arms(first.as_planned, claim.scope, loss):
                keys = tuple(dict.fromkeys(curve.key for curve in arms.curves))
                if keys and all(map(evidence.plans, keys)) and _testable(test, arms, claim, loss, first):
                    yield test, keys, arms
        elif curves := evidence.planned(claim.scope):
            yield test, curves, None


def _testable(test: Test, arms: Arms, claim: Claim, loss: str | None, evidence: Evidence) -> bool:
    """Whether the test can be made at these batch sizes; a `ReportTest` finds that out only when it is made."""
    if isinstance(test, ReportTest):
        return True
    curves = [curve.at(test.at) for curve in arms.curves]
    printed = claim.scope.reach.get((curves[0].dataset, curves[0].model))
    return test.judge(evidence, loss, curves, printed).verdict != "not run"


def _sure(stratum: Stratum, levels: Levels) -> bool:
    return stratum.verdict in DECIDED and stratum.p <= levels[stratum.verdict]


def _place(stratum: Stratum) -> Place:
    return (stratum.study, *stratum.keys.values(), stratum.measure, *stratum.details.values(), stratum.part)


def _place_of(test: Test, arms: Arms) -> Place:
    measure = arms.curves[0].measure.name if arms.measure is None else arms.measure
    return (arms.curves[0].study, *arms.keys.values(), measure, *arms.details.values(), test.part)


def _is_of(agreement: Stratum, arms: Arms) -> bool:
    """Whether the verdict on these arms is one of those that are to agree."""
    return (agreement.study, agreement.keys, agreement.details) == (arms.curves[0].study, arms.keys, arms.details)


# Chances


def _chances(
    test: Test,
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
    curves = tuple(curve.at(test.at) for curve in curves)
    if not curves:
        return UNKNOWN_CHANCE, UNKNOWN_CHANCE
    printed = claim.scope.reach.get((curves[0].dataset, curves[0].model))
    rng = np.random.default_rng(zlib.crc32(repr((claim.name, loss, place, left)).encode()))
    first = [
        _first_decided(
            test, evidence, loss, [continued(curve, left[-1][0], rng) for curve in curves], printed, left, levels
        )
        for _ in range(DRAWS)
    ]
    return first.count(0) / DRAWS, sum(one is not None for one in first) / DRAWS


def _first_decided(
    test: Test,
    evidence: Evidence,
    loss: str | None,
    curves: Sequence[Curve],
    printed: Reach | None,
    left: Sequence[tuple[int, float]],
    levels: Levels,
) -> int | None:
    """The place of the first look that decides; None where none does."""
    for place, (seeds, share) in enumerate(left):
        found = test.judge(evidence, loss, [c.where(c.sample.seed < seeds) for c in curves], printed)
        if found.verdict in DECIDED and found.p / share <= levels[found.verdict]:
            return place
    return None


def continued(curve: Curve, seeds: int, rng: np.random.Generator) -> Curve:
    """The curve with simulated seeds up to so many in each cell.

    The variance of a new seed is half the cell's own and half the mean of the curve's: that of three seeds alone is
    too uncertain. A new seed diverges as often as the cell's did.
    """
    sample = curve.sample
    sizes, cell = np.unique(sample.batch_size, return_inverse=True)
    finite = np.isfinite(sample.value)
    count = np.bincount(cell, minlength=len(sizes))
    left = np.bincount(cell, weights=finite, minlength=len(sizes))
    value = np.where(finite, sample.value, 0.0)
    mean = np.bincount(cell, weights=value, minlength=len(sizes)) / np.maximum(left, 1)
    squares = np.bincount(cell, weights=np.where(finite, (value - mean[cell]) ** 2, 0.0), minlength=len(sizes))
    own = squares / np.maximum(left - 1, 1)
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
