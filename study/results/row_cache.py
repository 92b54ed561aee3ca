"""The rows of a large study in one file beside them: ten thousand small files take many times as long to read.

It is a copy and may be deleted at any time. A row is taken from it only while its own file has the size and time of
change that it had when it was read; files that are new, changed or unreadable are read themselves.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from study.results.schema import ROW_SCHEMA
from study.results.storage import Stamp

CACHE = "rows.cache.parquet"

WORTH_CACHING = 500
"""Rows read from files of their own, from which on the copy is made anew."""

SETTLED = 60.0
"""Seconds. A file younger than this may change again within its clock's resolution, so it is not trusted yet."""

_SIZE, _CHANGED = "file_size", "file_changed_ns"


def encode(rows: pa.Table, stamps: Mapping[str, Stamp]) -> pa.Buffer:
    """The file's content: those of `rows` whose files have settled, with their stamps."""
    own = [stamps.get(f"{trial_id}.parquet", Stamp(0, 0)) for trial_id in rows["trial_id"].to_pylist()]
    latest = time.time_ns() - int(SETTLED * 1e9)
    sizes = pa.array([stamp.size for stamp in own], pa.int64())
    changes = pa.array([stamp.changed for stamp in own], pa.int64())
    table = rows.append_column(_SIZE, sizes).append_column(_CHANGED, changes)
    settled = np.array([0 < stamp.changed < latest for stamp in own], dtype=bool)
    chosen = table if settled.all() else table.filter(pa.array(settled))
    sink = pa.BufferOutputStream()
    pq.write_table(chosen, sink, use_dictionary=False, write_statistics=False, row_group_size=1000)
    return sink.getvalue()


def decode(content: bytes | None, stamps: Mapping[str, Stamp], schema: pa.Schema = ROW_SCHEMA) -> pa.Table | None:
    """The rows that still are as their files, in the columns of `schema`, which is of `narrowed`.

    None where there is no such file or it is of another version.
    """
    if content is None:
        return None
    try:
        file = pq.ParquetFile(pa.BufferReader(content))
        if not _is_ours(file.schema_arrow):
            return None
        table = file.read(columns=[*schema.names, _SIZE, _CHANGED])
    except (pa.ArrowException, OSError, ValueError):
        return None
    names = (f"{trial_id}.parquet" for trial_id in table["trial_id"].to_pylist())
    own = [stamps.get(name, Stamp(-1, -1)) for name in names]
    same = pc.and_(
        pc.equal(table[_SIZE], pa.array([stamp.size for stamp in own], pa.int64())),
        pc.equal(table[_CHANGED], pa.array([stamp.changed for stamp in own], pa.int64())),
    )
    rows = table.drop_columns([_SIZE, _CHANGED])
    if not pc.all(same).as_py():
        rows = rows.filter(same)
    return rows.cast(schema)


def narrowed(columns: Sequence[str]) -> pa.Schema:
    """The schema of rows with those columns and `trial_id`."""
    kept = [field for field in ROW_SCHEMA if field.name == "trial_id" or field.name in columns]
    return pa.schema(kept, metadata=ROW_SCHEMA.metadata)


def _is_ours(schema: pa.Schema) -> bool:
    rows = pa.schema([field for field in schema if field.name not in (_SIZE, _CHANGED)])
    metadata = {key: (schema.metadata or {}).get(key) for key in ROW_SCHEMA.metadata}
    return rows.equals(ROW_SCHEMA) and metadata == ROW_SCHEMA.metadata and len(schema) == len(rows) + 2
