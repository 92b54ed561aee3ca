"""The counterexample section: its pairs, their intervals, and how to train one again."""

from __future__ import annotations

from dataclasses import replace

from analysis.findings import find
from analysis.output.page.charts import Charts
from analysis.output.page.counterexamples import counterexample_section
from analysis.tables.table import from_rows
from tests.analysis.synthetic import curve_rows, line

SIZES = (16, 32, 64, 128, 256)


def test_the_table_has_the_pairs_and_the_command_of_the_first() -> None:
    rows = curve_rows(batch_sizes=SIZES, fgsm=line(0.2, 0.08), log2_lambda1=line(1, 1), noise=0.002)
    html = str(counterexample_section(find(from_rows(rows)), Charts()).body)
    assert "batch 16 → 256" in html
    assert "Confirmed pairs, the strongest first." in html
    assert "rests on the order" not in html
    assert "python -m study.run" in html
    falling = curve_rows(batch_sizes=SIZES, fgsm=line(0.6, -0.04), pgd=line(0.6, -0.04), log2_lambda1=line(1, 1))
    html = str(counterexample_section(find(from_rows(falling)), Charts()).body)
    assert "No pair of settings on one curve is a confirmed or candidate counterexample." in html


def test_without_a_confirmed_pair_each_curve_has_its_strongest_and_the_claim_by_order_is_explained() -> None:
    steps = {"fgsm": line(0.2, 0.08), "pgd": line(0.2, 0.08), "log2_lambda1": line(1, 1)}
    findings = find(from_rows(curve_rows(batch_sizes=SIZES, noise=0.002, **steps)))
    candidates = findings.counterexamples.found.replace({"label": {"confirmed": "candidate"}})
    report = replace(findings.counterexamples, found=candidates)
    section = counterexample_section(replace(findings, counterexamples=report), Charts())
    pairs = section.context["shown"]["pairs"]
    assert len({pair["curve"] for pair in pairs}) == len(pairs) > 0
    html = str(section.body)
    assert "No pair is confirmed. The strongest one of each curve." in html
    assert "rests on the order of all batch sizes in all seeds (sign-error)" in html
