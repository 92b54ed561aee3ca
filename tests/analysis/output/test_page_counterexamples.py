"""The paper's own counterexample has a section: its verdict, its panels, its pairs, or how to run it."""

from __future__ import annotations

from typing import Any

import pytest

from analysis.findings import find
from analysis.output.downloads import aggregated
from analysis.output.page.charts import Charts
from analysis.output.page.counterexamples import paper_counterexample_section
from analysis.reports.counterexamples import counterexample_report
from analysis.tables.cells import cells
from analysis.tables.table import CURVE, QUESTION, from_rows
from tests.analysis.synthetic import curve_rows, line, planned, trial

SIZES = (16, 32, 64, 128, 256)


def test_a_cell_has_the_interval_that_it_has_in_every_other_table() -> None:
    planted: dict[str, Any] = {"fgsm": line(0.2, 0.08), "pgd": line(0.2, 0.08), "log2_lambda1": line(1, 1)}
    table = from_rows(curve_rows(regime="lr", batch_sizes=SIZES, noise=0.002, **planted))
    found = counterexample_report(table).found
    keys = [*CURVE, *QUESTION]
    for side in ("i", "j"):
        pairs = found.rename(columns={f"batch_{side}": "batch_size"})
        both = pairs.merge(aggregated(cells(table)), on=[*keys, "batch_size"])
        assert len(both) == len(found) > 0
        for limit in ("low", "high"):
            assert both[f"accuracy_{limit}_{side}"].to_numpy() == pytest.approx(both[f"accuracy_{limit}"].to_numpy())
            lambda1 = [f"lambda1_{split}_{limit}" for split in ("train", "test")]
            ours = both[lambda1[0]].where(both["curvature"] == "lambda1_train", both[lambda1[1]])
            assert both[f"lambda1_{limit}_{side}"].to_numpy() == pytest.approx(ours.to_numpy())


def section(*, dataset: str, model: str, slope: float) -> str:
    planted: dict[str, Any] = {
        "fgsm": line(0.2, slope),
        "pgd": line(0.2, slope),
        "log2_lambda1": line(1, 1),
        "noise": 0.002,
    }
    rows = curve_rows(dataset=dataset, model=model, regime="lr", batch_sizes=SIZES, **planted)
    trials = [
        trial(dataset=dataset, model=model, regime="lr", momentum=0.0, batch_size=batch_size, seed=seed)
        for batch_size in SIZES
        for seed in (0, 1, 2)
    ]
    found = find(from_rows(rows, grid=planned(rows, trials), requests=[]))
    shown = paper_counterexample_section(found, Charts())
    assert shown is not None
    return str(shown.body)


def test_a_planted_exception_is_drawn_and_its_pairs_are_confirmed() -> None:
    html = section(dataset="fashion-mnist", model="stdcnn", slope=0.08)
    assert "Figure 18L" in html
    assert "Figure 6R" in html
    assert "confirmed" in html
    assert "16 → 256" in html


def test_where_robustness_falls_there_is_no_pair() -> None:
    html = section(dataset="fashion-mnist", model="stdcnn", slope=-0.04)
    assert "No pair of batch sizes on its curves" in html


def test_not_run_gives_the_command() -> None:
    html = section(dataset="mnist", model="m1_20", slope=0.08)
    assert "--select dataset=fashion-mnist model=stdcnn regime=lr,lr_bs momentum=0" in html
    assert "No pair of batch sizes on its curves" in html
