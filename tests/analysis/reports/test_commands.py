"""Commands on the page: they train the networks that they are printed for, and text in a row stays one word."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import Any

import pytest

from analysis.reports.commands import rerun_command
from analysis.tables.table import from_rows
from search_spaces import AttackProbe, Request, plan
from study import options
from tests.analysis.synthetic import curve_rows

HOSTILE = "x; rm -rf ~ $(id) 'y'"
ASKED = Request("full", {"dataset": ("mnist",), "model": ("m1_20",)}, epochs=100, epsilons=(0.3,))


@pytest.mark.parametrize("field", ["dataset", "model", "regime", "optimizer", "precision"])
def test_text_of_a_row_is_quoted(field: str) -> None:
    (row,) = curve_rows(batch_sizes=(16,), seeds=(0,))
    cell: dict[str, Any] = {**row, "regime": "lr", field: HOSTILE}
    words = shlex.split(rerun_command(from_rows([row]), cell, [16], [row["trial_id"]], results=HOSTILE))
    assert words[:3] == ["python", "-m", "study.run"]
    assert words[words.index("--results") + 1] == HOSTILE
    assert (HOSTILE if field == "precision" else f"{field}={HOSTILE}") in words


@pytest.mark.parametrize(
    "requests",
    [
        [replace(ASKED, seeds=(0, 1)), replace(ASKED, seeds=(2,))],
        [replace(ASKED, select={**ASKED.select, "batch_size": (size,)}) for size in ("16", "128")],
        [replace(ASKED, epochs=7), replace(ASKED, seeds=tuple(range(12)))],
    ],
    ids=["seeds in two folders", "batch sizes in two folders", "more seeds than were trained"],
)
def test_the_command_trains_these_networks_as_they_were_asked_for(requests: list[Request]) -> None:
    rows = curve_rows(batch_sizes=(16, 128), seeds=(0, 1, 2))
    ids = [row["trial_id"] for row in rows]
    command = rerun_command(from_rows(rows, requests=requests), rows[0] | {"regime": "lr"}, (16, 128), ids)
    planned = plan(options.request(options.parser().parse_args(shlex.split(command)[3:])))
    assert set(planned) == set(ids)
    probes = {probe for one in planned.values() for probe in one.probes}
    assert {probe.epsilon for probe in probes if isinstance(probe, AttackProbe)} == {0.3}


def test_cells_of_a_study_file_that_was_not_given_have_no_command() -> None:
    rows = curve_rows(batch_sizes=(16,), seeds=(0,))
    table = replace(from_rows(rows), not_given=("mine.py",))
    assert rerun_command(table, rows[0] | {"regime": "lr"}, [16], [rows[0]["trial_id"]]) == ""
