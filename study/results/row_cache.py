"""A copy of all rows in one file: ten thousand small files take many times as long to read.

The copy may be deleted at any time. A row is taken from it only while the row's own file has the size and the time of
change that it had when it was copied; files that are new, changed or unreadable are read themselves. A copy whose
digest does not match is not used.
"""

from __future__ import annotations

import io
import time
from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from study.results import digests
from study.results.row_files import parquet_columns
from study.results.schema import ROW_SCHEMA
from study.results.storage import Stamp

CACHE = "rows.cache.parquet"

MIN_READ_FILES = 500
"""The copy is renewed when at least this many rows had to be read from their own files."""

SETTLED_SECONDS = 60.0
"""A younger file is not copied: it may change again within the resolution of its time of change."""

_SIZE, _CHANGED = "file_size", "file_changed_ns"
_SCHEMA = pa.schema(
    [*ROW_SCHEMA, pa.field(_SIZE, pa.int64()), pa.field(_CHANGED, pa.int64())], metadata=ROW_SCHEMA.metadata
)
_NO_FILE = Stamp(-1, -1)


def encode_cache(rows: pa.Table, stamps: Mapping[str, Stamp]) -> memoryview:
    """The content of the copy: the rows whose files have settled, with the stamps of these files.

    Args:
        rows: any number of rows, in the columns of `ROW_SCHEMA`.
        stamps: name -> stamp of each file in `trials/`.
    """
    size, changed = _stamps_of(rows, stamps)
    table = rows.append_column(_SIZE, size).append_column(_CHANGED, changed)
    latest = time.time_ns() - int(SETTLED_SECONDS * 1e9)
    settled = pc.and_(pc.greater(changed, 0), pc.less(changed, latest))
    sink = io.BytesIO()  # grows in place, where Arrow's own buffer would be doubled and copied
    pq.write_table(_where(settled, table), sink, use_dictionary=False, write_statistics=False, row_group_size=1000)
    digests.add_to_parquet(sink)
    return sink.getbuffer()


def decode_cache(content: bytes | None, stamps: Mapping[str, Stamp], schema: pa.Schema = ROW_SCHEMA) -> pa.Table | None:
    """The rows whose files are unchanged; None if there is no copy of this version.

    Args:
        content: of the copy; None if there is none.
        stamps: name -> stamp of each file in `trials/`, as it is now.
        schema: what to decode, `ROW_SCHEMA` or a part of it (`row_files.part_of_schema`).
    """
    if content is None:
        return None
    try:
        digests.check_parquet(content)
        file = pq.ParquetFile(pa.BufferReader(content))
        if not file.schema_arrow.equals(_SCHEMA) or file.schema_arrow.metadata != _SCHEMA.metadata:
            return None
        table = file.read(columns=[*parquet_columns(schema), _SIZE, _CHANGED])
    except (pa.ArrowException, OSError, ValueError):
        return None
    size, changed = _stamps_of(table, stamps)
    same = pc.and_(pc.equal(table[_SIZE], size), pc.equal(table[_CHANGED], changed))
    rows = _where(same, table.drop_columns([_SIZE, _CHANGED]).replace_schema_metadata(ROW_SCHEMA.metadata))
    return rows if rows.schema.equals(schema) else None  # another version of Arrow may name nested columns otherwise


def _stamps_of(rows: pa.Table, stamps: Mapping[str, Stamp]) -> tuple[pa.Array, pa.Array]:
    """Size and time of change of each row's file now; -1 where the file is gone."""
    own = [stamps.get(f"{trial_id}.parquet", _NO_FILE) for trial_id in rows["trial_id"].to_pylist()]
    return pa.array([stamp.size for stamp in own], pa.int64()), pa.array([stamp.changed for stamp in own], pa.int64())


def _where(mask: pa.Array, table: pa.Table) -> pa.Table:
    return table if pc.all(mask).as_py() else table.filter(mask)
