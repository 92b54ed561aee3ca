from pathlib import Path

import pytest

from study.results.folder import Results
from tests.stored import results_in


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return results_in(tmp_path / "results")
