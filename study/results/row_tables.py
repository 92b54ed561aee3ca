"""Tables of rows, of this version or an older one, in the columns of the schema."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from study.results.schema import ROW_KIND, ROW_SCHEMA, SCHEMA_VERSION


def refusal(file: pq.ParquetFile) -> str:
    """Why a file is not the row of one trial; "" where it is."""
    metadata = file.metadata.metadata or {}
    if metadata.get(b"kind") != ROW_KIND:
        return "foreign: not a trial row of this study"
    version = metadata.get(b"schema_version", b"0").decode(errors="replace")
    if version != str(SCHEMA_VERSION):
        return f"written by schema version {version}, this is version {SCHEMA_VERSION}"
    if file.metadata.num_rows != 1:
        return f"holds {file.metadata.num_rows} rows instead of one"
    return ""


def misnamed(table: pa.Table, trial_id: str) -> str:
    """Why a row in the file of `trial_id` is another trial's; "" where it is its own."""
    found = table["trial_id"][0].as_py() if "trial_id" in table.schema.names else trial_id
    return "" if found == trial_id else f"a copy: it holds the row of trial {found}"


def mismatch(table: pa.Table) -> str:
    """Why rows cannot be brought to the columns of `ROW_SCHEMA`; "" where they can."""
    if table.schema.equals(ROW_SCHEMA):
        return ""
    known = [field for field in ROW_SCHEMA if field.name in table.schema.names]
    if all(table.schema.field(field.name).type.equals(field.type) for field in known):
        return ""
    try:
        _conform(table)
    except (pa.ArrowException, ValueError, TypeError) as error:
        return f"its columns are of other types than ours: {str(error).splitlines()[0]}"
    return ""


def conformed(tables: Sequence[pa.Table]) -> pa.Table:
    """Tables of rows as one with the columns of `ROW_SCHEMA`: what an older row lacks is null, what is new is left."""
    alike: dict[str, list[pa.Table]] = {}
    order: dict[str, list[int]] = {}
    for place, table in enumerate(tables):
        key = "" if table.schema.equals(ROW_SCHEMA) else table.schema.to_string()
        alike.setdefault(key, []).append(table)
        order.setdefault(key, []).append(place)
    parts = [_conform(pa.concat_tables(group).combine_chunks()) for group in alike.values()]
    whole = pa.concat_tables([ROW_SCHEMA.empty_table(), *parts])
    if len(alike) < 2:
        return whole
    places = [place for group in order.values() for place in group]
    return whole.take(np.argsort(places))


def _conform(table: pa.Table) -> pa.Table:
    if table.schema.equals(ROW_SCHEMA):
        return pa.table(table.columns, schema=ROW_SCHEMA)
    columns = [
        _as_type(table[field.name], field.type)
        if field.name in table.schema.names
        else pa.nulls(len(table), field.type)
        for field in ROW_SCHEMA
    ]
    return pa.table(columns, schema=ROW_SCHEMA)


def _as_type(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray | pa.Array:
    if column.type.equals(kind):
        return column
    if pa.types.is_nested(kind):  # an older struct lacks fields, which a cast would refuse
        return pa.array(column.to_pylist(), type=kind)
    return column.cast(kind)
