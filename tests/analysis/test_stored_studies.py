"""The studies whose rows are in the checkout open as a user opens them."""

from pathlib import Path

import pandas as pd
import pytest

from analysis.report import write_report
from study.results.packed import read_packed

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(("name", "networks", "attacked"), [("example", 45, 45), ("reference", 24, 16)])
def test_every_row_is_whole(name: str, networks: int, attacked: int) -> None:
    rows = read_packed(DOCS / name / "rows.parquet")[0].to_pylist()
    assert len(rows) == networks
    assert sum(row["pgd_acc_stable"] is not None for row in rows) == attacked
    assert {row["status"] for row in rows} == {"ok"}


def test_the_report_of_the_example_decides_claims(tmp_path: Path) -> None:
    page = write_report(DOCS / "example/rows.parquet", tmp_path)
    verdicts = pd.read_csv(tmp_path / "claims.csv").set_index(["claim", "loss"])["verdict"]
    assert verdicts["A6", "ce"] == verdicts["A6", "stable"] == "refuted"
    assert (verdicts["A20"] == "supported").all()
    assert "does not always stay level where the learning rate grows with the batch size" in page.read_text()
