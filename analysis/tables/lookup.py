"""The rows of some trials, of one data set and model, or of given values in several columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.tables.table import StudyTable

Frame = Literal["points", "attacks", "transfers", "spectra", "landscapes", "sharpness", "tracked"]
"""The frames of a table with a row or more for each trained network on each of its curves."""

_NO_ROWS = np.empty(0, dtype=np.intp)


def of_trials(table: StudyTable, frame: Frame, *trial_ids: str, columns: Sequence[str]) -> pd.DataFrame:
    """These columns of the rows of these trials in a frame of the table, one trial after the other."""
    rows: pd.DataFrame = getattr(table, frame)
    index = table.once(f"index of trials in {frame}", lambda: _index(rows, "trial_id"))
    # taking rows of all columns would take ten times as long
    narrow = table.once(f"{', '.join(columns)} of {frame}", lambda: rows[list(columns)].copy())
    return narrow.take(np.concatenate([_NO_ROWS, *(index.get(trial_id, _NO_ROWS) for trial_id in trial_ids)]))


def of_network(table: StudyTable, dataset: str, model: str) -> pd.DataFrame:
    """The points of one data set and model, in their order."""
    index = table.once("index of networks", lambda: _index(table.points, ["dataset", "model"]))
    return table.points.take(index.get((dataset, model), _NO_ROWS))


def agreeing(frame: pd.DataFrame, values: Mapping[str, Any]) -> pd.DataFrame:
    """The rows that have these values in these columns; a missing value agrees with a missing one."""
    keep = pd.Series(True, index=frame.index)
    for column, value in values.items():
        keep &= frame[column].isna() if pd.isna(value) else frame[column] == value
    return frame[keep]


def _index(rows: pd.DataFrame, keys: str | list[str]) -> dict[Any, NDArray[np.intp]]:
    """Value of `keys` (a tuple for several) -> the positions of its rows."""
    return {value: np.asarray(places) for value, places in rows.groupby(keys).indices.items()}
