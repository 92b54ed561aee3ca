"""A results folder with what several claims derive from it, each computed once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.reports.counterexamples import CounterexampleReport, counterexample_report
from analysis.rows.cells import CELL, FLAGS, cells
from analysis.rows.table import CURVE, QUESTION, TOLD_ONCE, StudyTable
from analysis.statistics.ranks import group_codes

DIVERGED = "diverged"

Key = tuple[str | float | None, ...]
"""The values of `CURVE` on one curve: numbers as floats, a missing target loss as None."""

Reader = Callable[["Evidence", pd.DataFrame, str | None], pd.DataFrame]
"""(evidence, finished points, attack loss) -> the points that were asked, with their columns and the columns value,
linear and flag.
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
        return tuple(dict.fromkeys((*self.run.keys, *self.planned.keys)))

    @cached_property
    def run(self) -> OnCurves:
        """The curves of `table.points`."""
        return OnCurves.of(self.table.points)

    @cached_property
    def planned(self) -> OnCurves:
        """The curves of `table.planned`."""
        return OnCurves.of(self.table.planned)

    @cached_property
    def finished(self) -> pd.DataFrame:
        """The points that trained to the end or diverged, with the codes `curve` (in `run.keys`) and `cell`."""
        points = self.table.points.drop(columns=list(TOLD_ONCE)).assign(curve=self.run.codes)
        points = points.assign(cell=group_codes(points, ("curve", "batch_size")))
        return points[points["status"].isin(("ok", DIVERGED))]

    @cached_property
    def answers(self) -> dict[tuple[str, str, str], pd.DataFrame]:
        """(attack, loss, split) -> the answers to it: trial, regime, data set, question, `correct` and `n`."""
        columns = ["trial_id", "regime", "dataset", *QUESTION, "correct", "n"]
        parts: dict[Any, pd.DataFrame] = dict(iter(self.table.attacks[columns].groupby(["attack", "loss", "split"])))
        return parts

    @cached_property
    def flags(self) -> dict[tuple[str, str, str], pd.DataFrame]:
        """(attack, loss, split) -> the `FLAGS` under it of the code `cell` of `finished`, and the epsilon."""
        number = {"target_loss": float}
        codes = self.finished[[*CELL, "cell"]].drop_duplicates("cell").astype(number)
        flags = self.cells[[*CELL, *QUESTION, *FLAGS]].astype(number).merge(codes, on=list(CELL))
        flags = flags[["cell", *QUESTION, *FLAGS]].astype({"epsilon": float})
        parts: dict[Any, pd.DataFrame] = dict(iter(flags.groupby(["attack", "loss", "split"])))
        return parts

    def read(self, reader: Reader, loss: str | None) -> dict[Key, pd.DataFrame]:
        """What `reader` measured, by curve, sorted by batch size and seed."""
        if (reader, loss) not in self._readings:
            rows = reader(self, self.finished, loss)
            rows = rows[["curve", "batch_size", "seed", "trial_id", "value", "linear", "flag"]]
            rows = rows.sort_values(["batch_size", "seed", "trial_id"])
            parts: Iterable[tuple[Any, pd.DataFrame]] = rows.groupby("curve")
            self._readings[reader, loss] = {self.run.keys[code]: part for code, part in parts}
        return self._readings[reader, loss]


@dataclass(frozen=True)
class OnCurves:
    """The curve of each row of a frame: `keys[code]` for its entry of `codes`, shape (n,)."""

    keys: tuple[Key, ...]
    codes: NDArray[np.intp]

    @classmethod
    def of(cls, frame: pd.DataFrame) -> OnCurves:
        """Those of a frame with the columns `CURVE`; curves in the order of their first rows."""
        codes = group_codes(frame, CURVE)
        first = np.unique(codes, return_index=True)[1]
        return cls(tuple(curve_keys(frame.iloc[first])), codes)

    def among(self, curves: Collection[Key]) -> NDArray[np.bool_]:
        """Which rows are on one of these."""
        wanted = np.array([key in curves for key in self.keys], dtype=bool)
        found: NDArray[np.bool_] = wanted[self.codes]
        return found


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
