"""AS: does robustness fall as curvature rises, along each curve and across the settings of a study?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from analysis.claims.claim import Test, describe_protocol
from analysis.claims.evidence import Evidence, curve_keys
from analysis.claims.exceptions import CURVATURE
from analysis.claims.measures import Measure
from analysis.claims.sweeps import Scope, Sweep, sweeps
from analysis.claims.verdict import StratumResult
from analysis.reports.correlation import stratum_taus
from analysis.statistics.correlations import spearman
from analysis.statistics.estimates import Decision
from analysis.statistics.intervals import fisher_z_interval
from analysis.statistics.thresholds import SIGNIFICANCE
from analysis.tables.observations import keyed, observe
from analysis.tables.table import CURVE


def opposed_along_batch_size(attack: Measure, epsilon: float, *, part: str) -> Test:
    """AS on every curve: does robustness fall as lambda1 rises, by exact Kendall tau-b over the batch sizes?

    `attack` is the accuracy under an attack at `epsilon`.
    """

    def strata(evidence: Evidence, scope: Scope, loss: str | None) -> list[StratumResult]:
        asked = _asked(evidence, attack, epsilon, loss)
        taus: dict[tuple[object, ...], dict[str, float]] = {}
        if len(asked):
            seen = observe(keyed(asked), CURVATURE, "sound")
            found = stratum_taus(seen).merge(seen.strata[list(CURVE)], left_on="stratum", right_index=True)
            records = found[["estimate", "low", "high", "p"]].astype(float).to_dict("records")
            taus = dict(zip(curve_keys(found), records, strict=True))  # type: ignore[arg-type]
        results = []
        for sweep in sweeps(evidence, scope, attack, loss):
            base = unjudged(scope, sweep, {"setting": sweep.setting.name, **_question(attack, epsilon, part)})
            short = sweep.sample.shortfall()
            tau = taus.get(tuple(sweep.curve.values()))
            if short:
                results.append(replace(base, verdict=short.verdict, note=short.reason))
            elif tau is None or not np.isfinite(tau["p"]):
                results.append(replace(base, note=f"too few sound cells ({', '.join(sweep.flagged) or 'no lambda1'})"))
            else:
                results.append(_correlation(base, "Kendall's tau", **tau))
        return results

    return strata


def opposed_across_settings(attack: Measure, epsilon: float, *, part: str) -> Test:
    """AS over the cells of all settings and batch sizes of a study: Spearman's rho with Fisher's interval."""

    def strata(evidence: Evidence, scope: Scope, loss: str | None) -> list[StratumResult]:
        asked = _asked(evidence, attack, epsilon, loss)
        studies: dict[tuple[object, ...], list[Sweep]] = {}
        for sweep in sweeps(evidence, scope, attack, loss):
            studies.setdefault(sweep.study, []).append(sweep)
        results = []
        for found in studies.values():
            longest = max(found, key=lambda s: len(s.sample.seed))
            base = unjudged(scope, longest, {"setting": "across settings", **_question(attack, epsilon, part)})
            curves = {tuple(sweep.curve.values()) for sweep in found}
            mine = asked[np.array([key in curves for key in curve_keys(asked)], dtype=bool)]
            mine = mine.assign(x=mine[f"log2_{CURVATURE}"])
            replicated = mine[mine["decidable"]]
            usable = replicated[replicated["sound"] & np.isfinite(replicated["x"].astype(float))]
            rho = spearman(usable["x"], usable["accuracy"])
            low, high = fisher_z_interval(rho.estimate, len(usable), "spearman") if len(usable) > 3 else (np.nan,) * 2
            if np.isfinite(low):
                results.append(_correlation(base, "Spearman's rho", rho.estimate, low, high, rho.p))
            else:
                verdict: Decision = "inconclusive" if len(replicated) > 3 else "not run"
                note = f"{len(usable)} sound cells with 3 seeds; needs 4 that differ"
                results.append(replace(base, verdict=verdict, note=note))
        return results

    return strata


def _correlation(base: StratumResult, name: str, estimate: float, low: float, high: float, p: float) -> StratumResult:
    verdict: Decision = "inconclusive" if p > SIGNIFICANCE else ("supported" if estimate < 0 else "refuted")
    text = f"{name} {estimate:+.2f} (interval {low:+.2f} to {high:+.2f})"
    p_refuted = p if verdict == "refuted" else 1.0
    return replace(
        base, verdict=verdict, effect=estimate, low=low, high=high, p=p, p_refuted=p_refuted, unit="tau", text=text
    )


def _asked(evidence: Evidence, attack: Measure, epsilon: float, loss: str | None) -> pd.DataFrame:
    cells = evidence.cells
    mine = (cells["attack"] == attack.name) & (cells["loss"] == loss) & (cells["split"] == "test")
    return cells[mine & np.isclose(cells["epsilon"].astype(float), epsilon)].reset_index(drop=True)


def _question(attack: Measure, epsilon: float, part: str) -> dict[str, object]:
    return {"measure": f"{attack.name} at {epsilon:g}", "part": part}


def unjudged(scope: Scope, sweep: Sweep, keys: Mapping[str, object]) -> StratumResult:
    """A stratum of `sweep` on which nothing has been said yet."""
    protocol, closeness = describe_protocol(scope, sweep)
    place = {"dataset": sweep.curve["dataset"], "model": sweep.curve["model"]}
    return StratumResult({**place, **keys}, "inconclusive", protocol=protocol, closeness=closeness)
