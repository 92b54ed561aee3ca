"""Tests on networks trained to a loss at growing batch size: Yao et al. 2018, sections 3.1 and 3.2."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import numpy as np

from analysis.claims.claim import Test, stratum
from analysis.claims.evidence import Evidence
from analysis.claims.large_batch_measures import NOT_CONVERGED, NOT_POSITIVE, UNREACHED
from analysis.claims.measures import Measure
from analysis.claims.rules import Ruling
from analysis.claims.sweeps import Guarded, Scope, Sweep, guarded, sweeps
from analysis.claims.verdict import StratumResult
from analysis.statistics.estimates import Finding, Sample, directional
from analysis.statistics.sample_tests import mean_over_sizes, opposed, paired_difference, unrelated
from analysis.statistics.thresholds import MIN_SEEDS


class OnSample(Protocol):
    """A test of one sample against the least effect worth the name."""

    def __call__(self, sample: Sample, /, *, delta: float) -> Finding:
        """What the sample says."""
        ...


Labels = Callable[[str], dict[str, object]]
"""Data set -> further keys of its strata."""

READINGS = ("m1", "m1_lenet")
"""Yao et al. call their M1 both a stride-2 network (Table 6) and a "standard LeNet" (section 3.3): two readings."""


@dataclass(frozen=True)
class ToTheLoss(Scope):
    """The paper's curves of networks that were trained until a training loss; others are another study."""

    def holds(self, curve: Mapping[str, object]) -> bool:
        """Whether the curve of these keys is one of them."""
        return curve["target_loss"] is not None and super().holds(curve)


def along(measure: Measure, decide: OnSample, what: str, labels: Labels) -> Test:
    """`decide` on every curve of the scope, given the measure's delta; `what` names the effect."""

    def strata(evidence: Evidence, scope: Scope, loss: str | None) -> list[StratumResult]:
        results = []
        for sweep in sweeps(evidence, scope, measure, loss):
            dataset = str(sweep.curve["dataset"])
            test = partial(decide, delta=measure.delta(dataset))
            keys = {"measure": measure.name, **labels(dataset)}
            results.append(_told(stratum(scope, sweep, keys, guarded(test, sweep), what), sweep))
        return results

    return strata


def curvature_opposes(x: Measure, y: Measure, labels: Labels) -> Test:
    """AS along the batch size: does `y` fall where `x` rises?"""
    return _together(x, y, opposed, labels)


def not_related(x: Measure, y: Measure, labels: Labels, *, bound: float) -> Test:
    """AS along the batch size: is Kendall's tau of `x` and `y` within +-`bound`?"""
    return _together(x, y, partial(unrelated, delta=bound), labels)


def _together(x: Measure, y: Measure, decide: Callable[[Sample, Sample], Finding], labels: Labels) -> Test:
    def strata(evidence: Evidence, scope: Scope, loss: str | None) -> list[StratumResult]:
        results = []
        arms = zip(sweeps(evidence, scope, x, loss), sweeps(evidence, scope, y, loss), strict=True)
        for first, second in arms:
            found = guarded(decide, first, second)
            keys = {"measure": f"{x.name} and {y.name}", **labels(str(first.curve["dataset"]))}
            results.append(_told(_as_tau(stratum(scope, second, keys, found, "tau"), found), second))
        return results

    return strata


def _as_tau(result: StratumResult, found: Guarded) -> StratumResult:
    if not np.isfinite(found.finding.effect):
        return replace(result, unit="tau")
    finding = found.finding
    interval = f"{100 * finding.confidence:.0f} % interval {finding.low:+.2f} to {finding.high:+.2f}"
    return replace(result, unit="tau", text=f"tau {finding.effect:+.2f} ({interval})")


def exceeds_at_large_batch(low: Measure, high: Measure, *, least: int) -> Test:
    """DF of the logarithms: is `high` above `low` on the same network, on average over batches of `least` and more?"""

    def strata(evidence: Evidence, scope: Scope, loss: str | None) -> list[StratumResult]:
        results = []
        for first, second in zip(sweeps(evidence, scope, low, loss), sweeps(evidence, scope, high, loss), strict=True):
            delta = low.delta(str(first.curve["dataset"]))
            found = guarded(partial(_exceeds, delta=delta, least=least), first, second)
            keys = {"measure": f"{high.name} over {low.name}", "batch": f"batch >= {least}"}
            results.append(_told(stratum(scope, second, keys, found, "ratio"), second))
        return results

    return strata


def _exceeds(low: Sample, high: Sample, *, delta: float, least: int) -> Finding:
    difference = paired_difference(low, high)
    difference = difference.where(difference.batch_size >= least)
    _, counts = np.unique(difference.batch_size, return_counts=True)
    if not (counts >= MIN_SEEDS).any():
        return Finding("not run", f"no batch size of {least} or more with {MIN_SEEDS} seeds")
    kept = difference.decidable()
    if not len(kept.value):
        return Finding("inconclusive", "too many seeds diverged")
    ratio = mean_over_sizes(kept.batch_size, kept.value)
    return directional(ratio, ratio, claimed=1, delta=delta, what="the mean log ratio")


def _told(result: StratumResult, sweep: Sweep) -> StratumResult:
    """The stratum with how many of its runs are of another kind than the paper's, or have no such number."""
    protocol, note = result.protocol, result.note
    stopped = int(np.sum(sweep.flag == UNREACHED))
    if stopped:
        protocol += f"; {stopped} of {len(sweep.flag)} runs stopped above the target loss: left out"
    missing = int(np.isin(sweep.flag.astype(str), (NOT_CONVERGED, NOT_POSITIVE)).sum())
    if missing:
        note += f"; {missing} of {len(sweep.flag)} eigenvalues left out"
    return replace(result, protocol=protocol, note=note)


def either_reading(rule: Callable[..., Ruling]) -> Callable[..., Ruling]:
    """`rule` once for each reading of M1: where both were run and disagree, the claim is left open."""

    def ruling(strata: tuple[StratumResult, ...]) -> Ruling:
        reached = {}
        for reading in READINGS:
            others = [name for name in READINGS if name != reading]
            mine = [s for s in strata if s.keys.get("model") not in others]
            if any(s.keys.get("model") == reading and s.verdict != "not run" for s in mine):
                reached[reading] = rule(mine)
        found = list(reached.values())
        if len({one.verdict for one in found}) < 2:
            return rule(strata)
        said = "; ".join(f"as {reading}: {one.verdict}" for reading, one in reached.items())
        undecided = next((one for one in found if one.verdict == "inconclusive"), found[0])
        reason = f"The two readings of M1 disagree ({said}). {undecided.reason}"
        return Ruling("inconclusive", reason, undecided.spokesman)

    return ruling
