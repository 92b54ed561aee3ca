"""The page as a reader uses it, in headless Chromium: it draws, links, filters, picks, prints, and asks for nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.analysis.output.browser import Browser, Page
from tests.analysis.output.whole_page import OTHER_EPSILON, natural_rows, write_page

TALL = 60_000
"""A window in which the whole page is near, so that every chart is drawn."""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_page(tmp_path_factory.mktemp("report"))


@pytest.fixture
def page(browser: Browser, report: Path) -> Iterator[Page]:
    opened = browser.open(report)
    show(opened)
    yield opened
    assert opened.complaints == []
    assert opened.requests == [report.as_uri()]


@pytest.fixture(scope="module")
def drawn(browser: Browser, report: Path) -> Iterator[Page]:
    """One page with every chart drawn, for tests that leave it as they found it."""
    opened = browser.open(report)
    draw_all(opened)
    yield opened
    assert opened.complaints == []
    assert opened.requests == [report.as_uri()]


GROUPS = "[...document.querySelectorAll('#figures [data-group]')]"
STUDY = f"{GROUPS}.find((group) => group.parentElement.textContent.startsWith('MNIST · M1 (20-20): regimes'))"
FIRST = f'{STUDY}.querySelector(".chart")'
ATTACKED = f"{STUDY}.querySelector('figure[data-attack]:not([hidden]) .chart')"
CHARTS = "[...document.querySelectorAll('figure:not([hidden]) .chart')]"
"""The charts that no picker hides."""
OPEN_ALL = "document.querySelectorAll('details:not(.data)').forEach((d) => { d.open = true; })"


def show(page: Page) -> None:
    """Scroll to the regimes of paper A, whose charts are drawn then."""
    page.run(f"{STUDY}.scrollIntoView({{behavior: 'instant'}})")
    page.until(
        f"[...{STUDY}.querySelectorAll('figure:not([hidden]) .chart')].slice(0, 3).every((c) => c.querySelector('svg'))"
    )


def points(place: str) -> str:
    """The marks of the cells of a chart, in the order of its records."""
    marks = f"[...{place}.querySelectorAll('.mark-symbol.role-mark > path')]"
    return f"{marks}.filter((mark) => mark.__data__.tooltip)"  # seeds have none


def lr(place: str) -> str:
    """The marks of the curve at a constant rate."""
    wanted = "d.curve.startsWith('LR constant')"
    return f"{points(place)}.filter((p) => {{ const d = p.__data__.datum; return {wanted}; }})"


MARK = f"{lr(FIRST)}[0]"
"""Batch 16 at a constant rate; no other mark lies on it."""


def heights(page: Page, place: str = FIRST) -> set[int]:
    found = page.run(f"{points(place)}.map((p) => Math.round(p.transform.baseVal[0].matrix.f))")
    return set(found)


def draw_all(page: Page) -> None:
    page.resize(1280, TALL)
    page.run(OPEN_ALL)
    page.until(f"{CHARTS}.every((c) => c.querySelector('svg'))")


def test_every_figure_draws_its_marks(drawn: Page) -> None:
    marks = drawn.run(f"{CHARTS}.map((c) => c.querySelectorAll('.role-mark > *').length)")
    assert len(marks) > 20
    assert min(marks) > 0


def test_a_chart_in_a_folded_section_is_drawn_when_it_is_opened(page: Page) -> None:
    folded = "document.querySelector('#papers details .chart')"
    assert not page.run(f"Boolean({folded}.querySelector('svg'))")
    page.run(f"(() => {{ {folded}.closest('details').open = true; {folded}.scrollIntoView(); }})()")
    page.until(f"{folded}.querySelector('svg')")


def test_hovering_a_mark_lights_its_cell_in_every_figure_and_dims_the_rest(drawn: Page) -> None:
    drawn.point(MARK)
    drawn.until("document.querySelector('.same')")
    cell = drawn.run(f"{MARK}.__data__.datum.cell")
    lit = drawn.run("[...document.querySelectorAll('.same')].map((e) => e.__data__.datum.cell ?? 'its curve')")
    assert set(lit) == {cell, "its curve"}  # the forest plots have a mark a curve
    charts = drawn.run("new Set([...document.querySelectorAll('.same')].map((e) => e.closest('.chart'))).size")
    assert charts >= 5
    for section in ("#correlations", "#papers"):
        assert drawn.run(f"document.querySelectorAll('{section} .same').length"), section
    dimmed = drawn.run("document.querySelectorAll('.other').length")
    assert dimmed > 10 * charts / 2
    opacity = f"Number(getComputedStyle({lr(FIRST)}[1]).opacity)"
    drawn.until(f"{opacity} < 0.3")
    drawn.point("document.querySelector('h1')")
    drawn.until("!document.querySelector('.same, .other')")


def test_the_tooltip_has_the_numbers_and_the_trials_of_the_cell(page: Page) -> None:
    page.point(MARK)
    page.until("!document.querySelector('.tip').hidden")
    said = page.run("document.querySelector('.tip').innerText")
    assert "batch size" in said
    assert "95 % interval" in said
    for row in natural_rows()[:3]:
        assert f"seed {row['seed']}: {row['trial_id']}" in said


def test_a_click_pins_and_escape_lets_go(page: Page) -> None:
    page.point(MARK, click=True)
    page.until("!document.querySelector('.pinned').hidden")
    page.point("document.querySelector('h1')")
    assert page.run("document.querySelectorAll('.same').length") > 0
    said = page.run("document.querySelector('.pinned').innerText")
    assert "MNIST · M1 (20-20), LR constant, momentum 0, batch 16" in said
    assert natural_rows()[0]["trial_id"] in said
    page.press("Escape")
    assert page.run("document.querySelector('.pinned').hidden")
    assert page.run("document.querySelectorAll('.same, .other').length") == 0


def test_a_chart_of_one_network_belongs_to_its_cell_as_a_whole(drawn: Page) -> None:
    drawn.point(MARK)
    drawn.until("document.querySelector('.chart.other[data-cell]')")
    own = "document.querySelector('#landscapes .chart[data-cell]')"
    drawn.point(f"{points(own)}[0]")
    drawn.until(f"document.querySelector('.chart.other[data-cell]') && !{own}.classList.contains('other')")
    drawn.point("document.querySelector('h1')")


def test_the_keyboard_walks_through_the_marks_of_a_chart(page: Page) -> None:
    page.run(f"{FIRST}.closest('.frame').focus()")
    page.press("ArrowRight")
    first = page.run("document.querySelector('.tip').innerText")
    page.press("ArrowRight")
    second = page.run("document.querySelector('.tip').innerText")
    assert "16" in first
    assert "32" in second
    assert first != second
    page.press("Enter")
    page.press("Tab")
    assert "batch 32" in page.run("document.querySelector('.pinned').innerText")
    page.press("Escape")
    assert page.run("document.querySelector('.pinned').hidden")


def test_a_legend_entry_fades_its_curve_in_all_charts_of_its_group(page: Page) -> None:
    entry = f"{STUDY}.querySelector('.legend button')"
    page.run(f"{entry}.focus()")
    page.press("Enter")
    off = f"[...{STUDY}.querySelectorAll('.off')].map((e) => e.__data__.datum.curve)"
    label = page.run(f"{entry}.dataset.curve")
    assert set(page.run(off)) == {label}
    assert page.run(f"new Set([...{STUDY}.querySelectorAll('.off')].map((e) => e.closest('.chart'))).size") >= 3
    assert page.run(f"{entry}.getAttribute('aria-pressed')") == "false"
    page.press("Enter")
    assert page.run(off) == []


def test_the_epsilon_picker_changes_the_figures(page: Page) -> None:
    labels = f"[...{ATTACKED}.querySelectorAll('.role-axis-label text')].map((e) => e.textContent)"
    assert len(heights(page, ATTACKED)) > 5
    assert "90%" not in page.run(labels)
    assert page.run(f"{STUDY}.innerText.includes('at ε = 0.3')")
    page.choose(f"{STUDY}.querySelector('select[name=epsilon]')", str(OTHER_EPSILON))
    page.until(f"{labels}.includes('90%')")
    assert len(heights(page, ATTACKED)) == 1  # every network is at 90 %
    assert not page.run(f"{STUDY}.innerText.includes('at ε = 0.3')")


def test_the_attack_picker_leaves_the_figures_of_one_attack(page: Page) -> None:
    shown = f"[...{STUDY}.querySelectorAll('figure')].filter((f) => f.checkVisibility()).map((f) => f.dataset.attack)"
    assert set(page.run(shown)) >= {"fgsm", "pgd"}
    page.choose(f"{STUDY}.querySelector('select[name=attack]')", "pgd")
    assert {attack for attack in page.run(shown) if attack} == {"pgd"}
    page.choose(f"{STUDY}.querySelector('select[name=attack]')", "")
    assert set(page.run(shown)) >= {"fgsm", "pgd"}


@pytest.mark.parametrize("dark", [False, True])
def test_the_theme_follows_the_system(browser: Browser, report: Path, dark: bool) -> None:
    page = browser.open(report, dark=dark)
    show(page)
    paper = "getComputedStyle(document.body).backgroundColor"
    mark = f"getComputedStyle([...{FIRST}.querySelectorAll('[fill=\"#D62728\"]')][0]).fill"
    themes = {False: ("rgb(255, 255, 255)", "rgb(214, 39, 40)"), True: ("rgb(20, 23, 28)", "rgb(239, 83, 80)")}
    page.until(f"{FIRST}.querySelector('[fill=\"#D62728\"]')")
    assert (page.run(paper), page.run(mark)) == themes[dark]
    assert page.complaints == []


def test_each_figure_has_a_table_of_its_numbers(page: Page) -> None:
    data = f"{ATTACKED}.closest('figure').querySelector('details.data')"
    page.run(f"{data}.querySelector('summary').click()")
    page.until(f"{data}.querySelector('table')")
    head = page.run(f"[...{data}.querySelectorAll('thead th')].map((e) => e.textContent)")
    assert {"curve", "batch size", "95 % interval", "seeds", "note", "trials"} <= set(head)
    body = page.run(f"[...{data}.querySelectorAll('tbody tr')].map((r) => [...r.cells].map((c) => c.textContent))")
    records = [dict(zip(head, row, strict=True)) for row in body]
    diverged = [r for r in records if r["batch size"] == "256" and r["curve"].startswith("Benchmark")]
    assert diverged
    assert {r["mean"] for r in diverged} == {"diverged"}
    assert any(natural_rows()[0]["trial_id"] in r["trials"] for r in records)


def test_paper_gets_every_section_and_chart_and_no_control(page: Page) -> None:
    page.prefer(dark=True)
    folded = page.run("document.querySelectorAll('details:not([open])').length")
    page.run(
        "addEventListener('beforeprint', () => setTimeout(() => {}, 0));"
        "window.printed = null; matchMedia('print').addEventListener('change', (event) => { if (event.matches) {"
        " window.printed = { paper: getComputedStyle(document.body).backgroundColor,"
        " controls: getComputedStyle(document.querySelector('.controls')).display }; } })"
    )
    assert page.print_pdf().startswith(b"%PDF")
    assert page.run(f"{CHARTS}.every((c) => c.querySelector('svg'))")
    assert page.run("window.printed") == {"paper": "rgb(255, 255, 255)", "controls": "none"}
    assert page.run("document.querySelectorAll('details:not([open])').length") == folded


def test_nothing_is_wider_than_a_phone(browser: Browser, report: Path) -> None:
    page = browser.open(report, width=390, height=844)
    draw_all(page)
    page.resize(390, 844)
    assert page.run("document.documentElement.scrollWidth") <= 390


def test_what_was_not_run_is_left_out_on_paper(page: Page) -> None:
    left_out = "[...document.querySelectorAll('.absent')].filter((e) => e.checkVisibility()).length"
    assert page.run(left_out) > 0
    page.send("Emulation.setEmulatedMedia", media="print")
    assert page.run(left_out) == 0
    page.send("Emulation.setEmulatedMedia", media="")


def test_a_link_into_a_folded_section_opens_it(page: Page) -> None:
    link = "document.querySelector('#claims a[href=\"#panel-C-6\"]')"
    assert page.run(f"Boolean({link})")
    page.run(f"{link}.closest('details').open = true")
    page.run(f"{link}.click()")
    target = "document.getElementById(location.hash.slice(1))"
    page.until(f"{target}.checkVisibility() && [...{target}.querySelectorAll('svg')].length")
