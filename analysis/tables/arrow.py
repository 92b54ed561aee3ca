"""Arrow tables of trial rows as data frames, lists of structs unrolled."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc


def frame(table: pa.Table) -> pd.DataFrame:
    """The table as a data frame: integers as int64 (float64 with nulls), text, bytes and lists as Python objects."""
    return pd.DataFrame({name: _series(table[name]) for name in table.schema.names}, index=pd.RangeIndex(len(table)))


def unrolled(table: pa.Table, name: str) -> pd.DataFrame:
    """The entries of a column of lists of structs, one row each; `trial` is the position of their row in `table`."""
    entries = frame(pa.Table.from_struct_array(pc.list_flatten(table[name])))
    return entries.assign(trial=pc.list_parent_indices(table[name]).to_numpy())


def _series(column: pa.ChunkedArray) -> pd.Series:
    kind = column.type
    if pa.types.is_integer(kind):
        column = column.cast(pa.int64())
    if pa.types.is_nested(kind):
        values = np.empty(len(column), dtype=object)
        values[:] = column.to_pylist()
    elif pa.types.is_string(kind) or pa.types.is_binary(kind):
        values = column.to_numpy()
    else:
        numbers: pd.Series = column.to_pandas()
        return numbers
    if pa.types.is_string(kind):  # equal texts as one object: a fraction of the memory, and faster to compare
        known: dict[str | None, str | None] = {}
        values[:] = [known.setdefault(word, word) for word in values]
    return pd.Series(values, dtype=object)
