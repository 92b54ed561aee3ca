"""CE: a sharper and yet more robust setting at equal batch, and a flatter and yet less robust larger batch."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from analysis.claims.claim import Test
from analysis.claims.evidence import Evidence, curve_keys
from analysis.claims.exceptions import CURVATURE
from analysis.claims.measures import LAMBDA1, Measure
from analysis.claims.opposition import unjudged
from analysis.claims.sweeps import Scope, Setting, Sweep, arms, guarded, sweeps
from analysis.claims.verdict import StratumResult
from analysis.reports.counterexamples import REVERSE
from analysis.statistics.estimates import AT_ONE_SIZE, Decision, Finding, Reach, Sample, cell_means, directional
from analysis.statistics.sample_tests import contrast, paired_difference
from analysis.statistics.thresholds import MIN_GAP, MIN_RATIO, SIGNIFICANCE

PAIR = Reach(2, 1.0)
"""A larger batch size and a smaller one."""


def sharper_yet_more_robust(flat: Setting, sharp: Setting, *attacks: Measure, at: int, part: str) -> Test:
    """Is `sharp` both sharper and more robust than `flat` at batch size `at`?

    Both differences by paired contrast with the least sizes of a counterexample (x1.25 and a point); p is the
    larger of the two (intersection-union).
    """

    def strata(evidence: Evidence, scope: Scope, loss: str | None) -> list[StratumResult]:
        curvature = [
            tuple(arm.at((at,)) for arm in pair) for pair in arms(evidence, scope, LAMBDA1, loss, (flat, sharp))
        ]
        results = []
        for attack in attacks:
            robust = arms(evidence, scope, attack, loss, (flat, sharp))
            for pair, eigenvalues in zip(robust, curvature, strict=True):
                first, second = (arm.at((at,)) for arm in pair)
                more = guarded(partial(_rise, delta=100 * MIN_GAP), first, second).finding
                sharper = guarded(partial(_rise, delta=float(np.log2(MIN_RATIO))), *eigenvalues).finding
                keys = {"setting": f"{sharp.name} against {flat.name}", "measure": attack.name, "part": part}
                base = unjudged(scope, max(first, second, key=lambda arm: len(arm.sample.seed)), keys)
                results.append(_both(base, sharper, more))
        return results

    return strata


def _rise(one: Sample, two: Sample, *, delta: float) -> Finding:
    return contrast(paired_difference(one, two), claimed=1, delta=delta, reach=AT_ONE_SIZE)


def _both(base: StratumResult, sharper: Finding, more: Finding) -> StratumResult:
    verdicts = (sharper.verdict, more.verdict)
    verdict: Decision = "inconclusive"
    if "not run" in verdicts:
        verdict = "not run"
    elif "refuted" in verdicts:
        verdict = "refuted"
    elif set(verdicts) == {"supported"}:
        verdict = "supported"
    refutations = [f.p_refuted for f in (sharper, more) if f.verdict == "refuted"]
    p_refuted = min(1.0, 2 * min(refutations)) if refutations else max(sharper.p_refuted, more.p_refuted)
    if verdict == "refuted" and p_refuted > SIGNIFICANCE:
        verdict = "inconclusive"
    text = f"lambda1 {LAMBDA1.words(sharper.effect)}, accuracy {more.effect:+.1f} points"
    return replace(
        base,
        verdict=verdict,
        effect=more.effect,
        low=more.low,
        high=more.high,
        p=p_refuted if verdict == "refuted" else max(sharper.p_supported, more.p_supported),
        p_refuted=p_refuted,
        unit="points",
        text=text if np.isfinite(more.effect) and np.isfinite(sharper.effect) else "not measured",
        note=f"lambda1: {sharper.reason}; accuracy: {more.reason}",
    )


def flatter_yet_less_robust(batch_size: int, *attacks: Measure) -> Test:
    """CE, reversed: is the network of `batch_size` flatter and yet less robust than one of a smaller batch?

    One stratum a curve and attack. Supported by a confirmed reverse pair of the counterexample report. Refuted where
    every smaller batch size contradicts it: lambda1 or accuracy does not fall, by p twice the smaller of the two.
    """

    def strata(evidence: Evidence, scope: Scope, loss: str | None) -> list[StratumResult]:
        eigenvalues = {tuple(s.curve.values()): s for s in sweeps(evidence, scope, LAMBDA1, loss)}
        results = []
        for attack in attacks:
            for sweep in sweeps(evidence, scope, attack, loss):
                keys = {"setting": sweep.setting.name, "measure": attack.name}
                base = unjudged(scope, sweep, keys)
                curvature = eigenvalues[tuple(sweep.curve.values())]
                results.append(_reverse(evidence, base, sweep, curvature, batch_size, loss))
        return results

    return strata


def _reverse(
    evidence: Evidence, base: StratumResult, robust: Sweep, curvature: Sweep, batch_size: int, loss: str | None
) -> StratumResult:
    for sweep in (robust, curvature):
        short = _without_pair(sweep.sample, batch_size)
        if short:
            return replace(base, verdict=short.verdict, note=short.reason)
        if _without_pair(sweep.sound(), batch_size):
            return replace(base, note=f"too few sound cells ({', '.join(sweep.flagged)})")
    found = evidence.counterexamples.found
    mine = (found["direction"] == REVERSE) & (found["curvature"] == CURVATURE) & (found["label"] == "confirmed")
    mine &= (found["loss"] == loss) & (found["split"] == "test") & (found["attack"] == robust.measure.name)
    pairs = found[mine & (found["batch_j"] == batch_size)]
    pairs = pairs[np.array([key == tuple(robust.curve.values()) for key in curve_keys(pairs)], dtype=bool)]
    if len(pairs):
        best = pairs.sort_values("severity", ascending=False).iloc[0]
        gap = 100 * float(best["accuracy_gap"])
        text = f"batch {batch_size} has lambda1 x{best['lambda1_ratio']:.2g} and {gap:+.1f} points"
        text += f" over batch {best['batch_i']:.0f}"
        note = f"{len(pairs)} confirmed reverse pairs"
        return replace(base, verdict="supported", effect=gap, p=float(best["q"]), unit="points", text=text, note=note)
    less, lower = _falls(robust, batch_size), _falls(curvature, batch_size)
    common = sorted(less.keys() & lower.keys())
    p = max((min(1.0, 2 * min(less[size].p_refuted, lower[size].p_refuted)) for size in common), default=1.0)
    if p <= SIGNIFICANCE:
        note = "at no smaller batch size is it so"
        return replace(base, verdict="refuted", p=p, p_refuted=p, unit="points", note=note)
    return replace(base, note="no confirmed reverse pair", p_refuted=p)


def _without_pair(sample: Sample, batch_size: int) -> Finding | None:
    """Why `batch_size` cannot be held against a smaller one; None where it can."""
    up_to = sample.where(sample.batch_size <= batch_size)
    short = up_to.where(up_to.batch_size == batch_size).shortfall(AT_ONE_SIZE)
    return short or up_to.shortfall(PAIR)


def _falls(sweep: Sweep, batch_size: int) -> dict[float, Finding]:
    """Does the measure fall by delta from each smaller batch size to `batch_size`?"""
    delta = sweep.measure.delta(str(sweep.curve["dataset"]))
    kept = sweep.sound().decidable()
    value, linear = (cell_means(kept.batch_size, values) for values in (kept.value, kept.linear))
    last = int(np.flatnonzero(value.size == batch_size)[0])
    return {
        float(value.size[k]): directional(
            *(cells.at(last).less(cells.at(k)) for cells in (value, linear)),
            claimed=-1,
            delta=delta,
            what="the difference",
        )
        for k in range(last)
    }
