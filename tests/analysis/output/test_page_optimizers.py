"""The section on optimizers: there when several were run, and plain about what a gain costs."""

from __future__ import annotations

import html
import re
from typing import Any

from analysis.findings import find
from analysis.output.page.charts import Charts
from analysis.output.page.claims import claim_section
from analysis.output.page.optimizers import optimizer_section
from analysis.output.page.templates import Section
from analysis.tables.table import from_rows
from tests.analysis.variants import Level, Setting, level, rows

SGD, SVRG, SELECTIVE = (Setting("lr", optimizer=name) for name in ("sgd", "svrg", "selective_backprop"))


def text(markup: str) -> str:
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", " ", markup))).replace(" :", ":")


def section(levels: dict[Setting, Level], **longer: Any) -> str:
    made = rows("cifar10", levels)
    for epochs, reached in longer.get("sgd", {}).items():
        made += rows("cifar10", {SGD: level(reached)}, epochs=epochs)
    return body(optimizer_section(find(from_rows(made)), Charts()))


def body(section: Section | None) -> str:
    return str(section.body) if section else ""


def test_one_optimizer_needs_no_section() -> None:
    assert section({SGD: level(), Setting("lr", 0.9): level()}) == ""


def test_a_gain_that_more_epochs_of_sgd_also_bring_does_not_survive() -> None:
    page = text(section({SGD: level(0.8), SVRG: level(0.85)}, sgd={400: 0.92}))
    assert re.search(r"SVRG: \+(?:4\.[89]|5\.[0-2]) points after 100 epochs, −4\.\d at equal compute: reverses", page)


def test_a_gain_that_they_do_not_bring_survives() -> None:
    page = text(section({SGD: level(0.8), SVRG: level(0.85)}, sgd={400: 0.81}))
    assert re.search(r"SVRG: \+(?:4\.[89]|5\.[0-2]) points after 100 epochs, \+4\.\d at equal compute: survives", page)


def test_what_is_not_known_says_what_to_run() -> None:
    page = text(section({SGD: level(0.8), SVRG: level(0.85), SELECTIVE: level(0.82)}))
    assert "unknown: no SGD run of this cost (run SGD for 300 epochs)" in page
    assert "unknown: no SGD run of this cost (run SGD for 67 epochs)" in page


def test_each_accuracy_is_drawn_per_epoch_and_per_unit_of_compute_beside_its_table() -> None:
    found = find(from_rows(rows("cifar10", {SGD: level(0.8), SVRG: level(0.85)})))
    markup = body(optimizer_section(found, Charts()))
    assert {figure.name for figure in found.figures} >= set(re.findall(r'id="figure-([^"]*)"', markup))
    assert markup.count("data-chart") == 4
    assert len(set(re.findall(r'id="figure-([^"]*)"', markup))) == 4
    assert text(markup).count("Gain at equal compute") == 3
    assert "<td>300</td>" in markup


def test_choudharys_numbers_are_not_compared_without_saying_that_pgd_lies_above_fgsm() -> None:
    assert "prints PGD accuracy above FGSM's in every row" in text(section({SGD: level(0.8), SVRG: level(0.85)}))
    elsewhere = rows("mnist", {SGD: level(0.8), SVRG: level(0.85)}, only=(128,))
    assert "Table 2" not in text(body(optimizer_section(find(from_rows(elsewhere)), Charts())))


def test_a_claim_of_paper_b_leads_to_its_figures() -> None:
    claims = claim_section(find(from_rows(rows("cifar10", {SGD: level()})))).body
    for panel in ("B-1", "B-5"):
        assert f'href="#panel-{panel}"' in claims
    assert 'href="#panel-A-1L"' in claims
