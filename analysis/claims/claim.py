"""A claim: what a paper says, the curves it says it of, the test on each stratum and the rule over them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from analysis.claims.evidence import Evidence
from analysis.claims.rules import Ruling, cast_votes
from analysis.claims.sweeps import Guarded, Scope, Sweep, coverage
from analysis.claims.verdict import Effect, Source, StratumResult, Verdict
from analysis.tables.table import PROTOCOL
from analysis.tables.words import label, value_text
from search_spaces.probe import LOSSES

Test = Callable[[Evidence, Scope, str | None], list[StratumResult]]
Rule = Callable[[Sequence[StratumResult]], Ruling]


@dataclass(frozen=True)
class Claim:
    """One line of the ledger. `attacked`: it speaks of adversarial accuracy, so it is decided on both losses."""

    name: str
    statement: str
    source: Source
    scope: Scope
    test: Test
    rule: Rule
    attacked: bool = False

    @property
    def losses(self) -> tuple[str | None, ...]:
        """The attack losses on which it is decided; (None,) for a claim without an attack."""
        return LOSSES if self.attacked else (None,)

    def __call__(self, evidence: Evidence, loss: str | None) -> Verdict:
        """The claim's verdict on one attack loss."""
        strata = cast_votes(self.test(evidence, self.scope, loss))
        ruling = self.rule(strata)
        counted = [s for s in strata if s.counted]
        decided = sum(s.verdict in ("supported", "refuted") for s in counted)
        spoken = ruling.spokesman
        return Verdict(
            claim=self.name,
            statement=self.statement,
            source=self.source,
            verdict=ruling.verdict,
            reason=" ".join(filter(None, (ruling.reason, _caveat(counted)))),
            loss=loss,
            effect=Effect(f"{spoken.name}: {spoken.text or 'not measured'}", spoken.effect, spoken.unit)
            if spoken
            else Effect("no effect measured"),
            interval=(spoken.low, spoken.high) if spoken else (float("nan"), float("nan")),
            coverage=replace(coverage(evidence, self.scope), strata_decided=decided, strata=len(counted)),
            protocol=_protocols(counted),
            strata=strata,
        )


def stratum(scope: Scope, sweep: Sweep, keys: Mapping[str, object], guarded: Guarded, what: str) -> StratumResult:
    """The result of a guarded test on the curve of `sweep`; `what` names the effect that was tested."""
    measure, finding = sweep.measure, guarded.finding
    text = "not measured"
    if np.isfinite(finding.effect):
        low, high = (measure.words(bound) for bound in (finding.low, finding.high))
        interval = f"{100 * finding.confidence:.0f} % interval {low} to {high}"
        text = f"{what} {measure.words(finding.effect)} ({interval})"
    protocol, closeness = describe_protocol(scope, sweep)
    return StratumResult(
        keys={"dataset": sweep.curve["dataset"], "model": sweep.curve["model"], **keys},
        verdict=finding.verdict,
        effect=finding.effect,
        low=finding.low,
        high=finding.high,
        p=finding.p,
        p_refuted=finding.p_refuted,
        unit=measure.unit,
        text=text,
        note="; ".join(filter(None, (finding.reason, guarded.note))),
        protocol=protocol,
        closeness=closeness,
    )


def describe_protocol(scope: Scope, sweep: Sweep) -> tuple[str, int]:
    """The protocol of a curve in words, and how close to its paper's it is (see `StratumResult.closeness`)."""
    curve = sweep.curve
    seeds = len({str(seed) for seed in sweep.sample.seed})
    own = scope.study(curve["dataset"], curve["model"])
    sizes = (
        f"{value_text(curve['epochs'])} epochs, {value_text(curve['train_size'])} training images, "
        f"{value_text(curve['test_size'])} test images, {seeds} seeds"
    )
    if own is None:
        return f"a rehearsal, for {curve['dataset']} with {curve['model']} is not in the paper: {sizes}", 2
    paper = own.to_dict()
    deviations = [
        f"{value_text(curve[name])} instead of {value_text(paper[name])} {label(name)}"
        for name in PROTOCOL
        if curve[name] != paper[name]
    ]
    if not deviations:
        return f"the paper's protocol: {sizes}", 0
    return f"not the paper's protocol: {', '.join(deviations)}; {seeds} seeds", 1


def _caveat(counted: Iterable[StratumResult]) -> str:
    closeness = {s.closeness for s in counted if s.verdict != "not run"}
    if closeness == {2}:
        return "A rehearsal: none of the paper's data sets was run."
    if 1 in closeness:
        share = "Not" if closeness == {1} else "Not all"
        return f"{share} at the paper's protocol (see the sizes)."
    return ""


def _protocols(counted: Iterable[StratumResult]) -> str:
    """Each protocol at which strata were run, with the data sets and models it was run on."""
    run: dict[str, list[str]] = {}
    for s in counted:
        if s.verdict != "not run":
            names = run.setdefault(s.protocol, [])
            name = f"{s.keys['dataset']} {s.keys['model']}"
            if name not in names:
                names.append(name)
    return ". ".join(f"{', '.join(names)}: {protocol}" for protocol, names in run.items())
