"""Where curvature and robustness rise together: sign-error environments and confirmed counterexamples."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from analysis.claims.claim import Test, describe_protocol
from analysis.claims.evidence import Evidence, curve_keys
from analysis.claims.measures import FGSM, PGD, Measure
from analysis.claims.sweeps import Scope, Sweep, sweeps
from analysis.claims.verdict import StratumResult
from analysis.reports.counterexamples import COUNTEREXAMPLE
from analysis.reports.environments import sign_errors
from analysis.statistics.estimates import Decision
from analysis.statistics.thresholds import FALSE_DISCOVERY_RATE, MIN_BATCH_SIZES, MIN_SPAN, SIGNIFICANCE
from analysis.tables.observations import keyed, observe
from analysis.tables.table import CURVE
from search_spaces import HEADLINE_EPSILON

CURVATURE = "lambda1_train"
"""Claims on lambda1 are decided on the training Hessian, that of the loss that was minimised."""

CHANCE = 0.5
"""Sign-error of an ordering by lot."""


def wrong_signs(*, part: str) -> Test:
    """Is the sharper network the more robust one in most pairs of some curve?

    One stratum a curve and attack at the data set's headline epsilon: its sign-error (Dziugaite et al. 2020)
    with the interval of `analysis.reports.environments.sign_errors`. Supported where that lies above chance, refuted
    where below.
    """

    def strata(evidence: Evidence, scope: Scope, loss: str | None) -> list[StratumResult]:
        found = _environments(evidence, loss)
        results = []
        for measure in (FGSM, PGD):
            for sweep in sweeps(evidence, scope, measure, loss):
                keys = _curve_keys(sweep) | {"part": part}
                protocol, closeness = describe_protocol(scope, sweep)
                base = StratumResult(keys, "not run", protocol=protocol, closeness=closeness)
                results.append(_sign_error(base, found.get((*sweep.curve.values(), measure.name)), sweep))
        return results

    return strata


def _environments(evidence: Evidence, loss: str | None) -> dict[tuple[object, ...], dict[Any, Any]]:
    """(*curve key, attack) -> its sign-error along the batch size at the headline epsilon."""
    cells = evidence.cells
    headline = cells["dataset"].map(HEADLINE_EPSILON).astype(float)
    asked = (cells["loss"] == loss) & (cells["split"] == "test")
    asked &= np.isclose(cells["epsilon"].astype(float), headline)
    seen = observe(keyed(cells[asked].reset_index(drop=True)), CURVATURE, "sound")
    if not len(seen.trials):
        return {}
    errors = sign_errors(seen)
    errors = errors[errors["axis"] == "batch_size"].merge(
        seen.strata[[*CURVE, "attack"]], left_on="stratum", right_index=True, suffixes=("_varied", "")
    )
    keys = zip(curve_keys(errors), errors["attack"], strict=True)
    return {(*key, attack): row for (key, attack), row in zip(keys, errors.to_dict("records"), strict=True)}


def _sign_error(base: StratumResult, found: dict[Any, Any] | None, sweep: Sweep) -> StratumResult:
    short = sweep.sample.shortfall()
    if short:
        return replace(base, verdict=short.verdict, note=short.reason)
    sizes = [float(size) for size in found["batch_sizes"].split()] if found else []
    if not found or found["note"] or len(sizes) < MIN_BATCH_SIZES or max(sizes) < MIN_SPAN * min(sizes):
        flagged = ", ".join(sweep.flagged) or "lambda1 missing"
        return replace(base, verdict="inconclusive", note=f"too few sound cells ({flagged})")
    error, low, high = (float(found[name]) for name in ("estimate", "low", "high"))
    half = error - low if error > CHANCE else high - error  # the other limit may be clipped at 0 or 1
    p = float(2 * stats.norm.sf(abs(error - CHANCE) / half * stats.norm.ppf(0.975))) if half > 0 else 0.0
    wrong = error > CHANCE
    verdict: Decision = "inconclusive" if p > SIGNIFICANCE else ("supported" if wrong else "refuted")
    return replace(
        base,
        verdict=verdict,
        effect=error,
        low=low,
        high=high,
        p=p,
        p_refuted=1.0 if wrong else p,
        unit="sign-error",
        text=f"sign-error {error:.2f} (interval {low:.2f} to {high:.2f}; .5 is chance)",
        note=f"{found['n']} pairs",
    )


def counterexamples(*, part: str, every_epsilon: bool = False, measures: tuple[Measure, ...] = (FGSM, PGD)) -> Test:
    """CE: is there a confirmed pair of cells of which the sharper one is the more robust?

    One stratum a data set, model and protocol, at the headline epsilon or, for a claim that names none, at every
    epsilon that was run; whether enough was run is read from `measures`, accuracies under attack. Confirmed as in
    `analysis.reports.counterexamples`, whose false discovery rate is that of the whole table, epsilons included.
    """

    def strata(evidence: Evidence, scope: Scope, loss: str | None) -> list[StratumResult]:
        studies: dict[tuple[object, ...], list[Sweep]] = {}
        for measure in measures:
            for sweep in sweeps(evidence, scope, measure, loss):
                studies.setdefault(sweep.study, []).append(sweep)
        return [_confirmed(evidence, scope, curves, loss, part, every_epsilon) for curves in studies.values()]

    return strata


def _confirmed(
    evidence: Evidence, scope: Scope, curves: list[Sweep], loss: str | None, part: str, every_epsilon: bool
) -> StratumResult:
    protocol, closeness = max(
        (describe_protocol(scope, curve) for curve in curves if len(curve.sample.value)),
        default=describe_protocol(scope, curves[0]),
    )
    keys = {"dataset": curves[0].curve["dataset"], "model": curves[0].curve["model"], "part": part}
    base = StratumResult(keys, "inconclusive", protocol=protocol, closeness=closeness)
    shortfalls = [short for curve in curves if (short := curve.sample.shortfall())]
    if len(shortfalls) == len(curves):
        return replace(base, verdict=shortfalls[0].verdict, note=shortfalls[0].reason)
    name = f"counterexamples, {loss}, {'every epsilon' if every_epsilon else 'headline epsilon'}"
    pairs = evidence.table.once(name, lambda: _pairs(evidence, loss, every_epsilon))
    mine = {(*curve.curve.values(), curve.measure.name) for curve in curves}
    pairs = pairs[np.array([key in mine for key in pairs["curve"]], dtype=bool)]
    confirmed = pairs[pairs["label"] == "confirmed"]
    if not len(confirmed):
        text = f"none of {len(pairs)} candidate pairs is confirmed" if len(pairs) else "no candidate pair"
        return replace(base, text=text, note=f"no confirmed pair (q <= {FALSE_DISCOVERY_RATE:g})")
    best = confirmed.iloc[0]
    gap = 100 * float(best["accuracy_gap"])
    return replace(
        base,
        verdict="supported",
        effect=gap,
        p=float(best["q"]),
        unit="points",
        text=(
            f"{best['regime']}, {best['attack']} at {best['epsilon']:g}: batch {best['batch_j']:.0f} has lambda1 "
            f"x{best['lambda1_ratio']:.2g} and {gap:+.1f} points over batch {best['batch_i']:.0f}"
            + (f" ({best['note']})" if best["note"] else "")
        ),
        note=f"{len(confirmed)} confirmed pairs",
    )


def _pairs(evidence: Evidence, loss: str | None, every_epsilon: bool) -> pd.DataFrame:
    """Confirmed and candidate pairs, the most severe first, with the column `curve`: (*curve key, attack)."""
    found = evidence.counterexamples.found
    asked = (found["loss"] == loss) & (found["split"] == "test") & found["label"].isin(["confirmed", "candidate"])
    asked &= (found["curvature"] == CURVATURE) & (found["direction"] == COUNTEREXAMPLE)
    if not every_epsilon:
        headline = found["dataset"].map(HEADLINE_EPSILON).astype(float)
        asked &= np.isclose(found["epsilon"].astype(float), headline)
    pairs = found[asked].sort_values("severity", ascending=False)
    keys = [(*key, attack) for key, attack in zip(curve_keys(pairs), pairs["attack"], strict=True)]
    return pairs.assign(curve=pd.Series(keys, index=pairs.index, dtype=object))


def _curve_keys(sweep: Sweep) -> dict[str, object]:
    return {
        "dataset": sweep.curve["dataset"],
        "model": sweep.curve["model"],
        "regime": sweep.curve["regime"],
        "momentum": f"momentum {sweep.curve['momentum']:g}",
        "measure": sweep.measure.name,
    }
