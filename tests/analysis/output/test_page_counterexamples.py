"""The counterexample section: its pairs, their intervals, and how to train one again."""

from __future__ import annotations

from typing import Any

import pytest

from analysis.findings import find
from analysis.output.downloads import aggregated
from analysis.output.page.charts import Charts
from analysis.output.page.counterexamples import counterexample_section
from analysis.reports.counterexamples import counterexample_report
from analysis.tables.cells import cells
from analysis.tables.table import CURVE, QUESTION, from_rows
from tests.analysis.synthetic import curve_rows, line

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


def test_the_table_has_the_pairs_and_the_command_of_the_first() -> None:
    rows = curve_rows(batch_sizes=SIZES, fgsm=line(0.2, 0.08), log2_lambda1=line(1, 1), noise=0.002)
    html = str(counterexample_section(find(from_rows(rows)), Charts()).body)
    assert "16 → 256" in html
    assert "confirmed" in html
    assert "python -m study.run" in html
    falling = curve_rows(batch_sizes=SIZES, fgsm=line(0.6, -0.04), pgd=line(0.6, -0.04), log2_lambda1=line(1, 1))
    html = str(counterexample_section(find(from_rows(falling)), Charts()).body)
    assert "No pair of cells on one curve is a confirmed or candidate counterexample." in html
