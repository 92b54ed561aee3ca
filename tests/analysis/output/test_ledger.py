"""The list of claims in the documentation is that of the code."""

from pathlib import Path

import pytest

from analysis.output.ledger import ledger

PAGE = Path(__file__).parents[3] / "docs/claims.md"


def test_the_list_of_claims_is_current() -> None:
    if PAGE.read_text(encoding="utf-8") != ledger():
        pytest.fail("docs/claims.md is out of date: python -m analysis.output.ledger > docs/claims.md")
