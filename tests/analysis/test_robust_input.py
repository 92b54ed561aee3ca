"""Whatever lies in a results folder, the report names it and goes on; text from rows stays text everywhere."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis.figures.figure import DATA
from analysis.figures.figure_data import FigureData
from analysis.figures.study import study_figures
from analysis.findings import find
from analysis.output.downloads import without_formulas
from analysis.output.page import render
from analysis.report import main
from analysis.tables.measures import WORST
from analysis.tables.table import from_rows, load
from search_spaces import Request, plan
from tests.analysis.large_batch import robust
from tests.analysis.output.browser import Browser
from tests.analysis.synthetic import curve_rows, line
from tests.stored import results_in

EVIL = "\"'=cmd()</script><img src=x onerror=alert(1)>\\input{x}"

Row = dict[str, Any]


def rows(**choices: Any) -> list[Row]:
    return curve_rows(batch_sizes=(16, 64, 256), **choices)


def words(page: str) -> str:
    """The page's text, without scripts, styles and tags."""
    return re.sub(r"<(script|style).*?</\1>|<[^>]*>", " ", page, flags=re.DOTALL)


@pytest.mark.parametrize("every", [1, 2], ids=["in every row", "in every second"])
def test_text_that_is_missing_is_no_end_of_the_report(every: int) -> None:
    made = rows()
    for row in made[::every]:
        row |= dict.fromkeys(("dataset", "model", "optimizer", "adversarial_training", "augmentation"))
    found = find(from_rows(made))
    assert found.groups
    assert "Report" in render(found, [])


@pytest.mark.parametrize("status", ["ok", "failed"])
def test_a_network_that_was_planned_for_its_children_alone_is_unlabelled(status: str) -> None:
    """M_ORI of the adversarial regime; the report of one that failed ended in a TypeError."""
    grid = plan(Request("large_batch", select={"regime": ("adversarial",)}))
    made = [row for row in robust(seeds=(0,)) if row["trial_id"] in grid]
    assert made[0]["parent"] is None
    made[0]["status"] = status
    table = from_rows(made, grid=grid)
    assert table.points["regime"].tolist() == ["unlabelled", *["adversarial"] * (len(made) - 1)]
    said = words(render(find(table), []))
    assert "unlabelled, momentum 0.9" in said
    assert "more were not requested" not in said


# -- files ---------------------------------------------------------------------------------------------------


def test_a_file_that_cannot_be_read_is_named_and_left_out(tmp_path: Path) -> None:
    made = rows(seeds=(0,))
    results = results_in(tmp_path, made)
    (tmp_path / "trials" / "torn.parquet").write_bytes(b"PAR1 not really")
    table = load(results.location)
    assert len(table.trials) == len(made)
    assert "trials/torn.parquet" in words(render(find(table), []))


def test_copies_of_a_row_are_no_replicates() -> None:
    once, twice = from_rows(rows()), from_rows(rows() + rows())
    pd.testing.assert_frame_equal(FigureData(once).clean, FigureData(twice).clean)


@pytest.mark.parametrize("field", ["attack", "loss", "split", "epsilon"])
def test_an_attack_without_its_question_is_named_and_left_out(field: str, tmp_path: Path) -> None:
    made = rows(seeds=(0,))
    made[0]["attacks"][0] |= {field: None}
    (left_out,) = load(results_in(tmp_path, made).location).unreadable
    assert left_out.reason == f"holds an entry of attacks whose {field} is null or not finite"


def test_what_is_no_folder_of_results_is_one_line_and_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("no folder")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for location in (tmp_path / "file", tmp_path / "loop", "~nosuchuser/x", "/dev/null", "s3://K:SECRET@bucket/x"):
        assert main([str(location), "--out", str(tmp_path / "report")]) == 2
        said = capsys.readouterr().err
        assert len(said.splitlines()) == 1 and "SECRET" not in said


# -- numbers -------------------------------------------------------------------------------------------------


def only(field: str, value: Any) -> Callable[[list[Row]], None]:
    def change(made: list[Row]) -> None:
        for row in made[:3]:
            row[field] = value

    return change


def no_attacks(made: list[Row]) -> None:
    for row in made:
        row["attacks"] = []


def nothing_measured(made: list[Row]) -> None:
    for row in made:
        row |= {"attacks": None, "spectra": None, "lambda1_train": None, "lambda1_test": None, "test_acc": None}


CHANGES: dict[str, Callable[[list[Row]], None]] = {
    "infinite lambda1": only("lambda1_train", math.inf),
    "lambda1 that is no number": only("lambda1_train", math.nan),
    "negative lambda1": only("lambda1_train", -1.0),
    "accuracy that is no number": only("test_acc", math.nan),
    "no attacks": no_attacks,
    "nothing measured": nothing_measured,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_value_that_is_no_number_is_a_gap_and_never_a_mark(change: Callable[[list[Row]], None]) -> None:
    made = rows()
    change(made)
    for group in study_figures(FigureData(from_rows(made))):
        for figure in group.figures:
            text = json.dumps(figure.spec(), allow_nan=False)
            assert "Infinity" not in text
            for record in figure.data[DATA]:
                assert record["mean"] is not None or record["state"] != "ok"


def test_a_report_of_values_that_are_no_numbers_prints_dashes() -> None:
    made = rows()
    for row in made[:3]:
        row |= {"lambda1_train": math.inf, "lambda1_test": math.nan}
    said = words(render(find(from_rows(made)), []))
    assert not re.search(r"(?<![\w-])(nan|inf|NaN|Infinity)(?![\w-])", said)


def test_the_smallest_folder_gets_a_whole_report(tmp_path: Path) -> None:
    made = curve_rows(batch_sizes=(16,), seeds=(0,))
    assert main([str(results_in(tmp_path / "results", made).location), "--out", str(tmp_path / "report")]) == 0
    assert "Provenance" in words((tmp_path / "report" / "report.html").read_text(encoding="utf-8"))
    assert len(pd.read_csv(tmp_path / "report" / "networks.csv")) == 1


# -- text ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of rows in which every text is markup, quotes, a formula and LaTeX."""
    folder = tmp_path_factory.mktemp("hostile")
    made = rows(fgsm=line(0.3, 0.1), log2_lambda1=line(1, 1))
    made += curve_rows(regime="benchmark", batch_sizes=(16, 64), diverged=(64,))
    for row in made:
        row |= dict.fromkeys(("dataset", "model", "device", "git_sha", "augmentation"), EVIL)
        row |= {"regimes": [EVIL], "status_reason": EVIL if row["status"] != "ok" else None}
        row |= {"attacks": [a | {"attack": f"={EVIL}"} for a in row["attacks"] or []]}
    results_in(folder / "results", made)
    assert main([str(folder / "results"), "--out", str(folder / "report")]) == 0
    return folder / "report"


def test_text_of_rows_is_text_in_the_page(hostile: Path) -> None:
    page = (hostile / "report.html").read_text(encoding="utf-8")
    assert "<img" not in re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert page.count("</script>") == 3
    block = re.search(r'<script type="application/json" id="charts">(.*?)</script>', page, re.DOTALL)
    assert block is not None
    assert EVIL in json.dumps(json.loads(block[1]), ensure_ascii=False).replace('\\"', '"').replace("\\\\", "\\")


def test_text_of_rows_is_text_in_a_spreadsheet(hostile: Path) -> None:
    for file in hostile.glob("*.csv"):
        with file.open(encoding="utf-8", newline="") as lines:
            texts = [cell for row in csv.reader(lines) for cell in row]
        assert not [t for t in texts if t.startswith(("=", "@", "+", "\t", "\r"))], file.name
    cells = pd.read_csv(hostile / "cells.csv")
    assert set(cells["attack"]) == {f"'={EVIL}", WORST}


def test_only_texts_are_marked_as_such_in_a_spreadsheet() -> None:
    mixed = pd.Series([None, "=x", -3], dtype=object)
    frame = pd.DataFrame({"number": [-1.5, 2.0, 0.0], "text": ["-1", "plain", ""], "mixed": mixed})
    marked = without_formulas(frame)
    assert marked["number"].tolist() == [-1.5, 2.0, 0.0]
    assert marked["text"].tolist() == ["'-1", "plain", ""]
    assert marked["mixed"].tolist() == [None, "'=x", -3]


@pytest.mark.parametrize("text", ["\n=x", "\r\n=x", " \t=x", "\x00@x"])
def test_a_formula_after_line_breaks_and_blanks_is_marked(text: str) -> None:
    assert without_formulas(pd.DataFrame({"text": [text]}))["text"].tolist() == [f"'{text}"]


def test_text_of_rows_is_text_in_charts_tooltips_and_data_tables(browser: Browser, hostile: Path) -> None:
    page = browser.open(hostile / "report.html")
    chart = "document.querySelector('#figures .chart')"
    page.run(f"{chart}.scrollIntoView({{behavior: 'instant'}})")
    page.until(f"{chart}.querySelector('svg')")
    marks = f"[...{chart}.querySelectorAll('.mark-symbol.role-mark > path')]"
    page.point(f"{marks}.find((mark) => mark.__data__.tooltip)")
    page.until("!document.querySelector('.tip').hidden")
    assert EVIL in page.run("document.querySelector('.tip').textContent")
    page.run("document.querySelector('#figures details.data summary').click()")
    page.until("document.querySelector('#figures details.data table')")
    assert EVIL in page.run("document.querySelector('#figures details.data').textContent")
    assert page.run("document.querySelectorAll('img').length") == 0
    assert (page.complaints, page.requests) == ([], [(hostile / "report.html").as_uri()])
