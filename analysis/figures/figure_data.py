"""The cells as figures draw them: the seeds, their mean and interval, gaps, and marks in doubt."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Iterable, Mapping
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.figures.curve_sets import SHARED, Setup, setups, shared_values
from analysis.statistics.groups import group_codes
from analysis.statistics.intervals import mean_intervals
from analysis.statistics.thresholds import few_diverged
from analysis.tables.cells import CELL, FLAGS, cells_and_worst, roster_of
from analysis.tables.epsilons import headline_epsilons
from analysis.tables.observations import by_code
from analysis.tables.table import CURVE, QUESTION, STATES, StudyTable, in_plain_text

T = TypeVar("T")

Floats = NDArray[np.floating[Any]]


_CELL = list(CELL)
_QUESTION = list(QUESTION)

_DRAWING_ORDER = ("optimizer", "weight_decay", "regime", "momentum")
"""The order of the curves in a panel."""


class FigureData:
    """The frames that the figures read, each computed from a table on first use.

    Every frame has one row per cell (or per cell and attack question) with the `CELL` columns, `cell_id`, the number
    of its runs in each of `STATES`, `values` (a tuple of numbers, one per seed), `mean`, `low`, `high` (95 % Student t
    interval over `n` seeds; NaN limits for a single seed), `drawn` and `doubtful`. All but `cells` are sorted as a
    panel draws them and have a column `segment`: a line joins only cells of one segment of its curve, and a gap starts
    a new one.
    """

    def __init__(self, table: StudyTable) -> None:
        self.table = table
        self._results: dict[Hashable, Any] = {}

    def once(self, function: Callable[..., T], *arguments: Hashable, **options: Hashable) -> T:
        """`function(self, *arguments, **options)`, computed once: several panels may show the same figure."""
        key = (function, arguments, tuple(sorted(options.items())))
        if key not in self._results:
            self._results[key] = function(self, *arguments, **options)
        result: T = self._results[key]
        return result

    def rows(self, name: str, setup: Setup) -> pd.DataFrame:
        """The rows of a setup in one of the frames below (`clean`, `adversarial`, ...)."""
        return self.once(_rows_of, name, setup)

    def answers(self, name: str, setup: Setup, **question: Hashable) -> pd.DataFrame:
        """Of these, the rows for one attack, loss, split and epsilon; empty if that was not measured."""
        rows = self.rows(name, setup)
        found: dict[Hashable, pd.DataFrame] = self.once(_by_question, name, setup)
        return found.get(tuple(question[key] for key in QUESTION), rows.iloc[:0])

    def headline_epsilon(self, setup: Setup) -> float:
        """The epsilon of a setup's figures, in units of pixels in [0, 1] (`headline_epsilons`)."""
        shared = pd.DataFrame([dict(zip(SHARED, setup.values, strict=True))])
        return float(headline_epsilons(self.table, shared).iloc[0])

    @cached_property
    def setups(self) -> list[Setup]:
        """The data sets, models and protocols of this study, larger protocols first."""
        return setups(self.table)

    @cached_property
    def losses(self) -> list[str]:
        """The losses that attacks followed, the stable one first."""
        return sorted(self.cells["loss"].unique(), key=lambda loss: (loss != "stable", loss))

    @cached_property
    def cells(self) -> pd.DataFrame:
        """The cells of every attack and of all together (`analysis.tables.cells`), with `cell_id`."""
        return in_plain_text(self._identified(cells_and_worst(self.table)))

    @cached_property
    def clean(self) -> pd.DataFrame:
        """Clean test accuracy (fraction)."""
        return _in_segments(self._along_batch_size("test_acc", logarithmic=False))

    @cached_property
    def lambda1(self) -> pd.DataFrame:
        """Top Hessian eigenvalue with a column `split`; geometric means and intervals of the logarithm.

        An eigenvalue at or below 0 has no logarithm: a cell with one has no mean, `values` holds the others, and
        `not_positive` counts it.
        """
        parts = []
        for split in ("train", "test"):
            cells_of_split = self._along_batch_size(f"lambda1_{split}", logarithmic=True)
            converged = self._ok.groupby(_CELL, dropna=False)[f"lambda1_{split}_converged"].all()
            cells_of_split = cells_of_split.merge(converged.rename("converged").reset_index(), how="left", on=_CELL)
            parts.append(cells_of_split.assign(split=split, doubtful=cells_of_split["converged"].eq(False)))
        return _in_segments(pd.concat(parts, ignore_index=True), "split")

    @cached_property
    def adversarial(self) -> pd.DataFrame:
        """Adversarial accuracy (fraction), with the `QUESTION` columns, `FLAGS` and `overstated`: a marked cell is
        doubtful."""
        return self._answered(self.cells["accuracy_seeds"])

    @cached_property
    def attack_ratio(self) -> pd.DataFrame:
        """Adversarial over clean accuracy of each seed, otherwise as `adversarial`."""
        cells = self.cells
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios = [a / c for a, c in zip(cells["accuracy_seeds"], cells["test_acc_seeds"], strict=True)]
        return self._answered(ratios)

    def cell_id(self, cell: Mapping[Any, Any]) -> str:
        """The id of the cell with these values of the `CELL` columns; empty for an unknown one."""
        return self._id_of_cell.get(_comparable(cell, CELL), "")

    @cached_property
    def _id_of_cell(self) -> dict[tuple[str, ...], str]:
        return {_comparable(cell, CELL): str(cell["cell_id"]) for cell in self._cell_ids.to_dict("records")}

    @cached_property
    def _roster(self) -> pd.DataFrame:
        return roster_of(self.table)

    @cached_property
    def _cell_ids(self) -> pd.DataFrame:
        """The `CELL` columns and `cell_id` of each cell, planned cells included."""
        return self._roster[[*CELL, "cell_id"]].drop_duplicates(_CELL, ignore_index=True)

    def _identified(self, frame: pd.DataFrame) -> pd.DataFrame:
        return frame.merge(self._cell_ids, how="left", on=_CELL)

    def _answered(self, seeds: Iterable[Floats]) -> pd.DataFrame:
        marks = [*FLAGS, "overstated"]
        columns = [*_CELL, "cell_id", *_QUESTION, *marks, *(f"n_{state}" for state in STATES)]
        frame = self.cells[columns].rename(columns={f"n_{state}": state for state in STATES})
        frame = pd.concat([frame, _summary(seeds, frame.index)], axis=1)
        return _in_segments(_drawn(frame.assign(doubtful=frame[marks].any(axis=1))), *QUESTION)

    @cached_property
    def _ok(self) -> pd.DataFrame:
        return self.table.points[self.table.points["status"] == "ok"]

    @cached_property
    def _states(self) -> pd.DataFrame:
        counts = self._roster.groupby([*_CELL, "state"], dropna=False).size().unstack("state", fill_value=0)
        return in_plain_text(self._identified(counts.reindex(columns=list(STATES), fill_value=0).reset_index()))

    def _along_batch_size(self, column: str, *, logarithmic: bool) -> pd.DataFrame:
        ok = self._ok.dropna(subset=column)
        values = ok[column].astype(float)
        values = values.where(np.isfinite(values))
        groups = [
            (key, group.to_numpy(dtype=float))
            for key, group in values.groupby([ok[key] for key in _CELL], dropna=False)
        ]
        keys = pd.DataFrame([key for key, _ in groups], columns=_CELL)
        keys = keys.astype({key: self._states[key].dtype for key in _CELL})  # one without a value has another type
        below = [int((group <= 0).sum()) for _, group in groups]
        means = _summary((group for _, group in groups), logarithmic=logarithmic).assign(not_positive=below)
        frame = self._states.merge(keys.join(means), on=_CELL, how="left")
        counts = {name: frame[name].fillna(0).astype(int) for name in ("n", "not_positive")}
        measured = frame["values"].map(lambda found: found if isinstance(found, tuple) else ())
        return _drawn(frame.assign(**counts, values=measured, doubtful=False))


def curve_id(values: Mapping[Any, Any]) -> str:
    """A short key of a curve, the same for every row with its `CURVE` columns."""
    return hashlib.sha256(repr(_comparable(values, CURVE)).encode()).hexdigest()[:8]


def _comparable(values: Mapping[Any, Any], columns: tuple[str, ...]) -> tuple[str, ...]:
    """The values of some columns as text that does not depend on the types in which they were read."""
    found = (values[column] for column in columns)
    return tuple("" if pd.isna(v) else v if isinstance(v, str) else f"{float(v):.12g}" for v in found)


def _rows_of(data: FigureData, name: str, setup: Setup) -> pd.DataFrame:
    frame, places = data.once(_by_setup, name)
    return frame.take(places.get(setup.values, np.empty(0, dtype=np.intp)))


def _by_setup(data: FigureData, name: str) -> tuple[pd.DataFrame, dict[tuple[Any, ...], NDArray[np.intp]]]:
    """One of the frames, and where the rows of each setup are in it."""
    frame: pd.DataFrame = getattr(data, name)
    codes = group_codes(frame, SHARED)
    places = by_code(codes, int(codes.max(initial=-1)) + 1)
    keys = frame.iloc[[members[0] for members in places]][list(SHARED)].itertuples(index=False, name=None)
    return frame, dict(zip((shared_values(key) for key in keys), places, strict=True))


def _by_question(data: FigureData, name: str, setup: Setup) -> dict[Hashable, pd.DataFrame]:
    return dict(iter(data.rows(name, setup).groupby(_QUESTION, sort=False)))


_SUMMARY = ["mean", "low", "high", "n", "values"]


def _summary(samples: Iterable[Floats], index: pd.Index | None = None, *, logarithmic: bool = False) -> pd.DataFrame:
    """Mean, t interval, count and the finite values of each sample; mean and interval are NaN if any value is.

    `logarithmic`: the mean is geometric with the interval of the logarithm, and NaN if any value is not positive.
    """
    samples = list(samples)
    if logarithmic:
        logarithms = [np.log(one, out=np.full(len(one), np.nan), where=one > 0) for one in samples]
        found = [np.exp(limit) for limit in mean_intervals(logarithms)]
    else:
        found = list(mean_intervals(samples))
    kept = [tuple(one[np.isfinite(one) & ((one > 0) | (not logarithmic))].tolist()) for one in samples]
    columns = [*found, [len(one) for one in samples], kept]
    return pd.DataFrame(dict(zip(_SUMMARY, columns, strict=True)), index=index)


def _drawn(frame: pd.DataFrame) -> pd.DataFrame:
    """Adds `drawn`: whether a cell has a value and enough of its runs did not diverge. Other cells are gaps."""
    return frame.assign(drawn=frame["mean"].notna() & few_diverged(frame["ok"], frame["diverged"]))


def _in_segments(frame: pd.DataFrame, *question: str) -> pd.DataFrame:
    """The rows in the order of a panel, with `segment`; each attack question has its own curves."""
    ordered = frame.sort_values([*_DRAWING_ORDER, "batch_size"], ignore_index=True)
    curve = ordered.groupby([*CURVE, *question], dropna=False, sort=False).ngroup()
    return in_plain_text(ordered.assign(segment=(~ordered["drawn"]).groupby(curve).cumsum()))
