"""Our curves against the numbers that another paper prints (claim A16)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from analysis.claims.claim_tests import ClaimTest, ReportTest, alone, on_sound_cells, within, worded
from analysis.claims.curves import Curve, Evidence, Measure
from analysis.claims.measures import robust_accuracy
from analysis.claims.pairings import Arms
from analysis.claims.stratum import Stratum
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

_METRICS = {"clean": ("clean_acc", "test"), "lambda1": ("lambda1_theta", "train"), "fgsm": ("fgsm_acc", "test")}


def agrees_with_yao(measure: Measure, *, part: str) -> ClaimTest:
    """Does `measure` equal the printed value within +-delta at every batch size in common?

    By the prediction interval of one more run: the printed value is one run of the paper's.
    """
    return ReportTest(_printed_curves, _against_print, "", alone([measure]), part, note=YAO_PROTOCOL, margin=within)


def differs_from_yao(attack: str, *, part: str) -> ClaimTest:
    """Does accuracy under `attack` differ from the printed one by more than delta at some batch size in common?"""
    measure = robust_accuracy(attack, YAO_EPSILON)
    decide = partial(_against_print, opposite=True)
    return ReportTest(_printed_curves, decide, "", alone([measure]), part, note=YAO_PROTOCOL)


def _printed_curves(curves: list[Curve]) -> Iterator[Arms]:
    for curve in curves:
        if (curve.dataset, curve.model) in YAO_TABLES:
            yield Arms({"regime": curve.keys["regime"]}, (curve,))


def _against_print(evidence: Evidence, loss: str | None, curve: Curve, *, opposite: bool = False) -> Stratum:
    printed, delta = _printed(curve), curve.measure.delta(curve.dataset)

    def decide(sample: Sample) -> Finding:
        common = sample.where(np.isin(sample.batch_size, list(printed)))
        expected = np.array([printed[size] for size in common.batch_size.tolist()])
        difference = Sample.of(common.batch_size, common.seed, common.value - expected, rounding=common.rounding)
        found = no_difference(difference, delta=delta, new=True)  # a printed number has the noise of a run of its own
        return _turned(found) if opposite else found

    return worded(on_sound_cells(decide, curve), "largest difference from Yao", curve.measure.unit)


def _turned(found: Finding) -> Finding:
    opposite: dict[Decision, Decision] = {"supported": "refuted", "refuted": "supported"}
    verdict = opposite.get(found.verdict, found.verdict)
    return replace(found, verdict=verdict, p_supported=found.p_refuted, p_refuted=found.p_supported)


def _printed(curve: Curve) -> dict[float, float]:
    """Batch size -> the printed value, in the unit of the curve's measure."""
    table, model = YAO_TABLES[curve.dataset, curve.model]
    metric, split = _METRICS[curve.measure.name]
    rows = published()
    rows = rows[(rows["table"] == table) & (rows["model"] == model) & (rows["metric"] == metric)]
    rows = rows[(rows["split"] == split) & (rows["variant"] == "natural")]
    if curve.measure.attacked:
        rows = rows[np.isclose(rows["eps"].astype(float), YAO_EPSILON[curve.dataset])]
    values = rows["value_std"].to_numpy(dtype=float)
    values = np.log2(values) if curve.measure.unit == "doublings" else values
    return dict(zip(rows["batch_size"].astype(float).tolist(), values.tolist(), strict=True))
