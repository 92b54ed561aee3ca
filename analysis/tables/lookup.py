"""The rows of some trials, or of one data set and model, without a walk through all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.tables.table import StudyTable

Frame = Literal["points", "attacks", "transfers", "spectra", "landscapes"]


def of_trials(table: StudyTable, frame: Frame, *trial_ids: str, columns: Sequence[str]) -> pd.DataFrame:
    """These columns of the rows of these trials in a frame of the table, a trial after the other."""
    narrow = table.once(f"{frame}: {', '.join(columns)}", lambda: getattr(table, frame)[list(columns)].copy())
    return _rows(table, frame, narrow, ("trial_id",), [(trial_id,) for trial_id in trial_ids])


def of_network(table: StudyTable, dataset: str, model: str) -> pd.DataFrame:
    """The points of one data set and model, in their order."""
    return _rows(table, "points", table.points, ("dataset", "model"), [(dataset, model)])


def _rows(
    table: StudyTable, frame: Frame, shown: pd.DataFrame, keys: Sequence[str], wanted: Sequence[tuple[str, ...]]
) -> pd.DataFrame:
    """The rows of `shown`, columns of a frame of the table, where the frame's `keys` have the `wanted` values."""
    places = table.once(f"{frame} by {', '.join(keys)}", lambda: _places(getattr(table, frame), keys))
    nowhere = np.empty(0, dtype=np.intp)
    return shown.take(np.concatenate([nowhere, *(places.get(key, nowhere) for key in wanted)]))


def _places(frame: pd.DataFrame, keys: Sequence[str]) -> dict[tuple[Any, ...], NDArray[np.intp]]:
    found = frame.groupby(list(keys)).indices
    return {key if isinstance(key, tuple) else (key,): np.asarray(places) for key, places in found.items()}
