"""The rows of one trial, or of one data set and model, without a walk through all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import pandas as pd

from analysis.rows.table import StudyTable

Frame = Literal["points", "attacks", "transfers", "spectra", "landscapes"]


def of_trial(table: StudyTable, frame: Frame, trial_id: str) -> pd.DataFrame:
    """The rows of one trial in a frame of the table, in their order."""
    return _rows(table, frame, ("trial_id",), (trial_id,))


def of_network(table: StudyTable, dataset: str, model: str) -> pd.DataFrame:
    """The points of one data set and model, in their order."""
    return _rows(table, "points", ("dataset", "model"), (dataset, model))


def _rows(table: StudyTable, frame: Frame, keys: Sequence[str], wanted: tuple[str, ...]) -> pd.DataFrame:
    name = f"{frame} by {', '.join(keys)}"
    whole: pd.DataFrame = getattr(table, frame)
    if name not in table.derived:
        table.derived[name] = {
            key if isinstance(key, tuple) else (key,): places
            for key, places in whole.groupby(list(keys)).indices.items()
        }
    places: dict[tuple[Any, ...], Any] = table.derived[name]
    return whole.take(places.get(wanted, []))
