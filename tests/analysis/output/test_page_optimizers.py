"""The section on optimizers: there when several were run, and plain about what a gain costs."""

from __future__ import annotations

import html
import re
from typing import Any

from analysis.findings import find
from analysis.output.page.claims import claim_section
from analysis.output.page.optimizers import optimizer_section
from analysis.output.page.templates import Section
from analysis.tables.table import from_rows
from tests.analysis.variants import Level, Setting, level, rows

SGD, SVRG, SELECTIVE = (Setting("lr", optimizer=name) for name in ("sgd", "svrg", "selective_backprop"))

GAIN = r"\+(?:4\.[89]|5\.[0-2])\d \[\S+ \S+\] 8[45]\.\d\d %"
"""Its gain per epoch and its accuracy."""

SPENT = r"100 300 [\d,]+ 3"
"""Epochs, epochs of gradients, updates and seeds."""


def text(markup: str) -> str:
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", " ", markup))).replace(" :", ":")


def section(levels: dict[Setting, Level], **longer: Any) -> str:
    made = rows("cifar10", levels)
    for epochs, reached in longer.get("sgd", {}).items():
        made += rows("cifar10", {SGD: level(reached)}, epochs=epochs)
    return body(optimizer_section(find(from_rows(made))))


def svrg(**longer: Any) -> str:
    """Its row of the table of clean accuracy, where it reaches .85 and SGD .8 after 100 epochs."""
    page = section({SGD: level(0.8), SVRG: level(0.85)}, **longer)
    return text(page[page.index('<th scope="row">SVRG') :].split("</tr>")[0]).strip()


def body(section: Section | None) -> str:
    return str(section.body) if section else ""


def test_one_optimizer_needs_no_section() -> None:
    assert section({SGD: level(), Setting("lr", 0.9): level()}) == ""


def test_a_gain_that_more_epochs_of_sgd_also_bring_does_not_survive() -> None:
    assert re.fullmatch(rf"SVRG reverses −4\.\d\d \[.*\] {GAIN} {SPENT}", svrg(sgd={400: 0.92}))


def test_a_gain_that_they_do_not_bring_survives() -> None:
    assert re.fullmatch(rf"SVRG survives \+4\.\d\d \[.*\] {GAIN} {SPENT}", svrg(sgd={400: 0.81}))


def test_what_is_not_known_says_what_to_run() -> None:
    page = text(section({SGD: level(0.8), SVRG: level(0.85), SELECTIVE: level(0.82)}))
    assert "unknown: run SGD for 300 epochs" in page
    assert "unknown: run SGD for 67 epochs" in page


def test_the_batch_size_with_most_optimizers_is_open_and_the_others_are_folded() -> None:
    made = rows("mnist", {SGD: level(0.8), SVRG: level(0.85)}, only=(32, 128))
    made += rows("mnist", {SELECTIVE: level(0.8)}, only=(32,))
    opened, folded = body(optimizer_section(find(from_rows(made)))).split("Other batch sizes and attacks")
    captions = [
        re.findall(r"<caption><span>([^,]*(?:, ε = [^,]*)?), LR constant, batch size (\d+)<", part)
        for part in (opened, folded)
    ]
    assert set(captions[0]) == {("Clean accuracy", "32"), ("PGD accuracy, ε = 0.15", "32")}
    assert ("Clean accuracy", "128") in captions[1]
    assert ("FGSM accuracy, ε = 0.03", "32") in captions[1]


def test_choudharys_numbers_are_not_compared_without_saying_that_pgd_lies_above_fgsm() -> None:
    assert "prints PGD accuracy above FGSM's in every row" in text(section({SGD: level(0.8), SVRG: level(0.85)}))
    elsewhere = rows("mnist", {SGD: level(0.8), SVRG: level(0.85)}, only=(128,))
    assert "Table 2" not in text(body(optimizer_section(find(from_rows(elsewhere)))))


def test_a_claim_of_paper_b_leads_to_its_figures() -> None:
    claims = claim_section(find(from_rows(rows("cifar10", {SGD: level()})))).body
    for panel in ("B-1", "B-5"):
        assert f'href="#panel-{panel}"' in claims
    assert 'href="#panel-A-1L"' in claims
