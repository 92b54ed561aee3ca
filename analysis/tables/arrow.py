"""Arrow columns of trial rows as data frames, lists of structs unrolled, without a Python object for each entry."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray


def frame(table: pa.Table) -> pd.DataFrame:
    """The table as a data frame: integers as int64 (float64 with nulls), text as Python strings, lists as lists."""
    return pd.DataFrame({name: series(table[name]) for name in table.schema.names}, index=pd.RangeIndex(len(table)))


def unrolled(table: pa.Table, name: str) -> tuple[pd.DataFrame, NDArray[np.int64]]:
    """The entries of a column of lists of structs, one row each, and their number in each row of `table`."""
    column = _one_chunk(table[name])
    counts = np.asarray(pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False), dtype=np.int64)
    entries = column.flatten()
    fields = {field.name: series(part) for field, part in zip(entries.type, entries.flatten(), strict=True)}
    return pd.DataFrame(fields, index=pd.RangeIndex(len(entries))), counts


def series(column: pa.ChunkedArray | pa.Array) -> Any:
    """A column for a data frame."""
    kind = column.type
    if pa.types.is_binary(kind):
        return _by_reference(column)
    if pa.types.is_integer(kind):
        return column.cast(pa.int64()).to_pandas()
    if pa.types.is_nested(kind):
        values = np.empty(len(column), dtype=object)
        values[:] = column.to_pylist()
        return values
    if pa.types.is_string(kind):
        return _text(column)
    return column.to_pandas()


def _one_chunk(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    if not isinstance(column, pa.ChunkedArray):
        return column
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _text(column: pa.ChunkedArray | pa.Array) -> pd.Series:
    """Text as Python strings; equal ones are the same object, so that taking rows copies no text."""
    values = _one_chunk(column)
    encoded = values.dictionary_encode()
    words = np.array([*encoded.dictionary.to_pylist(), None], dtype=object)
    return pd.Series(words[encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)], dtype=object)


def _by_reference(column: pa.ChunkedArray | pa.Array) -> pd.Series:
    """Bytes as positions in the one copy of them, so that taking rows copies no bytes."""
    values = _one_chunk(column)
    places = pa.array(np.arange(len(values), dtype=np.int32))
    return pd.Series(pd.arrays.ArrowExtensionArray(pa.chunked_array([pa.DictionaryArray.from_arrays(places, values)])))


def at(column: pd.Series, rows: NDArray[np.intp]) -> list[bytes | None]:
    """The bytes at these positions of a binary column made by `series`, or of a column of Python objects."""
    if not isinstance(column.dtype, pd.ArrowDtype):
        return list(column.to_numpy(dtype=object)[rows])
    stored: pa.ChunkedArray = column.array.__arrow_array__()
    if stored.num_chunks != 1:
        return list(column.iloc[rows].to_numpy(dtype=object))
    (whole,) = stored.chunks
    found: list[bytes | None] = whole.dictionary.take(whole.indices.take(pa.array(rows))).to_pylist()
    return found
