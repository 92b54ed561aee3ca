"""A claim: what a paper says, of which curves, the tests of it and the rule over their strata; and its verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

import pandas as pd

from analysis.claims.claim_tests import ClaimTest, OverNetworks, SameVerdicts
from analysis.claims.curves import Evidence, Scope
from analysis.claims.looks import over_looks, with_awaited
from analysis.claims.rules import Rule, universal, where_run
from analysis.claims.stratum import Stratum
from analysis.statistics.estimates import Decision
from analysis.statistics.multiplicity import holm
from analysis.statistics.thresholds import SIGNIFICANCE
from analysis.tables.words import name
from search_spaces.probe import LOSSES

ON_SATURATION = "rests on float32 saturation"
ONE_LOSS = "decided on one loss only"
DISAGREE = "the losses disagree"
"""How the verdicts on the published and on the stable loss differ."""


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


@dataclass(frozen=True)
class Verdict:
    """A claim's verdict with everything a reader needs to judge it.

    `loss` is the attack's loss on which it was decided (`ce` as published, or `stable`), None for claims
    without an attack. `reason` says why, `why` in short. `shown` is the stratum whose effect stands for the claim
    (without a data set: none was run), `place` which one it is, of how many. `protocol` has the sizes at which it was
    reached; `rehearsal`: none of them is of the paper. `where_run` is what is decided where the claim was run
    (`where_run` below). `differs` marks a claim whose two losses disagree, `losses` says how, and `contrast` what the
    same networks show under both; `contradicts` names the claims that cannot hold beside it. `by_its_own_numbers` is
    what the paper's own printed numbers say of it.
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
    contrast: str = ""
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


@dataclass(frozen=True, eq=False)
class Claim:
    """One line of the ledger: `tests` on the curves of `scope`, and the `rule` over all their strata.

    `contradicts` names the claims of the same paper that cannot hold beside this one; they are shown together.
    """

    name: str
    statement: str
    source: Source
    scope: Scope
    tests: Sequence[ClaimTest | SameVerdicts | OverNetworks]
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
        reached = [{(s.name, s.study): s for s in v.strata if s.counted} for v in both]
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

    A cheap run never outvotes the paper's protocol on the same data set, model and measure, nor is one missing beside
    it, and a data set that the paper does not have counts only where none of the paper's does. Where no network of the
    paper was run at all, its strata are not missing from a claim about others: the rehearsal is judged by itself, and
    its verdict says so.
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
        (s.closeness == 2 and s.part in parts_of_paper) or s.closeness > closest.get(_network(s), 2) for s in strata
    )
    return tuple(replace(s, counted=not one) for s, one in zip(strata, outdone, strict=True))


def _network(stratum: Stratum) -> tuple[object, ...]:
    return stratum.part, stratum.dataset, stratum.model, stratum.measure


def _closeness(counted: Iterable[Stratum]) -> set[int]:
    return {s.closeness for s in counted if s.verdict != "not run"}


def _caveat(counted: Iterable[Stratum]) -> str:
    closeness = _closeness(counted)
    if closeness == {2}:
        return "An illustration: none of the paper's networks was run."
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
    return [
        replace(v, differs=True, losses=losses, contrast=contrast, reason=f"{v.reason} {said} {contrast}") for v in both
    ]


def outcome(verdicts: Iterable[Verdict]) -> Standing:
    """What becomes of a claim by its verdicts, one a loss: "differs" where two losses decide against each other.

    A loss that was not run does not count; one that is undecided leaves the claim inconclusive. Where both decide the
    same, one of them only where the claim was run, that holds where it was run.
    """
    reached = {verdict.standing for verdict in verdicts} - {"not run"}
    if len(reached) < 2:
        return reached.pop() if reached else "not run"
    if reached == {"supported", "supported where run"}:
        return "supported where run"
    if reached == {"refuted", "refuted where run"}:
        return "refuted where run"
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
