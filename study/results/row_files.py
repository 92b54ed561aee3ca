"""One row as the content of one Parquet file, and back: rows of older versions get the columns of this one."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq

from study.results.schema import ROW_KIND, ROW_SCHEMA, SCHEMA_VERSION, Row


class RowError(Exception):
    """A file is not the row of its trial; the message says why."""


def encode_row(row: Row) -> pa.Buffer:
    """The content of the file of one row."""
    sink = pa.BufferOutputStream()
    table = pa.Table.from_pylist([row], schema=ROW_SCHEMA)
    # with one value a column, dictionaries and statistics only make the file larger and slower to read
    pq.write_table(table, sink, use_dictionary=False, write_statistics=False)
    return sink.getvalue()


def decode_row(content: bytes, trial_id: str) -> pa.Table:
    """The row of `trial_id` as a table of the columns of `ROW_SCHEMA`.

    A column that an older version did not write is null; a column that this version does not know is dropped.

    Raises:
        RowError: the content is damaged, of another kind, schema version or trial.
    """
    try:
        file = pq.ParquetFile(pa.BufferReader(content))
        _check_kind(file.metadata)
        table = file.read(use_threads=False)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise RowError(f"torn or damaged: {_first_line(error)}") from error
    found = table["trial_id"][0].as_py() if "trial_id" in table.schema.names else trial_id
    if found != trial_id:
        raise RowError(f"a copy: it holds the row of trial {found}")
    if table.schema.equals(ROW_SCHEMA):
        return table
    try:
        return pa.table([_column(table, field) for field in ROW_SCHEMA], schema=ROW_SCHEMA)
    except (pa.ArrowException, ValueError, TypeError) as error:
        raise RowError(f"its columns are of other types than ours: {_first_line(error)}") from error


def _check_kind(metadata: pq.FileMetaData) -> None:
    keys = metadata.metadata or {}
    if keys.get(b"kind") != ROW_KIND:
        raise RowError("foreign: not a trial row of this study")
    version = keys.get(b"schema_version", b"0").decode(errors="replace")
    if version != str(SCHEMA_VERSION):
        raise RowError(f"written by schema version {version}, this is version {SCHEMA_VERSION}")
    if metadata.num_rows != 1:
        raise RowError(f"holds {metadata.num_rows} rows instead of one")


def _column(table: pa.Table, field: pa.Field) -> pa.ChunkedArray | pa.Array:
    if field.name not in table.schema.names:
        return pa.nulls(len(table), field.type)
    column = table[field.name]
    if column.type.equals(field.type):
        return column
    if pa.types.is_nested(field.type):  # a cast would refuse an older struct, which lacks fields
        return pa.array(column.to_pylist(), type=field.type)
    return column.cast(field.type)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
