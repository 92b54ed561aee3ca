"""The page's data block: what its script puts together again."""

from __future__ import annotations

import json

from analysis.findings import find
from analysis.output.page.charts import Charts
from analysis.tables.table import from_rows
from tests.analysis.output.page_data import charts
from tests.analysis.synthetic import curve_rows


def test_it_gives_each_chart_its_own_specification_and_holds_nothing_twice() -> None:
    findings = find(from_rows([row for regime in ("lr", "lr_bs") for row in curve_rows(regime=regime)]))
    drawn, again = Charts(), Charts()
    for figure in findings.figures:
        drawn.place(figure)
        again.place(figure)
        again.place(figure)
    assert drawn.data() == again.data()
    embedded = charts(f'<script type="application/json" id="charts">{drawn.data()}</script>').values()
    assert [json.dumps(spec) for spec in embedded] == list(
        dict.fromkeys(json.dumps(figure.spec()) for figure in findings.figures)
    )
