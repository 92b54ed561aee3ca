"""Tests of curvature against robustness: sign-errors, correlations and confirmed counterexamples."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import chain

import numpy as np
import pandas as pd

from analysis.claims.claim_tests import ClaimTest, ReportTest, on_sound_cells
from analysis.claims.curves import Curve, Evidence, Measure, Setting, by_study, curve_keys
from analysis.claims.measures import FGSM, LAMBDA1, PGD, in_words, times, with_units
from analysis.claims.pairings import Arms, against, each, each_setting
from analysis.claims.stratum import Stratum
from analysis.reports.counterexamples import COUNTEREXAMPLE, counterexample_report
from analysis.statistics.association_tests import fall_together, opposed, opposed_over_cells, sharper_more_robust
from analysis.statistics.estimates import AT_ONE_SIZE, Decision, Finding, Sample
from analysis.statistics.sample_tests import contrast, paired_difference
from analysis.statistics.thresholds import MIN_GAP, MIN_RATIO, SIGNIFICANCE
from analysis.tables.epsilons import headline_epsilons
from analysis.tables.table import CURVE

CURVATURE = "lambda1_train"
"""Claims on lambda1 are decided on the training Hessian, that of the loss that was minimised."""


# Sign-errors and correlations


def wrong_signs(*, part: str) -> ClaimTest:
    """Is the sharper network the more robust one in most pairs of some curve?

    On every curve under FGSM and PGD at the data set's headline epsilon, by `sharper_more_robust`.
    """
    measures = [(attack, LAMBDA1) for attack in (FGSM, PGD)]
    return ClaimTest(each, sharper_more_robust, "sign-error (0.5 is chance)", measures, part, delta=0.0, unit="share")


def opposed_along_batch_size(accuracy: Measure, epsilon: float | None = None, *, part: str) -> ClaimTest:
    """Does `accuracy` (under an attack at `epsilon`) fall as lambda1 rises on every curve, by Kendall's tau-b?"""

    def pair(*measured: list[Curve]) -> Iterator[Arms]:
        for arms in each_setting(*measured):
            yield arms._replace(measure=_named(accuracy, epsilon))

    return ClaimTest(pair, opposed, "Kendall's tau", [(accuracy, LAMBDA1)], part, delta=0.0, unit="tau")


def opposed_across_settings(accuracy: Measure, epsilon: float | None = None, *, part: str) -> ClaimTest:
    """The same over the cells of all settings and batch sizes of a study: Spearman's rho."""

    def pair(*measured: list[Curve]) -> Iterator[Arms]:
        for studies in zip(*map(by_study, measured), strict=True):
            yield Arms({"setting": "across settings"}, tuple(chain(*studies)), _named(accuracy, epsilon))

    return ClaimTest(pair, opposed_over_cells, "Spearman's rho", [(accuracy, LAMBDA1)], part, delta=0.0, unit="tau")


def _named(accuracy: Measure, epsilon: float | None) -> str:
    return accuracy.name if epsilon is None else f"{accuracy.name} at {epsilon:g}"


# Counterexamples


def counterexamples(
    *, part: str, every_epsilon: bool = False, measures: tuple[Measure, ...] = (FGSM, PGD)
) -> ClaimTest:
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
    count = len(confirmed.drop_duplicates([*CURVE, "batch_i", "batch_j"]))  # each once for each attack and epsilon
    reason = f"{count} pair{'s' if count > 1 else ''} of batch sizes {'are' if count > 1 else 'is'} confirmed"
    q = float(confirmed["q"].min())
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


def sharper_yet_more_robust(flat: Setting, sharp: Setting, *attacks: Measure, at: int, part: str) -> ClaimTest:
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


def flatter_yet_less_robust(smaller: int, larger: int, *attacks: Measure) -> ClaimTest:
    """Is the network of batch size `larger` flatter and yet less robust than that of `smaller`, on every curve?

    By direction alone: Choudhary's Table 2 prints an accuracy that is lower by .7 points.
    """

    def pair(curvature: list[Curve], accuracy: list[Curve]) -> Iterator[Arms]:
        for arms in each_setting(curvature, accuracy):
            details = {"batch": f"batch {larger} against {smaller}"}
            yield arms._replace(measure=arms.curves[1].measure.name, details=details)

    label, measures = f"accuracy of batch {larger} less that of {smaller}", [(LAMBDA1, attack) for attack in attacks]
    return ClaimTest(pair, fall_together, label, measures, at=(smaller, larger), delta=0.0, unit="points")
