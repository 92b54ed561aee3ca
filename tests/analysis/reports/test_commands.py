"""Commands on the page: what stands in a row stays one word of the shell."""

from __future__ import annotations

import shlex
from typing import Any

import pytest

from analysis.reports.commands import Rerun
from tests.analysis.synthetic import curve_rows

HOSTILE = "x; rm -rf ~ $(id) 'y'"


@pytest.mark.parametrize("field", ["dataset", "model", "regime", "optimizer", "precision"])
def test_text_of_a_row_is_quoted(field: str) -> None:
    cell: dict[str, Any] = {**curve_rows(batch_sizes=(16,), seeds=(0,))[0], "regime": "lr", field: HOSTILE}
    words = shlex.split(Rerun([]).command(cell, [16], [cell["trial_id"]], results=HOSTILE))
    assert words[:3] == ["python", "-m", "study.run"]
    assert words[words.index("--results") + 1] == HOSTILE
    assert (HOSTILE if field == "precision" else f"{field}={HOSTILE}") in words
