"""Which cell a mark shows: the key that links it to the other marks of the same configuration."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import pandas as pd

from analysis.tables.cells import CELL
from analysis.tables.table import CURVE, StudyTable


def curve_id(values: Mapping[Any, Any]) -> str:
    """A short key of a curve, the same for every row with its `CURVE` columns."""
    return hashlib.sha256(repr(_plain(values, CURVE)).encode()).hexdigest()[:8]


def cell_ids(table: StudyTable) -> pd.DataFrame:
    """The `CELL` columns and `cell_id`: the id that the cell's trials share; planned cells included."""
    frames = [frame[[*CELL, "cell_id"]] for frame in (table.points, table.planned) if len(frame)]
    found = pd.concat(frames, ignore_index=True) if frames else table.points[[*CELL, "cell_id"]]
    return found.assign(target_loss=found["target_loss"].astype(float)).drop_duplicates(list(CELL), ignore_index=True)


def by_place(ids: pd.DataFrame) -> dict[tuple[str, ...], str]:
    """`place` of a cell -> its id, from `cell_ids`."""
    return {place(cell): str(cell["cell_id"]) for cell in ids.to_dict("records")}


def place(values: Mapping[Any, Any]) -> tuple[str, ...]:
    """The values of the `CELL` columns, comparable whatever types they were read as."""
    return _plain(values, CELL)


def _plain(values: Mapping[Any, Any], columns: tuple[str, ...]) -> tuple[str, ...]:
    told = (values[column] for column in columns)
    return tuple("" if pd.isna(v) else v if isinstance(v, str) else f"{float(v):.12g}" for v in told)
