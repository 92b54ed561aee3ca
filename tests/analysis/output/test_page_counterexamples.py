"""The paper's own counterexample has a section: its verdict, its panels, its pairs, or how to run it."""

from __future__ import annotations

from typing import Any

from analysis.findings import find
from analysis.output.page.charts import Charts
from analysis.output.page.counterexamples import paper_counterexample_section
from analysis.tables.table import from_rows
from tests.analysis.synthetic import curve_rows, line, planned, trial

SIZES = (16, 32, 64, 128, 256)


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
    return str(paper_counterexample_section(find(from_rows(rows, grid=planned(rows, trials), requests=[])), Charts()))


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
