"""A results folder with what several claims derive from it, each computed once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from analysis.reports.counterexamples import CounterexampleReport, counterexample_report
from analysis.rows.cells import cells
from analysis.rows.table import CURVE, StudyTable

DIVERGED = "diverged"

Key = tuple[str | float | None, ...]
"""The values of `CURVE` on one curve: numbers as floats, a missing target loss as None."""

Reader = Callable[["Evidence", pd.DataFrame, str | None], pd.DataFrame]
"""(evidence, finished points, attack loss) -> the points that were asked, with columns value, linear and
flag.
"""


class Evidence:
    """`table` with its cells, its counterexample report and its curves."""

    def __init__(self, table: StudyTable) -> None:
        self.table = table
        self._readings: dict[tuple[Reader, str | None], dict[Key, pd.DataFrame]] = {}

    @cached_property
    def cells(self) -> pd.DataFrame:
        """`analysis.rows.cells.cells` of the table."""
        return cells(self.table)

    @cached_property
    def counterexamples(self) -> CounterexampleReport:
        """The counterexample report of the whole table: its false discovery rate is that of one family."""
        return counterexample_report(self.table)

    @cached_property
    def curves(self) -> tuple[Key, ...]:
        """Every curve of the table, run or planned."""
        frames = (self.table.points, self.table.planned)
        keys = [key for frame in frames for key in curve_keys(frame[list(CURVE)].drop_duplicates())]
        return tuple(dict.fromkeys(keys))

    def read(self, reader: Reader, loss: str | None) -> dict[Key, pd.DataFrame]:
        """What `reader` measured, by curve, sorted by batch size and seed."""
        if (reader, loss) not in self._readings:
            points = self.table.points
            rows = reader(self, points[points["status"].isin(("ok", DIVERGED))], loss)
            rows = rows.sort_values(["batch_size", "seed", "trial_id"])
            parts = rows.groupby(list(CURVE), dropna=False) if len(rows) else ()
            self._readings[reader, loss] = {curve_key(key): part for key, part in parts}
        return self._readings[reader, loss]


def curve_keys(frame: pd.DataFrame) -> list[Key]:
    """The curve of each row of a frame with the columns `CURVE`."""
    return [curve_key(row) for row in frame[list(CURVE)].itertuples(index=False)]


def curve_key(values: Iterable[Any]) -> Key:
    """The key of a curve from the values of `CURVE` in their order."""
    return tuple(_plain(value) for value in values)


def _plain(value: Any) -> str | float | None:
    if value is None or isinstance(value, str):
        return value
    number = float(value)
    return None if np.isnan(number) else number
