"""The tests of the ledger, stratum by stratum: trends, flatness, and what momentum does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from analysis.claims.claim import Test, stratum
from analysis.claims.evidence import Evidence
from analysis.claims.measures import Measure
from analysis.claims.sweeps import Guarded, Scope, Setting, Sweep, guarded, sweeps
from analysis.claims.verdict import StratumResult
from analysis.statistics.estimates import Finding, Sample
from analysis.statistics.sample_tests import (
    contrast,
    end_to_end,
    flat,
    larger_in_size,
    no_difference,
    paired_difference,
    trend,
)

OnSweep = Callable[[Sweep, float], Guarded]


def trends(claimed: int, *measures: Measure, part: bool = False) -> Test:
    """TR on every curve of the scope: does each measure rise (+1) or fall (-1) with the batch size?"""

    def test(sweep: Sweep, delta: float) -> Guarded:
        return guarded(partial(trend, claimed=claimed, delta=delta), sweep)

    return _each(test, "end to end", measures, part=part)


def flatness(*measures: Measure, part: str = "") -> Test:
    """EQ on every curve of the scope: is each measure the same within +-delta at every two batch sizes?"""

    def test(sweep: Sweep, delta: float) -> Guarded:
        return guarded(partial(flat, delta=delta), sweep)

    return _each(test, "largest difference", measures, name=part)


def _each(test: OnSweep, what: str, measures: Sequence[Measure], *, part: bool = False, name: str = "") -> Test:
    def strata(evidence: Evidence, scope: Scope, loss: str | None) -> list[StratumResult]:
        results = []
        for measure in measures:
            label = measure.name if part else name
            for sweep in sweeps(evidence, scope, measure, loss):
                delta = measure.delta(str(sweep.curve["dataset"]))
                keys = {**_setting(sweep), "measure": measure.name, **({"part": label} if label else {})}
                results.append(stratum(scope, sweep, keys, test(sweep, delta), what))
        return results

    return strata


def _setting(sweep: Sweep) -> dict[str, object]:
    return {"regime": sweep.curve["regime"], "momentum": f"momentum {sweep.curve['momentum']:g}"}


def flatter_than(steep: str, level: str, measure: Measure, *, part: str) -> Test:
    """IN: does `measure` change less in size, end to end, under regime `level` than under `steep`?

    The run that belongs to both regimes (batch 64) enters both slopes. That is near the middle of the range,
    where it hardly tilts either line; taking the two as independent widens the interval by under 4 %.
    """

    def strata(evidence: Evidence, scope: Scope, loss: str | None) -> list[StratumResult]:
        results = []
        for arms in _by_study(sweeps(evidence, scope, measure, loss)).values():
            by_regime = {str(arm.curve["regime"]): arm for arm in arms}
            if steep in by_regime and level in by_regime:
                first, second = by_regime[steep], by_regime[level]
                delta = measure.delta(str(first.curve["dataset"]))
                found = guarded(partial(larger_in_size, delta=delta, summary=end_to_end), first, second)
                keys = {"regime": f"{level} against {steep}", "measure": measure.name, "part": part}
                results.append(stratum(scope, first, keys, found, "change exceeds by"))
        return results

    return strata


def more_momentum(claimed: int, *measures: Measure, every: bool = False, directional: bool = False) -> Test:
    """DF: does momentum raise (+1) or lower (-1) each measure at equal batch size?

    The largest momentum that was run is held against none; with `every`, so is each of them. `directional`:
    the direction alone decides, as delta 0.
    """

    def strata(evidence: Evidence, scope: Scope, loss: str | None) -> list[StratumResult]:
        results = []
        for measure in measures:
            for none, momentum in _against_none(sweeps(evidence, scope, measure, loss), every=every):
                delta = 0.0 if directional else measure.delta(str(none.curve["dataset"]))
                found = guarded(partial(_contrast, claimed=claimed, delta=delta), none, momentum)
                results.append(stratum(scope, momentum, _compared(none, momentum), found, "mean difference"))
        return results

    return strata


def momentum_is_idle(*measures: Measure) -> Test:
    """EQ of momentum against none: within +-delta at every batch size?"""

    def strata(evidence: Evidence, scope: Scope, loss: str | None) -> list[StratumResult]:
        results = []
        for measure in measures:
            for none, momentum in _against_none(sweeps(evidence, scope, measure, loss)):
                delta = measure.delta(str(none.curve["dataset"]))
                found = guarded(partial(_no_difference, delta=delta), none, momentum)
                keys = _compared(none, momentum)
                results.append(stratum(scope, momentum, keys, found, "largest difference"))
        return results

    return strata


def momentum_matters_less(level: str, steep: str, *measures: Measure) -> Test:
    """IN: is momentum's effect smaller in size under regime `level` than under `steep`?

    The runs that belong to both regimes are left out: they would add the same difference to both sides.
    """

    def strata(evidence: Evidence, scope: Scope, loss: str | None) -> list[StratumResult]:
        results = []
        for measure in measures:
            for arms in _by_study(sweeps(evidence, scope, measure, loss)).values():
                of = {regime: [a for a in arms if a.curve["regime"] == regime] for regime in (steep, level)}
                shared = {str(i) for a in of[steep] for i in a.trial_id} & {
                    str(i) for a in of[level] for i in a.trial_id
                }
                pairs = [list(_against_none([a.without(shared) for a in of[r]])) for r in (steep, level)]
                if not all(pairs):
                    continue
                delta = measure.delta(str(arms[0].curve["dataset"]))
                (first,), (second,) = pairs
                found = guarded(partial(_larger_effect, delta=delta), *first, *second)
                if shared:
                    found = replace(found, note=_and(found.note, "left out: the runs that belong to both regimes"))
                keys = _compared(*second) | {"regime": f"{level} against {steep}"}
                results.append(stratum(scope, first[1], keys, found, "effect exceeds by"))
        return results

    return strata


def both(*tests: Test) -> Test:
    """The strata of several tests in one claim."""

    def strata(evidence: Evidence, scope: Scope, loss: str | None) -> list[StratumResult]:
        return [result for test in tests for result in test(evidence, scope, loss)]

    return strata


def under(settings: tuple[Setting, ...], test: Test) -> Test:
    """`test` on the part of the scope with these settings."""

    def strata(evidence: Evidence, scope: Scope, loss: str | None) -> list[StratumResult]:
        return test(evidence, replace(scope, settings=settings), loss)

    return strata


def not_counting(test: Test, *, reason: str, **keys: object) -> Test:
    """`test` with the strata of these keys shown but not counted, for `reason`."""

    def strata(evidence: Evidence, scope: Scope, loss: str | None) -> list[StratumResult]:
        return [
            replace(result, counted=False, note=f"{result.note}; not counted: {reason}")
            if keys.items() <= result.keys.items()
            else result
            for result in test(evidence, scope, loss)
        ]

    return strata


def _contrast(none: Sample, momentum: Sample, *, claimed: int, delta: float) -> Finding:
    return contrast(paired_difference(none, momentum), claimed=claimed, delta=delta)


def _no_difference(none: Sample, momentum: Sample, *, delta: float) -> Finding:
    return no_difference(paired_difference(none, momentum), delta=delta)


def _larger_effect(a0: Sample, a1: Sample, b0: Sample, b1: Sample, *, delta: float) -> Finding:
    return larger_in_size(paired_difference(a0, a1), paired_difference(b0, b1), delta=delta)


def _compared(none: Sweep, momentum: Sweep) -> dict[str, object]:
    return {
        "regime": momentum.curve["regime"],
        "momentum": f"momentum {momentum.curve['momentum']:g} against {none.curve['momentum']:g}",
        "measure": momentum.measure.name,
    }


def _and(*notes: str) -> str:
    return "; ".join(note for note in notes if note)


def _by_study(found: Sequence[Sweep]) -> dict[tuple[object, ...], list[Sweep]]:
    grouped: dict[tuple[object, ...], list[Sweep]] = {}
    for sweep in found:
        grouped.setdefault(sweep.study, []).append(sweep)
    return grouped


def _against_none(found: Sequence[Sweep], *, every: bool = False) -> Iterator[tuple[Sweep, Sweep]]:
    """(no momentum, momentum) within each study: the largest momentum that was run, or every one."""
    for arms in _by_study(found).values():
        none = [arm for arm in arms if arm.curve["momentum"] == 0.0]
        more = sorted((arm for arm in arms if arm.curve["momentum"] != 0.0), key=_momentum)
        if not none or not more:
            continue
        run = [arm for arm in more if np.isfinite(arm.sample.value).any()]
        for arm in more if every else (run or more)[-1:]:
            yield none[0], arm


def _momentum(sweep: Sweep) -> float:
    return float(str(sweep.curve["momentum"]))
