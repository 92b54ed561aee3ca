"""Rules: from the strata of a claim to one verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from analysis.claims.looks import DECIDED
from analysis.claims.stratum import Stratum
from analysis.statistics.estimates import Decision
from analysis.statistics.multiplicity import holm, most_hold
from analysis.statistics.thresholds import SIGNIFICANCE


@dataclass(frozen=True)
class Ruling:
    """What a rule makes of the strata of a claim.

    `reason` tells of all of them, `why` what decided, in short. `shown` is the stratum whose effect stands for the
    claim, `place` which one that is, of how many: "weakest of 6", by the p-value behind its verdict.
    """

    verdict: Decision
    reason: str
    why: str = ""
    shown: Stratum = field(default_factory=lambda: Stratum("not run", ""))
    place: str = ""


Levels = Mapping[Decision, float]
"""Verdict -> the p-value at which a stratum counts for it, whatever the other strata find."""


@dataclass(frozen=True)
class Rule:
    """What makes one verdict of the strata of a claim.

    Attributes:
        of: (strata, level) -> the ruling; a wrong refutation is as rare as `level`, a wrong support as `SIGNIFICANCE`.
        needs: (counted strata, one of them, level) -> `levels`.
    """

    of: Callable[[Sequence[Stratum], float], Ruling]
    needs: Callable[[Sequence[Stratum], Stratum, float], Levels]

    def __call__(self, strata: Sequence[Stratum], level: float = SIGNIFICANCE) -> Ruling:
        """The ruling."""
        return self.of(strata, level)

    def levels(self, strata: Sequence[Stratum], one: Stratum, level: float = SIGNIFICANCE) -> Levels:
        """What one of the counted strata needs; empty where it can no longer change anything."""
        return self.needs(strata, one, level)


def _for_one_refuted(strata: Sequence[Stratum], one: Stratum, level: float) -> Levels:
    return {"supported": SIGNIFICANCE, "refuted": level / len(strata)}


@partial(Rule, needs=_for_one_refuted)
def universal(strata: Sequence[Stratum], level: float) -> Ruling:
    """Refuted by one Holm-refuted stratum; supported only where every one was run and supports it, in every part.

    One of six networks that falls is no "the accuracy falls": what was not run, or is undecided, leaves it open.
    """
    counted, run = _counted(strata)
    if not run:
        return _not_run(counted)
    adjusted = holm([s.p_refuted if s.verdict == "refuted" else 1.0 for s in run])
    refuting = [s for s, p in zip(run, adjusted, strict=True) if s.verdict == "refuted" and p <= level]
    if refuting:
        reason = f"Refuted in {len(refuting)} of {len(run)} tests (Holm-adjusted): {_listed(refuting)}."
        shown = min(refuting, key=lambda s: s.p_refuted)
        return Ruling("refuted", reason, shown.reason, shown, _place("strongest", refuting, run, "refuting"))
    supporting = [s for s in run if s.verdict == "supported"]
    if len(supporting) == len(counted):
        reason = f"Supported in all {len(counted)} tests." if len(counted) > 1 else "Supported in the only test."
        shown = max(run, key=lambda s: s.p)
        return Ruling("supported", reason, "", shown, _place("weakest", run, run))
    undecided = [_not_sure(s, len(run)) for s in run if s.verdict != "supported"]
    unrun = [s for s in counted if s.verdict == "not run"]
    said = [f"supported in {len(supporting)} of {len(counted)} tests"] if supporting else []
    if undecided:
        said.append(f"undecided in {len(undecided)} of {len(counted)}: {_listed(undecided, reasons=True)}")
        why, shown, place = undecided[0].reason, undecided[0], _place("first", undecided, counted, "undecided")
    if unrun:
        said.append(f"not run in {len(unrun)} of {len(counted)}: {_listed(unrun, reasons=True)}")
    if not undecided:
        why = f"not run in {len(unrun)} of {len(counted)} tests, as {unrun[0].name} ({unrun[0].reason})"
        shown, place = max(run, key=lambda s: s.p), _place("weakest", run, counted, "run")
    reason = "; ".join(said)
    return Ruling("inconclusive", f"{reason[0].upper()}{reason[1:]}.", why, shown, place)


def _not_sure(stratum: Stratum, tested: int) -> Stratum:
    """One that is refuted by itself, but not sure enough among so many."""
    if stratum.verdict != "refuted":
        return stratum
    reason = f"refuted by this test alone ({stratum.reason}), but not after Holm's adjustment for {tested} tests"
    return replace(stratum, reason=reason)


def _for_one_supported(strata: Sequence[Stratum], one: Stratum, level: float) -> Levels:
    return {"supported": SIGNIFICANCE / len(strata), "refuted": level}


@partial(Rule, needs=_for_one_supported)
def existential(strata: Sequence[Stratum], level: float) -> Ruling:
    """Supported by one confirmed stratum (Holm over all of them); refuted only where every stratum refutes it."""
    counted, run = _counted(strata)
    if not run:
        return _not_run(counted)
    adjusted = holm([s.p if s.verdict == "supported" else 1.0 for s in run])
    confirmed = [s for s, p in zip(run, adjusted, strict=True) if s.verdict == "supported" and p <= SIGNIFICANCE]
    if confirmed:
        reason = f"Confirmed in {len(confirmed)} of {len(run)} tests: {_listed(confirmed)}."
        shown = min(confirmed, key=lambda s: s.p)
        return Ruling("supported", reason, "", shown, _place("strongest", confirmed, run, "confirmed"))
    if all(s.verdict == "refuted" and s.p_refuted <= level for s in counted):
        reason = f"Every one of {len(run)} tests contradicts it."
        shown = max(run, key=lambda s: s.p)
        return Ruling("refuted", reason, shown.reason, shown, _place("weakest", run, run))
    shown = next((s for s in run if s.text), run[0])
    unrun = len(counted) - len(run)
    more = f"; {unrun} more {'was' if unrun == 1 else 'were'} not run" if unrun else ""
    reason = f"Confirmed in 0 of {len(run)} tests{more}."
    return Ruling("inconclusive", reason, shown.reason, shown, _place("first", run, run))


def _for_a_vote(strata: Sequence[Stratum], one: Stratum, level: float) -> Levels:
    cases = _cases(strata)
    case = cases[_case(one)]
    of_vote = {
        side: of / (len(cases) - len(cases) // 2) for side, of in zip(DECIDED, (SIGNIFICANCE, level), strict=True)
    }
    if any(_vote(case, side) <= of for side, of in of_vote.items()):
        return {}
    return {side: of / (len(case) - len(case) // 2) for side, of in of_vote.items()}


@partial(Rule, needs=_for_a_vote)
def most(strata: Sequence[Stratum], level: float) -> Ruling:
    """Supported where more than half of the cases surely support it; refuted where more than half surely refute it.

    A case is a setting of a data set and model. It has one vote, which needs more than half of its strata: two attacks
    on the same networks are one vote, not two. That more than half agree is a partial conjunction (`most_hold`), of
    the strata for a vote and of the votes for the claim: what is false of half of them is called true of most in
    at most 5 % of studies, if the tests are independent or positively dependent.
    """
    counted, run = _counted(strata)
    if not run:
        return _not_run(counted)
    cases = list(_cases(counted).values())
    unit = f"of {len(cases)} settings"
    votes = {side: [_vote(case, side) for case in cases] for side in DECIDED}
    won = {side: [case for case, p in zip(cases, ps, strict=True) if p <= SIGNIFICANCE] for side, ps in votes.items()}
    share = f"{len(won['supported'])} {unit} support it, {len(won['refuted'])} refute it"
    for side in DECIDED:
        if len(won[side]) > len(cases) / 2:
            p, needed = most_hold(votes[side]), level if side == "refuted" else SIGNIFICANCE
            if p <= needed:
                shown = max((_agreeing(case, side)[len(case) // 2] for case in won[side]), key=lambda s: s.p)
                place = f"weakest of {len(won[side])} {unit}"
                return Ruling(side, f"{share} (that most do: p = {p:.2g}).", share, shown, place)
            share += f", not surely most (p = {p:.2g}; needs {needed:.2g})"
    return Ruling("inconclusive", f"{share}.", share, run[0], _place("first", run, run))


def _case(stratum: Stratum) -> tuple[object, ...]:
    return (stratum.dataset, stratum.model, *stratum.keys.values())


def _cases(strata: Iterable[Stratum]) -> dict[tuple[object, ...], list[Stratum]]:
    cases: dict[tuple[object, ...], list[Stratum]] = {}
    for s in strata:
        cases.setdefault(_case(s), []).append(s)
    return cases


def _vote(case: Sequence[Stratum], side: Decision) -> float:
    """The p-value of "more than half of the strata of a case are on this side"."""
    return most_hold([s.p if s.verdict == side else 1.0 for s in case])


def _agreeing(case: Sequence[Stratum], side: Decision) -> list[Stratum]:
    return sorted((s for s in case if s.verdict == side), key=lambda s: s.p)


def by_part(rules: Mapping[str, Rule]) -> Rule:
    """Each part of a claim by its own rule; supported where all of them are, refuted where one of them is.

    A refutation of one of k parts is made at a k-th of the level (Bonferroni): Holm's first step, and one suffices.
    """

    def rule(strata: Sequence[Stratum], level: float) -> Ruling:
        rulings = {part: of([s for s in strata if s.part == part], level / len(rules)) for part, of in rules.items()}
        reached = {ruling.verdict for ruling in rulings.values()}
        verdict: Decision = "inconclusive"
        if len(reached) == 1:
            verdict = reached.pop()
        elif "refuted" in reached:
            verdict = "refuted"
        reason = " ".join(f"{part[0].upper()}{part[1:]}: {ruling.reason}" for part, ruling in rulings.items())
        deciding = sorted(rulings.values(), key=lambda ruling: (ruling.verdict != verdict, not ruling.shown.dataset))
        return replace(deciding[0], verdict=verdict, reason=reason)

    def needs(strata: Sequence[Stratum], one: Stratum, level: float) -> Levels:
        return rules[one.part].levels([s for s in strata if s.part == one.part], one, level / len(rules))

    return Rule(rule, needs)


def where_run(rule: Rule, strata: Sequence[Stratum]) -> Decision | None:
    """What a rule decides on the strata that were run; None if it is undecided there, or if no stratum is missing."""
    counted, run = _counted(strata)
    if len(run) == len(counted):
        return None
    reached = rule(run).verdict
    return reached if reached in DECIDED else None


def _counted(strata: Sequence[Stratum]) -> tuple[list[Stratum], list[Stratum]]:
    counted = [s for s in strata if s.counted]
    return counted, [s for s in counted if s.verdict != "not run"]


def _not_run(counted: Sequence[Stratum]) -> Ruling:
    if not counted:
        nothing = "No run of this kind is planned or stored."
        return Ruling("not run", nothing, nothing[0].lower() + nothing[1:-1])
    reasons = list(dict.fromkeys(s.reason for s in counted if s.reason))
    none = "The only test was not run" if len(counted) == 1 else f"None of {len(counted)} tests was run"
    reason = f"{none} in full: {'; '.join(reasons[:2])}."
    return Ruling("not run", reason, counted[0].reason)


def _place(rank: str, chosen: Sequence[Stratum], among: Sequence[Stratum], what: str = "") -> str:
    """Which stratum is shown, of how many: "weakest of 6", "strongest of 2 refuting of 6", "only one"."""
    if len(among) == 1:
        return "only one"
    kind = f" {what}" if what and len(chosen) < len(among) else ""
    if len(chosen) == 1:
        return f"only one{kind} of {len(among)}"
    return f"{rank} of {len(chosen)}{kind}" + (f" of {len(among)}" if len(chosen) < len(among) else "")


def _listed(strata: Sequence[Stratum], *, reasons: bool = False) -> str:
    said = [f"{s.name} ({s.reason})" if reasons and s.reason else s.name for s in strata]
    more = f" and {len(said) - 3} more" if len(said) > 3 else ""
    return "; ".join(said[:3]) + more
