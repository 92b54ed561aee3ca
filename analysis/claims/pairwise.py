"""Tests of one named setting against another at equal batch size: higher, equal, or no gain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from analysis.claims.claim import Test, stratum
from analysis.claims.evidence import Evidence
from analysis.claims.measures import Measure
from analysis.claims.sweeps import Scope, Setting, arms, guarded
from analysis.claims.verdict import StratumResult
from analysis.statistics.estimates import ALONG_BATCH_SIZES, Decision, Finding, Reach, Sample
from analysis.statistics.sample_tests import contrast, mean_over_sizes, no_difference, paired_difference
from analysis.statistics.thresholds import SIGNIFICANCE
from search_spaces import Trial

Decide = Callable[..., Finding]
"""(paired difference, delta=, reach=) -> what it says."""


def differs(
    claimed: int,
    base: Setting,
    other: Setting,
    *measures: Measure,
    part: str = "",
    directional: bool = False,
    at: tuple[int, ...] = (),
) -> Test:
    """DF: is each measure higher (`claimed` +1) or lower (-1) under `other` than under `base`?

    Averaged over batch sizes: those of `at`, every one of which is needed, or of a whole curve. `directional`: the
    direction alone decides, as delta 0.
    """
    decide = partial(contrast, claimed=claimed)
    return _pairwise(base, other, measures, decide, "mean difference", part, at, scale=0.0 if directional else 1.0)


def equal(base: Setting, other: Setting, *measures: Measure, part: str = "", at: tuple[int, ...] = ()) -> Test:
    """EQ: is each measure the same within +-delta at every batch size (of `at`, or of a whole curve)?"""
    return _pairwise(base, other, measures, no_difference, "largest difference", part, at)


def no_gain(
    claimed: int, base: Setting, other: Setting, *measures: Measure, part: str = "", at: tuple[int, ...] = ()
) -> Test:
    """Does `other` raise (`claimed` +1) or lower (-1) each measure by less than delta, if at all?"""
    return _pairwise(base, other, measures, partial(less_than, claimed=claimed), "mean difference", part, at)


def less_than(difference: Sample, *, claimed: int, delta: float, reach: Reach = ALONG_BATCH_SIZES) -> Finding:
    """Non-inferiority: decide whether a paired difference in the direction `claimed` stays under `delta`.

    Supported where a one-sided test says so at the 5 % level, whatever happens in the other direction. Refuted where
    the difference is as large as delta and its 95 % interval excludes 0.
    """
    there = contrast(difference, claimed=claimed, delta=delta, reach=reach)
    if there.verdict == "not run" or not there.p_supported >= 0.0:
        return there
    kept = difference.decidable()
    effect = mean_over_sizes(kept.batch_size, kept.value)
    p = effect.times(claimed).p_below(delta)
    verdict: Decision = "inconclusive"
    reason = f"neither a difference of {delta:g} nor its absence is shown"
    if p <= SIGNIFICANCE:
        verdict, reason = "supported", f"the mean difference is below {delta:g}"
    elif there.verdict == "supported":
        verdict, reason = "refuted", f"the mean difference reaches {delta:g}"
    return replace(there, verdict=verdict, reason=reason, p_supported=p, p_refuted=there.p_supported)


def on(study: Trial, test: Test) -> Test:
    """`test` on this data set and model of the paper alone."""

    def strata(evidence: Evidence, scope: Scope, loss: str | None) -> list[StratumResult]:
        return test(evidence, replace(scope, studies=(study,), only=True), loss)

    return strata


def noted(test: Test, note: str) -> Test:
    """`test` with a remark at every stratum."""

    def strata(evidence: Evidence, scope: Scope, loss: str | None) -> list[StratumResult]:
        return [replace(r, note="; ".join(filter(None, (r.note, note)))) for r in test(evidence, scope, loss)]

    return strata


def _pairwise(
    base: Setting,
    other: Setting,
    measures: tuple[Measure, ...],
    decide: Decide,
    what: str,
    part: str,
    at: tuple[int, ...],
    scale: float = 1.0,
) -> Test:
    reach = Reach(len(at), max(at) / min(at)) if at else ALONG_BATCH_SIZES

    def strata(evidence: Evidence, scope: Scope, loss: str | None) -> list[StratumResult]:
        results = []
        for measure in measures:
            for pair in arms(evidence, scope, measure, loss, (base, other)):
                first, second = (arm.at(at) for arm in pair) if at else pair
                delta = scale * measure.delta(str(first.curve["dataset"]))

                def test(one: Sample, two: Sample, delta: float = delta) -> Finding:
                    return decide(paired_difference(one, two), delta=delta, reach=reach)

                keys = {"setting": f"{other.name} against {base.name}", "measure": measure.name}
                keys |= {"part": part} if part else {}
                longer = max(first, second, key=lambda arm: len(arm.sample.seed))
                results.append(stratum(scope, longer, keys, guarded(test, first, second), what))
        return results

    return strata
