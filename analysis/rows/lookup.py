"""The rows of some trials, or of one data set and model, without a walk through all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.rows.table import StudyTable

Frame = Literal["points", "attacks", "transfers", "spectra", "landscapes"]


def of_trials(table: StudyTable, frame: Frame, *trial_ids: str) -> pd.DataFrame:
    """The rows of these trials in a frame of the table, a trial after the other."""
    return _rows(table, frame, ("trial_id",), [(trial_id,) for trial_id in trial_ids])


def of_network(table: StudyTable, dataset: str, model: str) -> pd.DataFrame:
    """The points of one data set and model, in their order."""
    return _rows(table, "points", ("dataset", "model"), [(dataset, model)])


def _rows(table: StudyTable, frame: Frame, keys: Sequence[str], wanted: Sequence[tuple[str, ...]]) -> pd.DataFrame:
    whole: pd.DataFrame = getattr(table, frame)
    places = table.once(f"{frame} by {', '.join(keys)}", lambda: _places(whole, keys))
    nowhere = np.empty(0, dtype=np.intp)
    return whole.take(np.concatenate([nowhere, *(places.get(key, nowhere) for key in wanted)]))


def _places(frame: pd.DataFrame, keys: Sequence[str]) -> dict[tuple[Any, ...], NDArray[np.intp]]:
    found = frame.groupby(list(keys)).indices
    return {key if isinstance(key, tuple) else (key,): np.asarray(places) for key, places in found.items()}
