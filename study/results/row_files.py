"""Rows as the content of Parquet files, one row or many, and back: older rows get the columns of this version."""

from __future__ import annotations

import io
from collections.abc import Collection

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from study.results import digests
from study.results.schema import ROW_KIND, ROW_SCHEMA, SCHEMA_VERSION, Row

PACKED_KIND = b"sgd-robustness-study packed rows"

REQUIRED = {
    "attacks": ("attack", "loss", "split", "epsilon"),
    "spectra": ("split", "subset_size", "eigenvalues", "method", "tolerance"),
    "landscapes": ("kind", "split", "subset_size"),
    "sharpness": ("measure", "split", "subset_size", "radius"),
    "history": ("epoch",),
}
"""List column -> the fields that each entry has; `epsilon` and `tolerance` are finite as well."""


def part_of_schema(columns: Collection[str]) -> pa.Schema:
    """What to read of a row for these columns.

    Args:
        columns: names of `ROW_SCHEMA`, or single fields of a list column as `attacks.epsilon`.

    Returns:
        The part of `ROW_SCHEMA` that holds them, `trial_id` and the fields of REQUIRED, by which `flaws` judges a row:
        what counts as a row does not depend on what is read of it.
    """
    whole, fields = {"trial_id", *columns}, {name: set(required) for name, required in REQUIRED.items()}
    for name, _, field in (column.partition(".") for column in columns):
        if field:
            fields.setdefault(name, set()).add(field)
    part = []
    for column in ROW_SCHEMA:
        if column.name in whole:
            part.append(column)
        elif column.name in fields:
            entry = pa.struct([field for field in column.type.value_type if field.name in fields[column.name]])
            part.append(column.with_type(pa.list_(entry)))
    return pa.schema(part, metadata=ROW_SCHEMA.metadata)


def parquet_columns(schema: pa.Schema) -> list[str]:
    """The columns of a Parquet file that hold a part of `ROW_SCHEMA`."""
    parts = {name: [f".list.element.{one.name}" for one in schema.field(name).type.value_type] for name in REQUIRED}
    return [f"{name}{part}" for name in schema.names for part in parts.get(name, [""])]


class RowError(Exception):
    """A file is not the row of its trial; the message says why."""


class NewerRowError(RowError):
    """The row of a newer version of this program: it must not be replaced."""


def encode_row(row: Row) -> memoryview:
    """The content of the file of one row."""
    sink = io.BytesIO()
    table = pa.Table.from_pylist([row], schema=ROW_SCHEMA)
    # with one value a column, dictionaries and statistics only make the file larger and slower to read
    pq.write_table(table, sink, use_dictionary=False, write_statistics=False)
    digests.add_to_parquet(sink)
    return sink.getbuffer()


def decode_row(content: bytes, trial_id: str, schema: pa.Schema = ROW_SCHEMA) -> pa.Table:
    """The row of `trial_id` as a table of `schema`, which is `ROW_SCHEMA` or a `part_of_schema`.

    A column that an older version did not write is null; a column that this version does not know is dropped.

    Raises:
        NewerRowError: a newer version wrote it.
        RowError: the content is damaged, of another kind or trial.
    """
    row = _decode(content, schema, ROW_KIND)
    if len(row) != 1:
        raise RowError(f"holds {len(row)} rows instead of one")
    found = row["trial_id"][0].as_py()
    if found != trial_id:
        raise RowError(f"copied from trial {found}")
    return row


def decode_packed(content: bytes, schema: pa.Schema = ROW_SCHEMA) -> tuple[pa.Table, bytes]:
    """The rows of a packed study (`study.results.packed`) and its record; columns and errors as in `decode_row`."""
    rows = _decode(content, schema, PACKED_KIND)
    return rows, pq.read_metadata(pa.BufferReader(content)).metadata.get(b"study", b"{}")


def _decode(content: bytes, schema: pa.Schema, kind: bytes) -> pa.Table:
    try:
        file = pq.ParquetFile(pa.BufferReader(content))
        keys = file.metadata.metadata or {}
        if keys.get(b"kind") != kind:
            raise RowError(f"not a {'result' if kind == ROW_KIND else 'packed'} file of this study")
        digests.check_parquet(content)
        _check_version(keys.get(b"schema_version", b"0").decode())
        table = file.read(None if schema is ROW_SCHEMA else parquet_columns(schema), use_threads=False)
    except (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError) as error:
        raise RowError(f"incomplete or damaged: {_first_line(error)}") from error
    if not table.schema.equals(schema):
        try:
            table = pa.table([_column(table, field) for field in schema], schema=schema)
        except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
            raise RowError(f"its columns are of other types than ours: {_first_line(error)}") from error
    return table.replace_schema_metadata(ROW_SCHEMA.metadata)


def flaws(rows: pa.Table) -> dict[str, str]:
    """Trial id -> what its row lacks in an entry of a list column, of the rows that lack something (see REQUIRED)."""
    found: dict[str, str] = {}
    for name in sorted(REQUIRED.keys() & set(rows.schema.names)):
        column = rows[name].combine_chunks()
        entries = column.flatten()
        if not len(entries):
            continue
        bad = {f"a null entry in {name}": pc.is_null(entries)}
        for field in REQUIRED[name]:
            part = pc.struct_field(entries, field)
            finite = pc.is_finite(part) if pa.types.is_floating(part.type) else pc.is_valid(part)
            bad[f"an entry of {name} whose {field} is null or not finite"] = pc.invert(pc.fill_null(finite, False))
        for reason, mask in bad.items():
            if pc.any(mask).as_py():
                owners = pc.list_parent_indices(column).filter(mask).unique()
                found = dict.fromkeys(rows["trial_id"].take(owners).to_pylist(), f"holds {reason}") | found
    return found


def _check_version(version: str) -> None:
    if version != str(SCHEMA_VERSION):
        newer = version.isdecimal() and int(version) > SCHEMA_VERSION
        raise (NewerRowError if newer else RowError)(
            f"written by schema version {version}, this is version {SCHEMA_VERSION}"
        )


def _column(table: pa.Table, field: pa.Field) -> pa.ChunkedArray | pa.Array:
    if field.name not in table.schema.names:
        return pa.nulls(len(table), field.type)
    column = table[field.name]
    if column.type.equals(field.type):
        return column
    if pa.types.is_nested(field.type):  # a cast would refuse an older struct, which lacks fields
        return pa.array(column.to_pylist(), type=field.type)
    return column.cast(field.type)


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
