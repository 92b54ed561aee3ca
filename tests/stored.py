"""Results folders with what a test needs in them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from study.results.folder import Results
from study.results.schema import Row


def results_in(
    folder: str | Path,
    rows: Iterable[Row] = (),
    *,
    arrays: Mapping[str, Mapping[str, np.ndarray]] | None = None,
    study: dict[str, Any] | None = None,
) -> Results:
    """A new results folder with these rows, arrays (by trial) and record of the study."""
    results = Results(folder)
    results.create()
    for row in rows:
        results.write_row(row)
    for trial_id, named in (arrays or {}).items():
        results.write_arrays(trial_id, named)
    if study is not None:
        results.write_study(study)
    return results
