"""A verdict never flips with row order, duplicate curves or an extra column: every claim, on rows of all papers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.claims import CLAIMS, evaluate
from analysis.claims import sgd_variants as b
from analysis.claims.claim import to_frame
from analysis.reports.correlation import ALONG, correlation_report
from analysis.reports.counterexamples import counterexample_report
from analysis.tables.table import StudyTable, from_rows
from study.results.schema import Row
from tests.analysis import large_batch, variants
from tests.analysis.synthetic import curve_rows, flat, line


def planted() -> list[Row]:
    """Rows of A, B and C whose claims get every verdict; noise large enough that many are close calls."""
    rng = np.random.default_rng(3)
    rows = [
        row
        for regime, momentum in (("lr", 0.0), ("lr", 0.9), ("lr_bs", 0.0), ("lr_bs", 0.9), ("benchmark", 0.0))
        for row in curve_rows(
            regime=regime, momentum=momentum, rng=rng, noise=0.012, fgsm=line(0.5, -0.01), pgd=line(0.2, 0.004),
            log2_lambda1=line(2.0, 0.4 if regime == "lr" else 0.1), lambda_noise=0.3,
        )
        if not (regime == "lr_bs" and row["batch_size"] == 64)
    ]  # fmt: skip
    garments = curve_rows(
        dataset="fashion-mnist",
        model="stdcnn",
        momentum=0.9,
        fgsm=line(0.2, 0.03),
        log2_lambda1=line(1.0, 0.5),
        rng=rng,
    )
    falling = variants.Level(line(0.99, -0.01), line(0.6, -0.05), line(0.5, -0.04), line(1.0, 0.8))
    of_b = variants.rows("mnist", {b.LR: falling, b.HIGH: variants.level(0.98), b.RATIO: falling}, noise=0.01)
    of_c = large_batch.to_the_loss(noise=0.01) + large_batch.robust(noise=0.01)
    rows += garments + of_b + of_c
    return list({row["trial_id"]: row for row in rows}.values())


def strip(table: StudyTable) -> pd.DataFrame:
    return to_frame(evaluate(table))


ROWS = planted()


@pytest.fixture(scope="module")
def expected() -> pd.DataFrame:
    return strip(from_rows(ROWS))


def in_any_order() -> list[Row]:
    """Every row twice, rows and their attacks shuffled."""
    rng = np.random.default_rng(9)
    rows = [ROWS[k] for k in rng.permutation(len(ROWS))] + ROWS[::-1]
    return [
        row | {"attacks": [row["attacks"][k] for k in rng.permutation(len(row["attacks"]))]} if row["attacks"] else row
        for row in rows
    ]


def copied() -> list[Row]:
    """Every curve carries a second label, and a second space asked for it: the same runs on two curves."""
    return [
        row
        | {
            "regimes": [*row["regimes"], *(f"my {one}" for one in row["regimes"])],
            "spaces": [*row["spaces"], "mine"],
        }
        for row in ROWS
    ]


def with_columns() -> list[Row]:
    """Columns that nobody knows, some named as the analysis names its own."""
    extra: dict[str, Any] = {"colour": "red", "accuracy": 0.123, "value": [1, 2], "flag": "floor", "linear": 7.0}
    return [row | extra | {"attacks": [a | {"mood": "calm"} for a in row["attacks"] or ()]} for row in ROWS]


def with_wider_frames() -> StudyTable:
    table = from_rows(with_columns())
    names = ("trials", "points", "attacks", "spectra")
    return replace(table, **{n: getattr(table, n).assign(colour="red", mood=1.0) for n in names})


VARIANTS = {
    "row order and copies of rows": lambda: from_rows(in_any_order()),
    "duplicate curves": lambda: from_rows(copied()),
    "extra columns": with_wider_frames,
}


def same(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    """Every claim, loss, verdict, word and number of the strip; numbers to rounding."""
    pd.testing.assert_frame_equal(found, expected, rtol=1e-7, atol=1e-9)


@pytest.mark.slow
def test_the_rows_exercise_the_ledger(expected: pd.DataFrame) -> None:
    assert set(expected["claim"]) == set(CLAIMS)
    assert set(expected["verdict"]) == {"supported", "refuted", "inconclusive", "not run"}
    run = expected[expected["verdict"] != "not run"]
    assert {paper: (run["claim"].str[0] == paper).sum() >= 5 for paper in "ABC"} == dict.fromkeys("ABC", True)
    assert not expected["reason"].str.contains("which is a bug").any()


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_no_verdict_changes_with(variant: str, expected: pd.DataFrame) -> None:
    same(strip(VARIANTS[variant]()), expected)


def test_a_copied_curve_leaves_every_q_value_where_it_was() -> None:
    """A q-value just under .05 would otherwise cross it when the family counts the same runs twice."""
    rows = curve_rows(fgsm=line(0.4, 0.012), log2_lambda1=line(1.0, 1.0), noise=0.02, rng=np.random.default_rng(2))
    once = counterexample_report(from_rows(rows)).found
    copy = [row | {"regimes": [*row["regimes"], "mine"]} for row in rows]
    twice = counterexample_report(from_rows(copy)).found
    keys = ["attack", "loss", "curvature", "direction", "batch_i", "batch_j"]
    lr = twice[twice["regime"] == "lr"].sort_values(keys, ignore_index=True)
    once = once[once["regime"] == "lr"].sort_values(keys, ignore_index=True)
    assert len(lr) == len(once) > 0
    assert lr["q"].to_numpy() == pytest.approx(once["q"].to_numpy(), nan_ok=True)
    assert lr["label"].tolist() == once["label"].tolist()


def test_a_row_twice_is_no_replicate() -> None:
    rows = curve_rows(seeds=(0, 1), fgsm=flat(0.4))
    found = correlation_report(from_rows(rows * 2)).correlations
    assert found.loc[found["statistic"] == ALONG, "note"].str.startswith("undecidable").all()
