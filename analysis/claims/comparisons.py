"""Verdicts against something outside the curve: another paper's printed numbers, or another attack's verdict."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from analysis.claims.claim import Test, stratum
from analysis.claims.evidence import Evidence
from analysis.claims.measures import Measure, robust_accuracy
from analysis.claims.sweeps import Scope, guarded, sweeps
from analysis.claims.verdict import StratumResult
from analysis.published import published
from analysis.statistics.estimates import Decision, Finding, Sample
from analysis.statistics.sample_tests import no_difference

YAO_TABLES = {("mnist", "m1_20"): ("Yao-T7", "M1"), ("cifar10", "c1"): ("Yao-T1", "C1")}
"""Our data set and model -> where Yao et al. 2018 (arXiv:1802.08241) print the networks of these names. The
natural-training paper's M1 has 20 and 20 feature maps (its Table 1)."""

YAO_EPSILON = {"mnist": 0.2, "cifar10": 0.02}
"""The largest epsilon of Yao et al., Tables 7 and 1; for MNIST not that of the natural-training paper, .3."""

YAO_PROTOCOL = (
    "Yao's tables stop at a training loss under a constant learning rate; the benchmark is the schedule of its "
    "section 3.3"
)

_METRICS: dict[str, tuple[str, str]] = {
    "clean": ("clean_acc", "test"),
    "lambda1": ("lambda1_theta", "train"),
    "fgsm": ("fgsm_acc", "test"),
}


def agrees_with_yao(measure: Measure, *, part: str) -> Test:
    """Does `measure` equal the printed value within +-delta at every batch size in common?"""
    return _against_yao(measure, part=part, differs=False)


def differs_from_yao(attack: str, *, part: str) -> Test:
    """Does accuracy under `attack` differ from the printed one by more than delta at some batch size in
    common?
    """
    return _against_yao(robust_accuracy(attack, YAO_EPSILON), part=part, differs=True)


def _against_yao(measure: Measure, *, part: str, differs: bool) -> Test:
    def strata(evidence: Evidence, scope: Scope, loss: str | None) -> list[StratumResult]:
        results = []
        for sweep in sweeps(evidence, scope, measure, loss):
            place = (str(sweep.curve["dataset"]), str(sweep.curve["model"]))
            if place not in YAO_TABLES:
                continue
            printed = _printed(*YAO_TABLES[place], measure, place[0])
            delta = measure.delta(place[0])

            def test(sample: Sample, printed: pd.Series = printed, delta: float = delta) -> Finding:
                found = no_difference(_less(sample, printed), delta=delta)
                return _opposite(found) if differs else found

            keys = {"regime": sweep.curve["regime"], "measure": measure.name, "part": part}
            result = stratum(scope, sweep, keys, guarded(test, sweep), "largest difference from Yao")
            results.append(replace(result, note=f"{result.note}; {YAO_PROTOCOL}"))
        return results

    return strata


def _printed(table: str, model: str, measure: Measure, dataset: str) -> pd.Series:
    """Printed values by batch size, in the unit of `measure`."""
    metric, split = _METRICS[measure.name]
    rows = published()
    rows = rows[(rows["table"] == table) & (rows["model"] == model) & (rows["metric"] == metric)]
    rows = rows[(rows["split"] == split) & (rows["variant"] == "natural")]
    if measure.attacked:
        rows = rows[np.isclose(rows["eps"].astype(float), YAO_EPSILON[dataset])]
    values = rows["value_std"].astype(float)
    if measure.unit == "doublings":
        values = pd.Series(np.log2(values), index=rows.index)
    return values.set_axis(rows["batch_size"].astype(float))


def _less(sample: Sample, printed: pd.Series) -> Sample:
    """The measurements at the printed batch sizes, less the printed values."""
    common = sample.where(np.isin(sample.batch_size, printed.index.to_numpy(dtype=float)))
    return Sample.of(
        common.batch_size, common.seed, common.value - printed.reindex(common.batch_size.tolist()).to_numpy(dtype=float)
    )


_OPPOSITE: dict[Decision, Decision] = {"supported": "refuted", "refuted": "supported"}


def _opposite(found: Finding) -> Finding:
    return replace(
        found,
        verdict=_OPPOSITE.get(found.verdict, found.verdict),
        p_supported=found.p_refuted,
        p_refuted=found.p_supported,
    )


def same_verdicts(test: Test) -> Test:
    """Do the strata of `test` that differ only in their measure (two attacks) reach the same verdict?

    Undecided where either is. A disagreement is as sure as the less sure of the two verdicts.
    """

    def strata(evidence: Evidence, scope: Scope, loss: str | None) -> list[StratumResult]:
        together: dict[tuple[object, ...], list[StratumResult]] = {}
        for result in test(evidence, scope, loss):
            keys = (*((k, v) for k, v in result.keys.items() if k != "measure"), result.protocol)
            together.setdefault(keys, []).append(result)
        return [_agreement(results) for results in together.values()]

    return strata


def _agreement(results: list[StratumResult]) -> StratumResult:
    verdicts = {str(r.keys["measure"]): r.verdict for r in results}
    text = ", ".join(f"{measure}: {verdict}" for measure, verdict in verdicts.items())
    verdict: Decision = "supported" if len(set(verdicts.values())) == 1 else "refuted"
    if len(results) < 2 or "not run" in verdicts.values():
        verdict = "not run"
    elif "inconclusive" in verdicts.values():
        verdict = "inconclusive"
    decided = verdict in ("supported", "refuted")
    p = max(r.p for r in results) if decided else float("nan")
    return StratumResult(
        keys={**results[0].keys, "measure": " and ".join(verdicts)},
        verdict=verdict,
        p=p,
        p_refuted=p if verdict == "refuted" else (1.0 if decided else float("nan")),
        unit="agreement",
        text=text,
        note=text,
        protocol=results[0].protocol,
        closeness=results[0].closeness,
    )
