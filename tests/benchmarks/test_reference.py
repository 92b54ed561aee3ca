"""The page of the reference study is what its rows say."""

from __future__ import annotations

from pathlib import Path

from benchmarks import reference

PAGE = Path(__file__).parents[2] / "docs/reference.md"


def test_the_page_is_written_from_the_rows_in_the_checkout() -> None:
    """After new rows: `python -m benchmarks.reference > docs/reference.md`."""
    assert list(reference.page(reference.ROWS)) == PAGE.read_text(encoding="utf-8").splitlines()
