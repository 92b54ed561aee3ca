"""Claims asked of planted rows: what the tests of the ledger share."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import numpy as np

from analysis.claims import CLAIMS, curves
from analysis.claims.claim import Verdict
from analysis.claims.curves import Evidence, Setting, curve_codes
from analysis.tables.table import CURVE, StudyTable, from_rows
from study.results.schema import Row
from tests.analysis.synthetic import Curve, curve_rows, flat, line

SIZES = (16, 32, 64, 128, 256, 512, 1024)


def judge(claim: str, rows: list[Row], loss: str = "ce", *, alone: bool = True) -> Verdict:
    """The verdict on `rows`; with `alone` as if the papers had trained their data sets, models and settings alone.

    Without it every curve of the paper that `rows` do not have is a stratum that was not run.
    """
    return judge_table(claim, from_rows(rows), loss, alone=alone)


def judge_table(claim: str, table: StudyTable, loss: str = "ce", *, alone: bool = True) -> Verdict:
    found = CLAIMS[claim]
    there = {(*key[:2], Setting.of(dict(zip(CURVE, key, strict=True)))) for key in curve_codes(table.points)[0]}
    studies = tuple(s for s in found.scope.studies if (s.dataset, s.model) in {network[:2] for network in there})
    if alone and studies:
        found = replace(found, scope=replace(found.scope, studies=studies))
    with patch.object(curves, "PAPERS_CURVES", there if alone else curves.PAPERS_CURVES):
        return found.judge(Evidence(table), loss if loss in found.losses else None)


def regimes(lr: list[Row], lr_bs: list[Row]) -> list[Row]:
    """Both curves of one network; batch 64 is one run, that of `lr`."""
    return [*lr, *(row for row in lr_bs if row["batch_size"] != 64)]


def momentum_gains(lr: float, lr_bs: float, **both: Any) -> list[Row]:
    """Momentum .9 raises everything by these shares under each regime (lambda1 by 20 times as many doublings)."""

    def curves(gain: float) -> dict[str, Curve]:
        levels = {"clean": 0.8 + gain, "fgsm": 0.4 + gain, "pgd": 0.3 + gain, "log2_lambda1": 3.0 + 20 * gain}
        return {name: flat(level) for name, level in levels.items()}

    rows: list[Row] = []
    for k, (momentum, share) in enumerate(((0.0, 0.0), (0.9, 1.0))):
        rows += regimes(
            curve_rows(regime="lr", momentum=momentum, rng=rng(k), **curves(share * lr), **both),
            curve_rows(regime="lr_bs", momentum=momentum, rng=rng(9 + k), **curves(share * lr_bs), **both),
        )
    return rows


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def attacked_on(rows: Iterable[Row], loss: str, **changes: Any) -> list[Row]:
    """The rows with columns of their attacks on one loss overwritten."""
    return [row | {"attacks": [a | changes if a["loss"] == loss else a for a in row["attacks"] or ()]} for row in rows]


FALLS, RISES = line(0.99, -0.01), line(0.90, +0.01)
