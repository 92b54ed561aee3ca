"""The tests of claims: what decides on the samples of paired curves, and the strata that come of it.

`ClaimTest` is the one driver: it walks measures and curves, which `analysis.claims.pairings` pairs. The functions below
it make the tests that the papers' claims are written in; those that read a report of the whole study are in
`analysis.claims.reported`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypedDict, Unpack

import numpy as np

from analysis.claims.curves import Curve, Evidence, Measure, Scope, Setting
from analysis.claims.measures import LEFT_OUT, in_words, interval_in_words, with_units
from analysis.claims.pairings import (
    Arms,
    against,
    against_no_momentum,
    against_the_next_smaller,
    each,
    momentum_in_two_regimes,
    two_regimes,
)
from analysis.claims.stratum import NO_MARGIN, Margin, Stratum
from analysis.statistics.estimates import Decision, Finding, Reach, Sample
from analysis.statistics.sample_tests import (
    contrast,
    end_to_end_by_seed,
    exceeds_somewhere,
    flat,
    larger_in_size,
    no_difference,
    no_fall,
    no_gain,
    paired_difference,
    step,
    trend,
)
from analysis.statistics.thresholds import LOOKS
from analysis.tables.robust_networks import ORIGINAL, printed_name
from analysis.tables.table import CURVE, PROTOCOL
from analysis.tables.words import departs, name, phrase, said
from search_spaces import Trial
from search_spaces.probe import LOSSES

Decide = Callable[..., Finding]
"""(*samples, delta=) -> what they say; with `reach=` where the test names its batch sizes."""


def as_claimed(claimed: int) -> Callable[[Finding, float], Margin]:
    """The margin of an effect that is claimed to be positive (+1) or negative (-1)."""

    def margin(found: Finding, delta: float) -> Margin:
        low, high = sorted((claimed * found.low / delta, claimed * found.high / delta))
        return claimed * found.effect / delta, low, high

    return margin


def below(claimed: int) -> Callable[[Finding, float], Margin]:
    """The margin by which an effect in the direction `claimed` stays below delta."""

    def margin(found: Finding, delta: float) -> Margin:
        value, low, high = as_claimed(claimed)(found, delta)
        return 1 - value, 1 - high, 1 - low

    return margin


def within(found: Finding, delta: float) -> Margin:
    """The margin by which an effect stays within +-delta: 1 where there is none, below 0 where it exceeds delta."""
    value, low, high = as_claimed(+1)(found, delta)
    least = 0.0 if low <= 0 <= high else min(abs(low), abs(high))
    return 1 - abs(value), 1 - max(abs(low), abs(high)), 1 - least


MORE_RIGHT = "mean difference published less stable"


@dataclass(frozen=True)
class ClaimTest:
    """A test of a claim, stratum by stratum.

    Attributes:
        pair: How curves are paired: the curves of each measure -> the arms of each stratum.
        decide: Decides on the samples of those arms.
        label: Names the effect that `decide` measures.
        measures: What is tested; measures in one tuple are tested together.
        part: The part of the claim that this test decides.
        settings: The settings of the curves, where not all those of the claim.
        studies: The data sets and models, where not all those of the claim.
        at: The batch sizes, every one of which is needed, where not a whole curve.
        delta: The least effect that counts, where not the measure's own: of all networks, or by model. 0: the
            direction decides, as it must where the paper itself prints less than the measure's delta.
        unit: The unit of the effect, where not the measure's own.
        note: A remark at every stratum.
        falls: Whether it is tested that one measure falls, so that a cell at its floor is evidence.
        margin: Its effect over delta, signed so that the claim points right; None: its effect has no such scale.
        whole: Whether it reads a report of the whole study, which allows for several looks itself.
    """

    pair: Callable[..., Iterable[Arms]]
    decide: Callable[..., Any]
    label: str
    measures: Sequence[tuple[Measure, ...]]
    part: str = ""
    settings: tuple[Setting, ...] = ()
    studies: tuple[Trial, ...] = ()
    at: tuple[int, ...] = ()
    delta: float | Mapping[str, float] | None = None
    unit: str = ""
    note: str = ""
    falls: bool = False
    margin: Callable[[Finding, float], Margin] | None = None
    whole: bool = False

    @property
    def attacked(self) -> bool:
        """Whether it needs an attack, so that it is run once for each attack loss."""
        return any(measure.attacked for together in self.measures for measure in together)

    def strata(self, evidence: Evidence, scope: Scope, loss: str | None) -> list[Stratum]:
        """What it finds on the curves of `scope`."""
        return [self.stratum(evidence, scope, loss, arms) for arms in self.arms(evidence, scope, loss)]

    def arms(self, evidence: Evidence, scope: Scope, loss: str | None) -> Iterator[Arms]:
        """The curves of each stratum, at its batch sizes."""
        scope = self._of(scope)
        for together in self.measures:
            for arms in self.pair(*(evidence.curves(scope, measure, loss) for measure in together)):
                yield arms._replace(curves=tuple(curve.at(self.at) for curve in arms.curves))

    def between_losses(self, evidence: Evidence, scope: Scope) -> Iterator[Stratum]:
        """Of each curve and attack: do more images stay right under the published loss than under the stable one?"""
        scope = self._of(scope)
        for measure in dict.fromkeys(m for together in self.measures for m in together if m.attacked):
            for published, stable in zip(*(evidence.curves(scope, measure, loss) for loss in LOSSES), strict=True):
                arms = (curve.at(self.at).sample for curve in (stable, published))
                delta = measure.delta(published.dataset)
                yield replace(
                    worded(exceeds_somewhere(paired_difference(*arms), delta=delta), MORE_RIGHT, measure.unit),
                    dataset=published.dataset,
                    model=published.model,
                    keys={"setting": published.setting.name},
                    measure=measure.name,
                    study=published.study,
                )

    def _of(self, scope: Scope) -> Scope:
        return replace(scope, settings=self.settings or scope.settings, studies=self.studies or scope.studies)

    def least_effect(self, curve: Curve) -> float:
        """The delta of this test on the network of a curve; 0: the direction decides."""
        usual = curve.measure.delta(curve.dataset)
        given = usual if self.delta is None else self.delta
        return given.get(curve.model, usual) if isinstance(given, Mapping) else given

    def judge(self, evidence: Evidence, scope: Scope, loss: str | None, curves: Sequence[Curve]) -> Stratum:
        """What `decide` says of the samples of these curves, with its effect in words."""
        measure, delta = curves[0].measure, self.least_effect(curves[0])
        printed = scope.reach.get((curves[0].dataset, curves[0].model))
        needed = Reach(len(self.at), max(self.at) / min(self.at)) if self.at else printed
        reach = {"reach": needed} if needed else {}
        found = on_sound_cells(partial(self.decide, delta=delta, **reach), *curves, falls=self.falls)
        return worded(found, self.label, self.unit or measure.unit)

    def stratum(self, evidence: Evidence, scope: Scope, loss: str | None, arms: Arms) -> Stratum:
        """What it finds on these curves of `scope`."""
        scope, curves = self._of(scope), arms.curves
        longest = max(curves, key=lambda curve: len(curve.sample.seed))
        protocol, closeness = describe_protocol(scope, longest)
        keys = [curve.key for curve in curves]
        awaited = evidence.awaited(keys)
        if awaited and not self.whole:
            of = "its curve is" if len(curves) == 1 else f"{len(awaited)} of its {len(curves)} curves are"
            found = Stratum("not run", f"{of} not complete: each batch size needs {LOOKS[0]} seeds")
        else:
            found = self.judge(evidence, scope, loss, curves)
        if found.verdict == "not run" and not awaited:
            asked = [c.measure.question(c.dataset) for c in curves if not len(c.sample.seed) and evidence.trained(c)]
            found = replace(found, reason=f"{asked[0]} was not measured" if asked else found.reason)
        return replace(
            found.remarked(arms.note, self.note),
            dataset=longest.dataset,
            model=longest.model,
            keys=arms.keys,
            measure=arms.tested,
            details=arms.details,
            part=self.part,
            protocol=protocol + arms.protocol_note,
            closeness=closeness,
            margin=self._margin(found, longest),
            flagged=any(curve.flagged for curve in curves),
            study=longest.study,
            awaited=bool(awaited) and all(map(evidence.plans, keys)),
        )

    def _margin(self, found: Finding, curve: Curve) -> Margin:
        if self.margin is None or not np.isfinite(found.effect):
            return NO_MARGIN
        return self.margin(found, self.least_effect(curve) or curve.measure.delta(curve.dataset))


@dataclass(frozen=True)
class ReportTest(ClaimTest):
    """A test that reads a report or a table: its `decide` (evidence, attack loss, *curves) gives a `Stratum`."""

    def judge(self, evidence: Evidence, scope: Scope, loss: str | None, curves: Sequence[Curve]) -> Stratum:
        """What the report says of these curves."""
        found: Stratum = self.decide(evidence, loss, *curves)
        return found


def on_sound_cells(decide: Decide, *curves: Curve, falls: bool = False) -> Finding:
    """Run `decide` on the sound cells of the curves, and again with the flagged ones: where the two differ, undecided.

    Where only the flagged cells would make up enough of a curve, nothing can be said: a curve at its floor is
    flat whatever the network learned. But for a claim that a measure `falls`, a cell at its floor is a value known to
    be below one percent, and counts as evidence: support with such cells then holds, unless without them it is refuted.
    """
    finding = decide(*(curve.sound() for curve in curves))
    flagged: dict[str, set[int]] = {}
    for curve in curves:
        for flag, sizes in curve.flagged.items():
            flagged.setdefault(flag, set()).update(sizes)
    if not flagged:
        return finding
    whole = decide(*(curve.sample for curve in curves))
    if finding.verdict == whole.verdict == "not run":
        return whole  # the flagged cells change nothing
    out = "; ".join(
        f"{LEFT_OUT.get(flag, flag)} at batch {', '.join(map(str, sorted(sizes)))}" for flag, sizes in flagged.items()
    )
    them = "it" if sum(map(len, flagged.values())) == 1 else "them"
    told = f"{out}; with {them}: {whole.verdict}"
    if finding.verdict == whole.verdict:
        return replace(finding, reason=f"{finding.reason}; left out: {told}")
    told += f"; without: {finding.verdict}" if finding.verdict != "not run" else ""
    if falls and flagged.keys() == {"floor"} and whole.verdict == "supported" and finding.verdict != "refuted":
        return replace(whole, reason=f"{whole.reason}; {told}")
    shown = whole if finding.verdict == "not run" else finding
    return shown.undecided(told)


def worded(finding: Finding, label: str, unit: str) -> Stratum:
    """A finding with its effect in words: "end to end -3.1 points (95 % interval -4.0 to -2.2)"."""
    text = "not measured"
    if np.isfinite(finding.effect):
        label = label.replace("difference", "ratio") if unit == "doublings" else label
        text = f"{label} {in_words(finding.effect, unit)}"
        limits = interval_in_words(finding.low, finding.high, unit)
        text += f" ({100 * finding.confidence:.0f} % interval {limits})" if np.isfinite(finding.low) else ""
        text += f", measured ends {in_words(finding.observed, unit)}" if np.isfinite(finding.observed) else ""
    return Stratum.of(replace(finding, reason=with_units(finding.reason, unit)), unit=unit, text=text)


def describe_protocol(scope: Scope, curve: Curve) -> tuple[str, int]:
    """The protocol of a curve in words, and how close to its paper's it is (see `Stratum.closeness`)."""
    keys = curve.keys
    count = len({str(seed) for seed in curve.sample.seed})
    seeds = [f"{count} seeds"] if count else []  # a report reads its networks itself
    own = scope.study(curve.dataset, curve.model)
    sizes = ", ".join([*(said(name, keys[name]) for name in ("epochs", "train_size", "test_size")), *seeds])
    if own is None:
        at = f", attacked at epsilon {curve.epsilon:g}" if curve.epsilon else ""
        network = f"{name(curve.dataset)} with {name(curve.model)}"
        return f"an illustration, for {network} is not in the paper: {sizes}{at}", 2
    deviations = departs(keys, own.to_dict(), PROTOCOL)
    papers = curve.measure.epsilons.get(curve.dataset)
    if papers and curve.epsilon and not np.isclose(curve.epsilon, papers):
        deviations.append(f"attacked at epsilon {curve.epsilon:g} instead of {papers:g}")
    if not deviations:
        return f"the paper's protocol: {sizes}", 0
    return f"not the paper's protocol: {'; '.join([', '.join(deviations), *seeds])}", 1


def paired(decide: Decide, *, lost_is_chance: bool = False) -> Decide:
    """`decide` on the difference of each two samples, the second less the first, at equal batch size and seed.

    `lost_is_chance`: as in `paired_difference`.
    """

    def on_differences(*samples: Sample, **settings: object) -> Finding:
        pairs = zip(samples[::2], samples[1::2], strict=True)
        return decide(*(paired_difference(one, two, lost_is_chance=lost_is_chance) for one, two in pairs), **settings)

    return on_differences


# The tests that claims are written in


class Where(TypedDict, total=False):
    """The further fields of a `ClaimTest` that its maker takes by name."""

    part: str
    settings: tuple[Setting, ...]
    studies: tuple[Trial, ...]
    at: tuple[int, ...]
    delta: float | Mapping[str, float]
    note: str


def alone(measures: Iterable[Measure]) -> tuple[tuple[Measure, ...], ...]:
    """Each measure tested by itself."""
    return tuple((measure,) for measure in measures)


def trends(claimed: int, *measures: Measure, **where: Unpack[Where]) -> ClaimTest:
    """Does each measure rise (`claimed` +1) or fall (-1) with the batch size, on every curve?"""
    decide = partial(trend, claimed=claimed)
    margin = as_claimed(claimed)
    return ClaimTest(each, decide, "fitted end to end", alone(measures), falls=claimed < 0, margin=margin, **where)


def flatness(*measures: Measure, **where: Unpack[Where]) -> ClaimTest:
    """Is each measure the same within +-delta at every two batch sizes, on every curve?"""
    return ClaimTest(each, flat, "largest difference", alone(measures), margin=within, **where)


def falls_nowhere(*measures: Measure, **where: Unpack[Where]) -> ClaimTest:
    """Is each measure at no batch size lower by delta or more than at a smaller one, on every curve?"""
    return ClaimTest(each, no_fall, "change at the largest fall", alone(measures), margin=below(-1), **where)


def flatter_than(steep: str, level: str, measure: Measure, **where: Unpack[Where]) -> ClaimTest:
    """Does `measure` change less in size, end to end, under regime `level` than under `steep`?

    The run that belongs to both regimes (batch 64) enters both slopes. That is near the middle of the range,
    where it hardly tilts either line; taking the two as independent widens the interval by under 4 %.
    """
    decide = partial(larger_in_size, effects=end_to_end_by_seed)
    return ClaimTest(
        two_regimes(steep, level), decide, "change exceeds by", alone([measure]), margin=as_claimed(+1), **where
    )


def more_momentum(claimed: int, *measures: Measure, every: bool = False, **where: Unpack[Where]) -> ClaimTest:
    """Does momentum raise (`claimed` +1) or lower (-1) each measure at equal batch size?

    The largest momentum of the paper is compared with none; with `every`, so is each of them.
    """
    decide = paired(partial(contrast, claimed=claimed))
    pair = partial(against_no_momentum, every=every)
    return ClaimTest(pair, decide, "mean difference", alone(measures), margin=as_claimed(claimed), **where)


def each_step_of_momentum(claimed: int, *measures: Measure, **where: Unpack[Where]) -> ClaimTest:
    """Does each momentum raise (`claimed` +1) or lower (-1) each measure against the next smaller one?

    The direction is enough to support it (our choice): .2 against 0 raises the effective rate by a quarter only, and
    need not change a measure by the least effect that counts.
    """
    decide = paired(partial(step, claimed=claimed))
    margin = as_claimed(claimed)
    return ClaimTest(against_the_next_smaller, decide, "mean difference", alone(measures), margin=margin, **where)


def momentum_changes_nothing(*measures: Measure) -> ClaimTest:
    """Is each measure the same within +-delta with each momentum as without, at every batch size?

    A run that diverged with momentum alone, or without it alone, counts as chance.
    """
    decide = paired(no_difference, lost_is_chance=True)
    pair = partial(against_no_momentum, every=True)
    return ClaimTest(pair, decide, "largest difference", alone(measures), margin=within)


def momentum_matters_less(level: str, steep: str, *measures: Measure) -> ClaimTest:
    """Is momentum's effect smaller in size under regime `level` than under `steep`?

    That a run diverged with momentum alone, or without it alone, is an effect on its accuracies: it counts as chance.
    """
    pair = momentum_in_two_regimes(steep, level)
    decide = paired(larger_in_size, lost_is_chance=True)
    return ClaimTest(pair, decide, "effect exceeds by", alone(measures), margin=as_claimed(+1))


def differs(claimed: int, base: Setting, other: Setting, *measures: Measure, **where: Unpack[Where]) -> ClaimTest:
    """Is each measure higher (`claimed` +1) or lower (-1) under `other` than under `base`, on average over sizes?"""
    decide = paired(partial(contrast, claimed=claimed))
    return _two_settings(base, other, decide, "mean difference", measures, where, as_claimed(claimed))


def equal(base: Setting, other: Setting, *measures: Measure, **where: Unpack[Where]) -> ClaimTest:
    """Is each measure the same within +-delta under `base` and `other`, at every batch size?"""
    return _two_settings(base, other, paired(no_difference), "largest difference", measures, where, within)


def gains_nothing(claimed: int, base: Setting, other: Setting, *measures: Measure, **where: Unpack[Where]) -> ClaimTest:
    """Does `other` raise (`claimed` +1) or lower (-1) each measure by less than delta, if at all?"""
    decide = paired(partial(no_gain, claimed=claimed))
    return _two_settings(base, other, decide, "mean difference", measures, where, below(claimed))


def _two_settings(
    base: Setting,
    other: Setting,
    decide: Decide,
    label: str,
    measures: tuple[Measure, ...],
    where: Where,
    margin: Callable[[Finding, float], Margin],
) -> ClaimTest:
    options: Where = {"settings": (base, other), **where}
    return ClaimTest(against(base, other), decide, label, alone(measures), margin=margin, **options)


AGREEMENT = "agreement"
"""The unit of a stratum that says whether others reach the same verdict."""


@dataclass(frozen=True)
class SameVerdicts:
    """Do the strata of `tests` that differ only in their measure (two attacks) reach the same verdict?

    Undecided where either is. A disagreement is as sure as the less sure of the two verdicts.
    """

    tests: Sequence[ClaimTest]
    attacked: bool = True

    def strata(self, evidence: Evidence, scope: Scope, loss: str | None) -> list[Stratum]:
        """One stratum for all measures of each place."""
        together: dict[tuple[object, ...], list[Stratum]] = {}
        for one in (s for test in self.tests for s in test.strata(evidence, scope, loss)):
            place = (one.study, *one.keys.values(), *one.details.values())
            together.setdefault(place, []).append(one)
        return [_agreement(strata) for strata in together.values()]

    def between_losses(self, evidence: Evidence, scope: Scope) -> Iterator[Stratum]:
        """That of its tests."""
        for test in self.tests:
            yield from test.between_losses(evidence, scope)


def _agreement(strata: list[Stratum]) -> Stratum:
    verdicts = {s.measure: s.verdict for s in strata}
    text = ", ".join(f"{phrase(measure)}: {verdict}" for measure, verdict in verdicts.items())
    verdict: Decision = "supported" if len(set(verdicts.values())) == 1 else "refuted"
    if len(strata) < 2 or "not run" in verdicts.values():
        verdict = "not run"
    elif "inconclusive" in verdicts.values():
        verdict = "inconclusive"
    first, p, against = strata[0], float("nan"), float("nan")
    if verdict in ("supported", "refuted"):
        p = max(s.p for s in strata)
        against = p if verdict == "refuted" else 1.0
    return Stratum(
        verdict,
        text,
        p_supported=p,
        p_refuted=against,
        dataset=first.dataset,
        model=first.model,
        keys=first.keys,
        measure=" and ".join(verdicts),
        details=first.details,
        unit=AGREEMENT,
        text=text,
        protocol=first.protocol,
        closeness=first.closeness,
        study=first.study,
        awaited=any(s.awaited for s in strata),
    )


def no_losses(evidence: Evidence, scope: Scope) -> Iterable[Stratum]:
    """Nothing was attacked: no two losses to compare."""
    return ()


@dataclass(frozen=True)
class OverNetworks:
    """A test that walks networks, not curves: `walk` gives its strata, `losses` (evidence, scope) the contrasts of the
    published and the stable loss on the same networks.
    """

    walk: Callable[[Evidence, Scope, str | None], Iterable[Stratum]]
    attacked: bool = False
    losses: Callable[[Evidence, Scope], Iterable[Stratum]] = no_losses

    def strata(self, evidence: Evidence, scope: Scope, loss: str | None) -> list[Stratum]:
        """What it finds. Of one look, a stratum that was not run is awaited where its network is planned and some
        network of its data set and model waits.
        """
        planned = evidence.planned(scope)
        named = {(*key[:2], printed_name(str(key[CURVE.index("adversarial_training")]))) for key in planned}
        waiting = {key[:2] for key in evidence.awaited(planned)}

        def awaited(one: Stratum) -> bool:
            place = one.dataset, one.model
            return place in waiting and (*place, one.keys.get("network", printed_name(ORIGINAL))) in named

        found = self.walk(evidence, scope, loss)
        return [replace(one, awaited=one.verdict == "not run" and awaited(one)) for one in found]

    def between_losses(self, evidence: Evidence, scope: Scope) -> Iterable[Stratum]:
        """Of each network and attack: do more images stay right under the published loss than under the stable one?"""
        return self.losses(evidence, scope)
