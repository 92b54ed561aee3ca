"""Tests that read a report of the whole study: sign-errors, correlations and confirmed counterexamples."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from analysis.claims.curves import Curve, Evidence, Key, Measure, Setting, by_study, curve_keys
from analysis.claims.measures import CLEAN, FGSM, LAMBDA1, PGD, in_words, times, with_units
from analysis.claims.pairings import Arms, against, each, each_setting
from analysis.claims.tests import ReportTest, Stratum, Test, alone, on_sound_cells
from analysis.reports.correlation import stratum_taus
from analysis.reports.counterexamples import COUNTEREXAMPLE, REVERSE, counterexample_report
from analysis.reports.environments import sign_errors
from analysis.statistics.association_tests import opposed
from analysis.statistics.correlations import spearman
from analysis.statistics.estimates import (
    ALONG_BATCH_SIZES,
    AT_ONE_SIZE,
    Decision,
    Finding,
    Reach,
    Sample,
    cell_means,
    directional,
)
from analysis.statistics.sample_tests import contrast, paired_difference
from analysis.statistics.thresholds import CHANCE_SIGN_ERROR, MIN_GAP, MIN_RATIO, SIGNIFICANCE
from analysis.tables.cells import cells
from analysis.tables.epsilons import headline_epsilons
from analysis.tables.observations import keyed, observe
from analysis.tables.table import CURVE

CURVATURE = "lambda1_train"
"""Claims on lambda1 are decided on the training Hessian, that of the loss that was minimised."""

PAIR = Reach(2, 1.0)
"""A larger batch size and a smaller one."""


def _asked(evidence: Evidence, loss: str | None, epsilon: Any) -> pd.DataFrame:
    """The cells on the test set at `epsilon` (a number, or one a cell)."""
    found = cells(evidence.table)
    asked = (found["loss"] == loss) & (found["split"] == "test")
    return found[asked & np.isclose(found["epsilon"].astype(float), epsilon)].reset_index(drop=True)


def _left_out(curve: Curve, otherwise: str) -> Stratum:
    return Stratum("inconclusive", f"too few sound cells ({', '.join(curve.flagged) or otherwise})")


# Sign-errors and correlations


def wrong_signs(*, part: str) -> Test:
    """Is the sharper network the more robust one in most pairs of some curve?

    On every curve under FGSM and PGD at the data set's headline epsilon: its sign-error (Dziugaite et al. 2020)
    with the interval of `analysis.reports.environments.sign_errors`. Supported where that lies above chance, refuted
    where below.
    """
    return ReportTest(each, _sign_error, "", alone([FGSM, PGD]), part)


def _sign_error(evidence: Evidence, loss: str | None, curve: Curve) -> Stratum:
    short = curve.sample.shortfall()
    if short:
        return Stratum.of(short)
    errors = evidence.table.once(f"sign-errors, {loss}", lambda: _environments(evidence, loss))
    found = errors.get((*curve.key, curve.measure.name))
    if not found or found["note"] or not ALONG_BATCH_SIZES.met(np.array(found["batch_sizes"].split(), dtype=float)):
        return _left_out(curve, "no λ₁")
    error, low, high = (float(found[name]) for name in ("estimate", "low", "high"))
    wrong = error > CHANCE_SIGN_ERROR
    half = error - low if wrong else high - error  # the other limit may be clipped at 0 or 1
    z = abs(error - CHANCE_SIGN_ERROR) / half * stats.norm.ppf(1 - SIGNIFICANCE / 2) if half > 0 else np.inf
    p = float(2 * stats.norm.sf(z))
    return Stratum(
        "inconclusive" if p > SIGNIFICANCE else ("supported" if wrong else "refuted"),
        f"in {'more' if wrong else 'fewer'} than half of {found['n']} pairs the sharper network is the more robust"
        + (", but not surely" if p > SIGNIFICANCE else ""),
        effect=error,
        low=low,
        high=high,
        p_supported=p,
        p_refuted=1.0 if wrong else p,
        unit="sign-error",
        text=f"sign-error {error:.2f} (interval {low:.2f} to {high:.2f}; .5 is chance)",
    )


def _environments(evidence: Evidence, loss: str | None) -> dict[tuple[object, ...], dict[Any, Any]]:
    """(*curve key, attack) -> its sign-error along the batch size at the headline epsilon."""
    seen = observe(keyed(_asked(evidence, loss, headline_epsilons(evidence.whole, cells(evidence.table)))), CURVATURE)
    if not len(seen.trials):
        return {}
    errors = sign_errors(seen)
    errors = errors[errors["axis"] == "batch_size"].merge(
        seen.strata[[*CURVE, "attack"]], left_on="stratum", right_index=True, suffixes=("_varied", "")
    )
    keys = zip(curve_keys(errors), errors["attack"], strict=True)
    return {(*key, attack): row for (key, attack), row in zip(keys, errors.to_dict("records"), strict=True)}


def opposed_along_batch_size(attack: Measure, epsilon: float, *, part: str) -> Test:
    """Does robustness fall as lambda1 rises on every curve, by exact Kendall tau-b over the batch sizes?

    `attack` is the accuracy under an attack at `epsilon`.
    """

    def pair(curves: list[Curve]) -> Iterator[Arms]:
        for arms in each_setting(curves):
            yield arms._replace(measure=f"{attack.name} at {epsilon:g}")

    return ReportTest(pair, partial(_tau, epsilon=epsilon), "", alone([attack]), part)


def _tau(evidence: Evidence, loss: str | None, curve: Curve, *, epsilon: float) -> Stratum:
    attack = curve.measure.name
    taus = evidence.table.once(f"taus, {attack}, {epsilon}, {loss}", lambda: _taus(evidence, attack, epsilon, loss))
    short, tau = curve.sample.shortfall(), taus.get(curve.key)
    if short:
        return Stratum.of(short)
    if tau is None or not np.isfinite(tau["p"]):
        return _left_out(curve, "no λ₁")
    return _correlation("Kendall's tau", **tau)


def _taus(evidence: Evidence, attack: str, epsilon: float, loss: str | None) -> dict[Key, dict[Any, float]]:
    asked = _asked(evidence, loss, epsilon)
    asked = asked[asked["attack"] == attack].reset_index(drop=True)
    if not len(asked):
        return {}
    seen = observe(keyed(asked), CURVATURE)
    found = stratum_taus(seen).merge(seen.strata[list(CURVE)], left_on="stratum", right_index=True)
    records = found[["estimate", "low", "high", "p"]].astype(float).to_dict("records")
    return dict(zip(curve_keys(found), records, strict=True))


def clean_opposed_along_batch_size(*, part: str) -> Test:
    """The same of clean accuracy, on the means of the curves themselves."""

    def pair(curvature: list[Curve], clean: list[Curve]) -> Iterator[Arms]:
        for sharp, accuracy in zip(each_setting(curvature), each_setting(clean), strict=True):
            yield Arms(accuracy.keys, sharp.curves + accuracy.curves, CLEAN.name)

    return Test(pair, opposed, "tau", [(LAMBDA1, CLEAN)], part, delta=0.0, unit="tau")


def opposed_across_settings(attack: Measure, epsilon: float, *, part: str, clean: bool = False) -> Test:
    """The same over the cells of all settings and batch sizes of a study: Spearman's rho with Fisher's interval.

    `clean`: of the clean accuracy of the networks that were attacked.
    """
    measured = CLEAN.name if clean else f"{attack.name} at {epsilon:g}"

    def pair(curves: list[Curve]) -> Iterator[Arms]:
        for study in by_study(curves):
            yield Arms({"setting": "across settings"}, tuple(study), measured)

    decide = partial(_rho, epsilon=epsilon, accuracy="test_acc" if clean else "accuracy")
    return ReportTest(pair, decide, "", alone([attack]), part)


def _rho(evidence: Evidence, loss: str | None, *study: Curve, epsilon: float, accuracy: str) -> Stratum:
    asked = _asked(evidence, loss, epsilon)
    asked = asked[asked["attack"] == study[0].measure.name].reset_index(drop=True)
    keys = {curve.key for curve in study}
    mine = asked[np.array([key in keys for key in curve_keys(asked)], dtype=bool)]
    replicated = mine[mine["decidable"]]
    curvature = replicated[f"log2_{CURVATURE}"].astype(float)
    usable = np.isfinite(curvature) & (replicated["sound"] if accuracy == "accuracy" else ~replicated["untrained"])
    rho = spearman(curvature[usable], replicated.loc[usable, accuracy])
    if np.isfinite(rho.low):
        return _correlation("Spearman's rho", rho.estimate, rho.low, rho.high, rho.p)
    reason = f"{rho.n} sound cells with 3 seeds; needs 4 that differ"
    return Stratum("inconclusive" if len(replicated) > 3 else "not run", reason)


def _correlation(name: str, estimate: float, low: float, high: float, p: float) -> Stratum:
    verdict: Decision = "inconclusive" if p > SIGNIFICANCE else ("supported" if estimate < 0 else "refuted")
    return Stratum(
        verdict,
        "",
        effect=estimate,
        low=low,
        high=high,
        p_supported=p,
        p_refuted=p if verdict == "refuted" else 1.0,
        unit="tau",
        text=f"{name} {estimate:+.2f} (interval {low:+.2f} to {high:+.2f})",
    )


# Counterexamples


def counterexamples(*, part: str, every_epsilon: bool = False, measures: tuple[Measure, ...] = (FGSM, PGD)) -> Test:
    """Is there a confirmed pair of cells of which the sharper one is the more robust?

    One stratum a data set, model and protocol, at the headline epsilon or, for a claim that names none, at every
    epsilon that was run; whether enough was run is read from `measures`, accuracies under attack. Confirmed as in
    `analysis.reports.counterexamples`, whose false discovery rate is that of the whole table, epsilons included.
    """

    def pair(*curves: list[Curve]) -> Iterator[Arms]:
        for study in by_study(curve for found in curves for curve in found):
            yield Arms({}, tuple(study), "")

    return ReportTest(pair, partial(_confirmed, every_epsilon=every_epsilon), "", [measures], part, whole=True)


def _confirmed(evidence: Evidence, loss: str | None, *study: Curve, every_epsilon: bool) -> Stratum:
    shortfalls = [short for curve in study if (short := curve.sample.shortfall())]
    if len(shortfalls) == len(study):
        return Stratum.of(shortfalls[0])
    name = f"counterexamples, {loss}, {'every epsilon' if every_epsilon else 'headline epsilon'}"
    pairs = evidence.table.once(name, lambda: _pairs(evidence, loss, every_epsilon))
    mine = {(*curve.key, curve.measure.name) for curve in study}
    pairs = pairs[np.array([key in mine for key in pairs["curve"]], dtype=bool)]
    confirmed = pairs[pairs["label"] == "confirmed"]
    if not len(confirmed):
        text = f"none of {len(pairs)} candidate pairs is confirmed" if len(pairs) else "no candidate pair"
        return Stratum("inconclusive", "no pair of batch sizes is confirmed", text=text)
    best = confirmed.iloc[0]
    gap = 100 * float(best["accuracy_gap"])
    text = (
        f"{best['regime']}, {best['attack']} at {best['epsilon']:g}: batch {best['batch_j']:.0f} has λ₁ "
        f"{times(best['lambda1_ratio'])} and {gap:+.1f} points over batch {best['batch_i']:.0f}"
        + (f" ({best['note']})" if best["note"] else "")
    )
    reason, q = f"{len(confirmed)} pairs of batch sizes are confirmed", float(confirmed["q"].min())
    return Stratum("supported", reason, effect=gap, p_supported=q, unit="points", text=text, looks_allowed=True)


def _pairs(evidence: Evidence, loss: str | None, every_epsilon: bool) -> pd.DataFrame:
    """Confirmed and candidate pairs, the most severe first, with the column `curve`: (*curve key, attack)."""
    found = counterexample_report(evidence.whole).found
    asked = (found["loss"] == loss) & (found["split"] == "test") & found["label"].isin(["confirmed", "candidate"])
    asked &= (found["curvature"] == CURVATURE) & (found["direction"] == COUNTEREXAMPLE)
    if not every_epsilon:
        asked &= np.isclose(found["epsilon"].astype(float), headline_epsilons(evidence.whole, found))
    pairs = found[asked].sort_values("severity", ascending=False)
    keys = [(*key, attack) for key, attack in zip(curve_keys(pairs), pairs["attack"], strict=True)]
    return pairs.assign(curve=pd.Series(keys, index=pairs.index, dtype=object))


def sharper_yet_more_robust(flat: Setting, sharp: Setting, *attacks: Measure, at: int, part: str) -> Test:
    """Is `sharp` both sharper and more robust than `flat` at batch size `at`?

    Both differences by paired contrast with the least sizes of a counterexample (x1.25 and a point); p is the
    larger of the two (intersection-union).
    """

    def pair(eigenvalues: list[Curve], robust: list[Curve]) -> Iterator[Arms]:
        for sharpness, accuracy in zip(against(flat, sharp)(eigenvalues), against(flat, sharp)(robust), strict=True):
            yield Arms(accuracy.keys, accuracy.curves + sharpness.curves)

    measures = [(LAMBDA1, attack) for attack in attacks]
    return ReportTest(pair, _both_rise, "", measures, part, (flat, sharp), at=(at,))


def _both_rise(evidence: Evidence, loss: str | None, *arms: Curve) -> Stratum:
    more = on_sound_cells(partial(_rise, delta=100 * MIN_GAP), *arms[:2])
    sharper = on_sound_cells(partial(_rise, delta=float(np.log2(MIN_RATIO))), *arms[2:])
    verdicts = {sharper.verdict, more.verdict}
    verdict: Decision = next((v for v in ("not run", "refuted", "inconclusive") if v in verdicts), "supported")
    refutations = [f.p_refuted for f in (sharper, more) if f.verdict == "refuted"]
    p_refuted = min(1.0, 2 * min(refutations)) if refutations else max(sharper.p_refuted, more.p_refuted)
    if verdict == "refuted" and p_refuted > SIGNIFICANCE:
        verdict = "inconclusive"
    text = f"λ₁ {in_words(sharper.effect, 'doublings')}, accuracy {more.effect:+.1f} points"
    return Stratum(
        verdict,
        f"λ₁: {with_units(sharper.reason, 'doublings')}; accuracy: {with_units(more.reason, 'points')}",
        effect=more.effect,
        low=more.low,
        high=more.high,
        p_supported=max(sharper.p_supported, more.p_supported),
        p_refuted=p_refuted,
        unit="points",
        text=text if np.isfinite(more.effect) and np.isfinite(sharper.effect) else "not measured",
    )


def _rise(one: Sample, two: Sample, *, delta: float) -> Finding:
    return contrast(paired_difference(one, two), claimed=1, delta=delta, reach=AT_ONE_SIZE)


def flatter_yet_less_robust(batch_size: int, *attacks: Measure) -> Test:
    """Is the network of `batch_size` flatter and yet less robust than one of a smaller batch, on every curve?

    Supported by a confirmed reverse pair of the counterexample report. Refuted where every smaller batch size
    contradicts it: lambda1 or accuracy rises, by p twice the smaller of the two. By direction alone: Choudhary's Table
    2 prints an accuracy that is lower by .7 points.
    """

    def pair(eigenvalues: list[Curve], robust: list[Curve]) -> Iterator[Arms]:
        for curvature, accuracy in zip(each_setting(eigenvalues), each_setting(robust), strict=True):
            yield Arms(accuracy.keys, accuracy.curves + curvature.curves)

    decide = partial(_reverse, batch_size=batch_size)
    return ReportTest(pair, decide, "", [(LAMBDA1, attack) for attack in attacks])


def _reverse(evidence: Evidence, loss: str | None, robust: Curve, curvature: Curve, *, batch_size: int) -> Stratum:
    for curve in (robust, curvature):
        short = _without_pair(curve.sample, batch_size)
        if short:
            return Stratum.of(short)
        if _without_pair(curve.sound(), batch_size):
            return _left_out(curve, "")
    found = counterexample_report(evidence.whole).found
    mine = (found["direction"] == REVERSE) & (found["curvature"] == CURVATURE) & (found["label"] == "confirmed")
    mine &= (found["loss"] == loss) & (found["split"] == "test") & (found["attack"] == robust.measure.name)
    pairs = found[mine & (found["batch_j"] == batch_size)]
    pairs = pairs[np.array([key == robust.key for key in curve_keys(pairs)], dtype=bool)]
    if len(pairs):
        best = pairs.sort_values("severity", ascending=False).iloc[0]
        gap = 100 * float(best["accuracy_gap"])
        text = f"batch {batch_size} has λ₁ {times(best['lambda1_ratio'])} and {gap:+.1f} points"
        text += f" over batch {best['batch_i']:.0f}"
        reason = f"{len(pairs)} pairs of batch sizes are confirmed"
        q = float(pairs["q"].min())
        return Stratum("supported", reason, effect=gap, p_supported=q, unit="points", text=text, looks_allowed=True)
    less, lower = _falls(robust, batch_size), _falls(curvature, batch_size)
    common = sorted(less.keys() & lower.keys())
    p = max((min(1.0, 2 * min(less[size].p_refuted, lower[size].p_refuted)) for size in common), default=1.0)
    if p <= SIGNIFICANCE:
        return Stratum("refuted", "at no smaller batch size is it so", p_supported=p, p_refuted=p, unit="points")
    return Stratum("inconclusive", "no pair of batch sizes is confirmed", p_refuted=p)


def _without_pair(sample: Sample, batch_size: int) -> Finding | None:
    """Why `batch_size` cannot be compared with a smaller one; None where it can."""
    up_to = sample.where(sample.batch_size <= batch_size)
    short = up_to.where(up_to.batch_size == batch_size).shortfall(AT_ONE_SIZE)
    return short or up_to.shortfall(PAIR)


def _falls(curve: Curve, batch_size: int) -> dict[float, Finding]:
    """Does the measure fall from each smaller batch size to `batch_size`?"""
    kept = curve.sound().decidable
    value, linear = (cell_means(kept.batch_size, values) for values in (kept.value, kept.linear))
    last = int(np.flatnonzero(value.size == batch_size)[0])
    return {
        float(value.size[k]): directional(
            *(means.at(last).less(means.at(k)) for means in (value, linear)),
            claimed=-1,
            delta=0.0,
            what="the difference",
        )
        for k in range(last)
    }
