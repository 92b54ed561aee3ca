"""A claim: what a paper says, of which curves, the tests of it and the rule that makes one verdict of their strata."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

import pandas as pd

from analysis.claims.curves import Evidence, Scope
from analysis.claims.looks import DECIDED, over_looks, with_awaited
from analysis.claims.tests import OverNetworks, SameVerdicts, Stratum, Test
from analysis.statistics.estimates import Decision
from analysis.statistics.multiplicity import holm, most_hold
from analysis.statistics.thresholds import SIGNIFICANCE
from analysis.tables.words import name
from search_spaces.probe import LOSSES

ON_SATURATION = "rests on float32 saturation"
ONE_LOSS = "decided on one loss only"
DISAGREE = "the losses disagree"
"""How the verdicts on the published and on the stable loss differ."""


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


Standing = Literal["supported", "refuted", "differs", "supported where run", "refuted where run"] | Decision
"""What becomes of a claim: its verdict, or what its losses make of it (`outcome`), or what holds where it was run."""


@dataclass(frozen=True)
class Source:
    """Where a paper makes a claim."""

    paper: str
    section: str
    figures: tuple[str, ...] = ()


@dataclass(frozen=True)
class Coverage:
    """Trials behind a claim, and how many of its strata could be decided."""

    planned: int = 0
    ok: int = 0
    diverged: int = 0
    failed: int = 0
    strata_decided: int = 0
    strata: int = 0

    @property
    def trials_text(self) -> str:
        """The trials in words: the same on both losses."""
        return f"{self.ok} of {self.planned} trials ok, {self.diverged} diverged, {self.failed} failed"

    @property
    def strata_text(self) -> str:
        """The strata in words: on one loss others may be decided than on the other."""
        return f"{self.strata_decided} of {self.strata} strata decided"


@dataclass(frozen=True)
class Verdict:
    """A claim's verdict with everything a reader needs to judge it.

    `loss` is the attack's loss on which it was decided (`ce` as published, or `stable`), None for claims
    without an attack. `reason` says why, `why` in short. `shown` is the stratum whose effect stands for the claim
    (without a data set: none was run), `place` which one it is, of how many. `protocol` has the sizes at which it was
    reached; `rehearsal`: none of them is of the paper. `where_run` is what is decided where the claim was run
    (`where_run` below). `differs` marks a claim whose two losses disagree, and `losses` says how; `contradicts` names
    the claims that cannot hold beside it. `by_its_own_numbers` is what the paper's own printed numbers say of it.
    """

    claim: str
    statement: str
    source: Source
    verdict: Decision
    reason: str
    loss: str | None = None
    why: str = ""
    shown: Stratum = field(default_factory=lambda: Stratum("not run", ""))
    place: str = ""
    coverage: Coverage = Coverage()
    protocol: str = ""
    rehearsal: bool = False
    strata: tuple[Stratum, ...] = field(default=(), repr=False)
    where_run: Decision | None = None
    differs: bool = False
    losses: str = ""
    contradicts: tuple[str, ...] = ()
    by_its_own_numbers: str = ""

    @property
    def effect_text(self) -> str:
        """The effect shown, in words: "MNIST, M1, clean (weakest of 6): end to end -1.1 points ..."."""
        if not self.shown.dataset:
            return "no effect measured"
        place = f" ({self.place})" if self.place else ""
        return f"{self.shown.name}{place}: {self.shown.text or 'not measured'}"

    @property
    def standing(self) -> Standing:
        """The verdict; of an inconclusive claim what holds where it was run, if that is decided."""
        if self.where_run == "supported":
            return "supported where run"
        return "refuted where run" if self.where_run == "refuted" else self.verdict


# Rules: from strata to a verdict


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
    adjusted = holm([s.p_refuted for s in run])
    refuting = [s for s, p in zip(run, adjusted, strict=True) if s.verdict == "refuted" and p <= level]
    if refuting:
        reason = f"Refuted in {len(refuting)} of {len(run)} strata run (Holm-adjusted): {_listed(refuting)}."
        shown = min(refuting, key=lambda s: s.p_refuted)
        return Ruling("refuted", reason, shown.reason, shown, _place("strongest", refuting, run, "refuting"))
    supporting = [s for s in run if s.verdict == "supported"]
    if len(supporting) == len(counted):
        reason = f"Supported in all {len(counted)} strata." if len(counted) > 1 else "Supported in the only stratum."
        shown = max(run, key=lambda s: s.p)
        return Ruling("supported", reason, "", shown, _place("weakest", run, run))
    undecided = [_not_sure(s, len(run)) for s in run if s.verdict != "supported"]
    unrun = [s for s in counted if s.verdict == "not run"]
    said = [f"supported in {len(supporting)} of {len(counted)} strata"] if supporting else []
    if undecided:
        said.append(f"undecided in {len(undecided)} of {len(counted)}: {_listed(undecided, reasons=True)}")
        why, shown, place = undecided[0].reason, undecided[0], _place("first", undecided, counted, "undecided")
    if unrun:
        said.append(f"not run in {len(unrun)} of {len(counted)}: {_listed(unrun, reasons=True)}")
    if not undecided:
        why = f"not run in {len(unrun)} of {len(counted)} strata, as {unrun[0].name} ({unrun[0].reason})"
        shown, place = max(run, key=lambda s: s.p), _place("weakest", run, counted, "run")
    reason = "; ".join(said)
    return Ruling("inconclusive", f"{reason[0].upper()}{reason[1:]}.", why, shown, place)


def _not_sure(stratum: Stratum, tested: int) -> Stratum:
    """One that is refuted by itself, but not sure enough among so many."""
    if stratum.verdict != "refuted":
        return stratum
    reason = f"refuted by itself ({stratum.reason}), but not after Holm's adjustment for {tested} strata"
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
        reason = f"Confirmed in {len(confirmed)} of {len(run)} strata run: {_listed(confirmed)}."
        shown = min(confirmed, key=lambda s: s.p)
        return Ruling("supported", reason, "", shown, _place("strongest", confirmed, run, "confirmed"))
    if all(s.verdict == "refuted" and s.p_refuted <= level for s in counted):
        reason = f"Every one of {len(run)} strata run contradicts it."
        shown = max(run, key=lambda s: s.p)
        return Ruling("refuted", reason, shown.reason, shown, _place("weakest", run, run))
    shown = next((s for s in run if s.text), run[0])
    unrun = len(counted) - len(run)
    reason = f"Confirmed in 0 of {len(run)} strata run" + (f"; {unrun} more were not run." if unrun else ".")
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
    reason = f"None of {len(counted)} strata was run in full: {'; '.join(reasons[:2])}."
    return Ruling("not run", reason, counted[0].reason)


def _place(rank: str, chosen: Sequence[Stratum], among: Sequence[Stratum], what: str = "") -> str:
    """Which stratum is shown, of how many: "weakest of 6", "strongest of 2 refuting of 6", "only one"."""
    if len(among) == 1:
        return "only one"
    kind = f" {what}" if what and len(chosen) < len(among) else ""
    if len(chosen) == 1:
        return f"only one{kind} of {len(among)}"
    return f"{rank} of {len(chosen)}{kind}" + (f" of {len(among)}" if len(chosen) < len(among) else "")


def _listed(strata: Sequence[Stratum], *, reasons: bool = False, at_most: int = 3) -> str:
    said = [f"{s.name} ({s.reason})" if reasons and s.reason else s.name for s in strata]
    more = f" and {len(said) - at_most} more" if len(said) > at_most else ""
    return "; ".join(said[:at_most]) + more


# A claim and its verdict


@dataclass(frozen=True, eq=False)
class Claim:
    """One line of the ledger: `tests` on the curves of `scope`, and the `rule` over all their strata.

    `contradicts` names the claims of the same paper that cannot hold beside this one; they are shown together.
    """

    name: str
    statement: str
    source: Source
    scope: Scope
    tests: Sequence[Test | SameVerdicts | OverNetworks]
    rule: Rule = universal
    contradicts: tuple[str, ...] = ()

    @property
    def losses(self) -> tuple[str | None, ...]:
        """The attack losses on which it is decided; (None,) for a claim without an attack."""
        return LOSSES if any(test.attacked for test in self.tests) else (None,)

    def verdicts(self, evidence: Evidence) -> list[Verdict]:
        """Its verdict on each loss."""
        both = [self.judge(evidence, loss) for loss in self.losses]
        return relate_losses(both, lambda: self.saturation(evidence, both))

    def saturation(self, evidence: Evidence, both: Sequence[Verdict]) -> str:
        """Where the published loss leaves more images right than the stable one on the same networks; "" if nowhere.

        Of the networks on which the two verdicts differ: the mean over batch sizes of the difference, each seed one
        observation, which must be positive by Holm's adjustment over all curves and measures and reach the measure's
        delta at some batch size.
        """
        reached = [{(s.name, s.protocol): s for s in v.strata if s.counted} for v in both]
        pairs = [(s, reached[1][key]) for key, s in reached[0].items() if key in reached[1]]
        places = {(one.dataset, one.model) for one, other in pairs if one.verdict != other.verdict}
        found = [
            difference
            for test in self.tests
            for difference in over_looks(evidence, partial(test.between_losses, scope=self.scope))
            if (difference.dataset, difference.model) in places and difference.verdict != "not run"
        ]
        adjusted = holm([one.p_supported for one in found])
        sure = zip(found, adjusted, strict=True)
        shown = [one for one, p in sure if one.verdict == "supported" and p <= SIGNIFICANCE]
        if not shown:
            return ""
        most = max(shown, key=lambda one: one.effect)
        return f"On the same networks more images stay right under the published loss: {most.name}: {most.text}."

    def judge(self, evidence: Evidence, loss: str | None) -> Verdict:
        """The claim's verdict on one attack loss."""
        strata = with_awaited(
            prefer_papers_protocol(
                s
                for test in self.tests
                for s in over_looks(evidence, partial(test.strata, scope=self.scope, loss=loss))
            )
        )
        ruling = self.rule(strata)
        counted = [s for s in strata if s.counted]
        decided = sum(s.verdict in ("supported", "refuted") for s in counted)
        return Verdict(
            claim=self.name,
            statement=self.statement,
            source=self.source,
            verdict=ruling.verdict,
            reason=" ".join(filter(None, (ruling.reason, _caveat(counted), _remarks(counted)))),
            loss=loss,
            why=ruling.why,
            shown=ruling.shown,
            place=ruling.place,
            coverage=Coverage(**evidence.count(self.scope), strata_decided=decided, strata=len(counted)),
            protocol=_protocols(counted),
            rehearsal=_closeness(counted) == {2},
            where_run=where_run(self.rule, strata) if ruling.verdict == "inconclusive" else None,
            strata=strata,
            contradicts=self.contradicts,
        )


def prefer_papers_protocol(strata: Iterable[Stratum]) -> tuple[Stratum, ...]:
    """The strata, with those not counted for which one closer to the paper was run.

    A cheap run never outvotes the paper's protocol on the same data set and model, and a data set that the
    paper does not have counts only where none of the paper's does. Where no network of the paper was run at all, its
    strata are not missing from a claim about others: the rehearsal is judged by itself, and its verdict says so.
    """
    strata = tuple(strata)
    run = [s for s in strata if s.verdict != "not run"]
    if run and all(s.closeness == 2 for s in run):
        return tuple(replace(s, counted=s.closeness == 2) for s in strata)
    parts_of_paper = {s.part for s in run if s.closeness < 2}
    closest: dict[tuple[object, ...], int] = {}
    for s in run:
        closest[_network(s)] = min(s.closeness, closest.get(_network(s), 2))
    outdone = (
        (s.closeness == 2 and s.part in parts_of_paper)
        or (s.verdict != "not run" and s.closeness > closest.get(_network(s), 2))
        for s in strata
    )
    return tuple(replace(s, counted=not one) for s, one in zip(strata, outdone, strict=True))


def _network(stratum: Stratum) -> tuple[object, ...]:
    return stratum.part, stratum.dataset, stratum.model


def _closeness(counted: Iterable[Stratum]) -> set[int]:
    return {s.closeness for s in counted if s.verdict != "not run"}


def _caveat(counted: Iterable[Stratum]) -> str:
    closeness = _closeness(counted)
    if closeness == {2}:
        return "A rehearsal: none of the paper's networks was run."
    if 1 in closeness:
        share = "Not" if closeness == {1} else "Not all"
        return f"{share} at the paper's protocol (see the sizes)."
    return ""


def _remarks(counted: Iterable[Stratum]) -> str:
    """What is remarked on strata that were run, each once."""
    remarks = dict.fromkeys(s.remarks for s in counted if s.remarks and s.verdict != "not run")
    return f"Remarks: {'. '.join(remarks)}." if remarks else ""


def _protocols(counted: Iterable[Stratum]) -> str:
    """Each protocol at which strata were run, with the data sets and models it was run on."""
    run: dict[str, dict[str, None]] = {}
    for s in counted:
        if s.verdict != "not run":
            run.setdefault(s.protocol, {})[f"{name(s.dataset)}, {name(s.model)}"] = None
    return ". ".join(f"{'; '.join(names)}: {protocol}" for protocol, names in run.items())


# All verdicts together


def relate_losses(both: Sequence[Verdict], saturation: Callable[[], str]) -> list[Verdict]:
    """The verdicts of one claim, one a loss; where they differ, with how in `losses`, in words in `reason`.

    Float32 saturation is named only where the two losses decide against each other and `saturation` shows it: what a
    contrast of the two losses on the same networks says, "" where it shows nothing. A loss that is merely undecided
    does not disagree.
    """
    reached = {v.verdict for v in both}
    if len(reached) < 2 or "not run" in reached:
        return list(both)
    shown = saturation()
    losses = ONE_LOSS
    if "inconclusive" not in reached:
        losses = ON_SATURATION if shown else DISAGREE
    said = f"{losses[0].upper()}{losses[1:]}: {'; '.join(f'{v.loss} {v.verdict}' for v in both)}."
    contrast = shown or "The same networks are not shown to be right more often under the published loss."
    return [replace(v, differs=True, losses=losses, reason=f"{v.reason} {said} {contrast}") for v in both]


def outcome(verdicts: Iterable[Verdict]) -> Standing:
    """What becomes of a claim by its verdicts, one a loss: "differs" where two losses decide against each other.

    A loss that was not run does not count; one that is undecided leaves the claim inconclusive.
    """
    reached = {verdict.standing for verdict in verdicts} - {"not run"}
    if len(reached) < 2:
        return reached.pop() if reached else "not run"
    return "differs" if reached == {"supported", "refuted"} else "inconclusive"


def to_frame(verdicts: Iterable[Verdict]) -> pd.DataFrame:
    """One row a claim and loss: the tidy table behind `claims.csv`."""
    return pd.DataFrame([_row(verdict) for verdict in verdicts], columns=CLAIM_COLUMNS)


def _row(v: Verdict) -> dict[str, object]:
    return {
        "claim": v.claim,
        "statement": v.statement,
        "paper": v.source.paper,
        "section": v.source.section,
        "figures": " ".join(v.source.figures),
        "loss": v.loss,
        "verdict": v.verdict,
        "where_run": v.where_run,
        "differs": v.differs,
        "losses": v.losses,
        "rehearsal": v.rehearsal,
        "contradicts": " ".join(v.contradicts),
        "by_its_own_numbers": v.by_its_own_numbers,
        "effect": v.shown.effect,
        "observed": v.shown.observed,
        "low": v.shown.low,
        "high": v.shown.high,
        "unit": v.shown.unit,
        "effect_text": v.effect_text,
        **vars(v.coverage),
        "protocol": v.protocol,
        "why": v.why,
        "reason": v.reason,
    }


CLAIM_COLUMNS = list(_row(Verdict("", "", Source("", ""), "not run", "")))
