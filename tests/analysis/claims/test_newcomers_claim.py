"""A newcomer's claim: docs/your_own_claim.md, word for word, from its file to a report with its verdict."""

from __future__ import annotations

import importlib.util
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis import claims
from analysis.report import write_report
from search_spaces.smoke import BATCH_SIZES, DIGITS
from study.results.schema import Row
from tests.analysis.synthetic import curve_rows, row
from tests.stored import results_in

PAGE = Path(__file__).resolve().parents[3] / "docs" / "your_own_claim.md"


@pytest.fixture
def newcomer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page followed: a new module, and its name in `PAPERS`."""
    file, line = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    path = tmp_path / "sharp_minima.py"
    path.write_text(file)
    spec = importlib.util.spec_from_file_location("analysis.claims.sharp_minima", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setitem(sys.modules, spec.name, module)
    monkeypatch.setattr(claims, "sharp_minima", module, raising=False)
    names: dict[str, Any] = {}
    exec(line, names)
    for paper in names["PAPERS"]:
        for claim in paper.CLAIMS:
            monkeypatch.setitem(claims.CLAIMS, claim.name, claim)


def digits(clean_slope: float) -> list[Row]:
    """The smoke study's curve at a fixed rate: lambda1 doubles with the batch size, clean accuracy changes."""
    rng = np.random.default_rng(0)
    return [
        row(
            replace(DIGITS, batch_size=batch_size, seed=seed),
            clean=0.95 + clean_slope * step + 0.002 * rng.normal(),
            attacks={},
            log2_lambda1=1.0 + step + 0.05 * rng.normal(),
            spaces=("smoke",),
        )
        for step, batch_size in enumerate(BATCH_SIZES)
        for seed in (0, 1, 2)
    ]


def report(folder: Path, rows: list[Row]) -> tuple[pd.Series, str]:
    """K1's row of claims.csv, and the page."""
    page, _ = write_report(results_in(folder / "results", rows).location)
    found = pd.read_csv(page.parent / "claims.csv")
    return found[found["claim"] == "K1"].iloc[0], page.read_text(encoding="utf-8")


@pytest.mark.usefixtures("newcomer")
@pytest.mark.parametrize(
    ("clean_slope", "verdict", "tests"),
    [(-0.05, "supported", "2 of 2 run support it"), (0.01, "refuted", "1 against, 1 for")],
)
def test_the_report_contains_its_verdict(tmp_path: Path, clean_slope: float, verdict: str, tests: str) -> None:
    found, page = report(tmp_path, digits(clean_slope))
    assert found["verdict"] == verdict
    assert "the paper's protocol: 15 epochs, 1,024 training images" in found["protocol"]
    assert f">{tests}<" in page
    assert 'id="claim-K1"' in page


@pytest.mark.usefixtures("newcomer")
def test_a_paper_whose_only_claim_was_not_run_breaks_no_report(tmp_path: Path) -> None:
    found, page = report(tmp_path, curve_rows(batch_sizes=(16, 64), seeds=(0,)))
    assert found["verdict"] == "not run"
    assert '<li id="claim-K1">' in page.split("claims were not run", 1)[1]
