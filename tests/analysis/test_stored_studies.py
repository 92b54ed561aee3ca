"""The studies whose rows are in the checkout open as a user opens them."""

from pathlib import Path

import pandas as pd
import pytest

from analysis.report import write_report
from study.results.packed import read_packed

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("name", ["example", "reference"])
def test_every_row_is_whole(name: str) -> None:
    rows = read_packed(DOCS / name / "rows.parquet")[0].to_pylist()
    assert len(rows) == len({row["trial_id"] for row in rows}) >= 24
    assert {row["status"] for row in rows} == {"ok"}
    attacked = [row for row in rows if row["attacks"]]
    assert all(None not in (row["pgd_acc"], row["pgd_acc_stable"], row["lambda1_train"]) for row in attacked)
    assert name == "reference" or len(attacked) == len(rows) == 45


def test_the_report_of_the_example_decides_claims(tmp_path: Path) -> None:
    page, _ = write_report(DOCS / "example/rows.parquet", tmp_path)
    verdicts = pd.read_csv(tmp_path / "claims.csv").set_index(["claim", "loss"])["verdict"]
    assert verdicts["A6", "ce"] == verdicts["A6", "stable"] == "refuted"
    assert (verdicts["A20"] == "supported").all()
    assert "can change with the batch size even where the learning rate grows with it" in page.read_text()
