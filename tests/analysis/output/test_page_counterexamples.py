"""The counterexample section: its pairs, their intervals, and how to train one again."""

from __future__ import annotations

from analysis.findings import find
from analysis.output.page.charts import Charts
from analysis.output.page.counterexamples import counterexample_section
from analysis.tables.table import from_rows
from tests.analysis.synthetic import curve_rows, line

SIZES = (16, 32, 64, 128, 256)


def test_the_table_has_the_pairs_and_the_command_of_the_first() -> None:
    rows = curve_rows(batch_sizes=SIZES, fgsm=line(0.2, 0.08), log2_lambda1=line(1, 1), noise=0.002)
    html = str(counterexample_section(find(from_rows(rows)), Charts()).body)
    assert '<span class="side">16</span> <span class="side">→ 256</span>' in html
    assert "confirmed" in html
    assert "python -m study.run" in html
    falling = curve_rows(batch_sizes=SIZES, fgsm=line(0.6, -0.04), pgd=line(0.6, -0.04), log2_lambda1=line(1, 1))
    html = str(counterexample_section(find(from_rows(falling)), Charts()).body)
    assert "No pair of cells on one curve is a confirmed or candidate counterexample." in html
