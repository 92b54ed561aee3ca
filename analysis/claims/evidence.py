"""A results folder with what several claims derive from it, each computed once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.reports.counterexamples import CounterexampleReport, counterexample_report
from analysis.statistics.groups import group_codes
from analysis.tables.cells import CELL, FLAGS, cells
from analysis.tables.table import CURVE, QUESTION, StudyTable

DIVERGED = "diverged"

Key = tuple[str | float | None, ...]
"""The values of `CURVE` on one curve: numbers as floats, a missing target loss as None."""

_READ = (
    *("trial_id", "status", "seed", *CELL, "test_acc", "reached_target"),
    *(f"lambda1_{split}{what}" for split in ("train", "test") for what in ("", "_converged")),
    *(f"{name}_{split}" for name in ("lambda1_x", "grad_x_norm") for split in ("train", "test")),
)
"""Columns of `table.points` that measures are made of."""

Reader = Callable[["Evidence", pd.DataFrame, str | None], pd.DataFrame]
"""(evidence, finished points, attack loss) -> the points that were asked, with their columns and the columns value,
linear and flag.
"""


class Evidence:
    """`table` with its cells, its counterexample report and its curves."""

    def __init__(self, table: StudyTable) -> None:
        self.table = table
        self._answers: dict[tuple[str, str, str], pd.DataFrame] = {}
        self._readings: dict[tuple[Reader, str | None], dict[Key, Reading]] = {}

    @cached_property
    def cells(self) -> pd.DataFrame:
        """`analysis.tables.cells.cells` of the table."""
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
        """The points that trained to the end or diverged, with the codes `curve` (in `run.keys`) and `cell`.

        Their labels are those of `table.points`.
        """
        points = self.table.points[list(_READ)].assign(curve=self.run.codes)
        points = points.assign(cell=group_codes(points, ("curve", "batch_size")))
        return points[points["status"].isin(("ok", DIVERGED))].copy()  # in few blocks: every reader chooses from it

    @cached_property
    def _attacks(self) -> dict[tuple[str, str, str], pd.DataFrame]:
        """(attack, loss, split) -> the answers to it."""
        columns = ["trial_id", "regime", "dataset", "epsilon", "correct", "n"]
        parts: Any = self.table.attacks[[*columns, "attack", "loss", "split"]].groupby(["attack", "loss", "split"])
        return {question: part[columns] for question, part in parts}

    @cached_property
    def _flags(self) -> dict[tuple[str, str, str], pd.DataFrame]:
        """(attack, loss, split) -> the flag under it of the code `cell` of `finished`, at each epsilon."""
        number = {"target_loss": float}
        codes = self.finished[[*CELL, "cell"]].drop_duplicates("cell").astype(number)
        cells = self.cells[[*CELL, *QUESTION, *FLAGS]].astype(number).astype({"epsilon": float})
        flag = np.select([cells[name].eq(True).to_numpy() for name in FLAGS], FLAGS, "").astype(object)
        found = cells.assign(flag=flag).merge(codes, on=list(CELL))
        parts: Any = found[["cell", *QUESTION, "flag"]].groupby(["attack", "loss", "split"])
        return {question: part[["cell", "epsilon", "flag"]] for question, part in parts}

    def answers(self, attack: str, loss: str, split: str) -> pd.DataFrame:
        """What finished points answered, by their labels: `dataset`, `epsilon`, `correct`, `n`, their cell's `flag`."""
        question = (attack, loss, split)
        if question not in self._answers:
            self._answers[question] = self._answered(question)
        return self._answers[question]

    def _answered(self, question: tuple[str, str, str]) -> pd.DataFrame:
        found = self._attacks.get(question)
        if found is None:
            nothing = {"dataset": object, "epsilon": float, "correct": float, "n": float, "flag": object}
            return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in nothing.items()})
        points = self.finished[["trial_id", "regime", "cell"]].assign(point=self.finished.index)
        mine = found.astype({"epsilon": float}).merge(points, on=["trial_id", "regime"])
        flags = self._flags.get(question)
        mine = mine.assign(flag="") if flags is None else mine.merge(flags, on=["cell", "epsilon"], how="left")
        mine["flag"] = mine["flag"].astype(object).fillna("")
        return mine.set_index("point")[["dataset", "epsilon", "correct", "n", "flag"]]

    def read(self, reader: Reader, loss: str | None) -> dict[Key, Reading]:
        """What `reader` measured, by curve."""
        if (reader, loss) not in self._readings:
            rows = reader(self, self.finished, loss)
            rows = rows[["curve", *(field.name for field in fields(Reading))]]
            rows = rows.sort_values(["curve", "batch_size", "seed", "trial_id"])
            curves, first = np.unique(rows.pop("curve").to_numpy(dtype=np.intp), return_index=True)
            parts = zip(*(np.split(rows[name].to_numpy(), first[1:]) for name in rows), strict=True)
            keys = (self.run.keys[code] for code in curves)
            self._readings[reader, loss] = {key: Reading(*part) for key, part in zip(keys, parts, strict=False)}
        return self._readings[reader, loss]


@dataclass(frozen=True)
class Reading:
    """One measure along one curve, sorted by batch size and seed: arrays of shape (n,)."""

    batch_size: NDArray[Any]
    seed: NDArray[Any]
    trial_id: NDArray[np.object_]
    value: NDArray[Any]
    linear: NDArray[Any]
    flag: NDArray[np.object_]


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
        curves = frame.iloc[first][list(CURVE)].itertuples(index=False)
        return cls(tuple(curve_key(values) for values in curves), codes)

    def among(self, curves: Collection[Key]) -> NDArray[np.bool_]:
        """Which rows are on one of these."""
        wanted = np.array([key in curves for key in self.keys], dtype=bool)
        found: NDArray[np.bool_] = wanted[self.codes]
        return found


def curve_keys(frame: pd.DataFrame) -> list[Key]:
    """The curve of each row of a frame with the columns `CURVE`."""
    curves = OnCurves.of(frame)
    return [curves.keys[code] for code in curves.codes]


def curve_key(values: Iterable[Any]) -> Key:
    """The key of a curve from the values of `CURVE` in their order."""
    return tuple(_plain(value) for value in values)


def _plain(value: Any) -> str | float | None:
    if value is None or isinstance(value, str):
        return value
    number = float(value)
    return None if np.isnan(number) else number
