"""One row as the content of one Parquet file, and back: rows of older versions get the columns of this one."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from study.results import digests
from study.results.schema import ROW_KIND, ROW_SCHEMA, SCHEMA_VERSION, Row

WRITTEN = ROW_SCHEMA.with_metadata(ROW_SCHEMA.metadata | digests.PARQUET_MARK)

REQUIRED = {
    "attacks": ("attack", "loss", "split", "epsilon"),
    "spectra": ("split", "subset_size", "eigenvalues", "method", "tolerance"),
    "landscapes": ("kind", "split", "subset_size"),
    "history": ("epoch",),
}
"""List column -> the fields that each entry has; `epsilon` and `tolerance` are finite as well."""


class RowError(Exception):
    """A file is not the row of its trial; the message says why."""


class NewerRowError(RowError):
    """The row of a newer version of this program: it must not be replaced."""


def encode_row(row: Row) -> pa.Buffer:
    """The content of the file of one row."""
    sink = pa.BufferOutputStream()
    table = pa.Table.from_pylist([row], schema=WRITTEN)
    # with one value a column, dictionaries and statistics only make the file larger and slower to read
    pq.write_table(table, sink, use_dictionary=False, write_statistics=False, write_page_checksum=True)
    return digests.add_to_parquet(sink.getvalue())


def decode_row(content: bytes, trial_id: str) -> pa.Table:
    """The row of `trial_id` as a table of the columns of `ROW_SCHEMA`.

    A column that an older version did not write is null; a column that this version does not know is dropped.

    Raises:
        NewerRowError: a newer version wrote it.
        RowError: the content is damaged, of another kind or trial.
    """
    try:
        has_digest = digests.check_parquet(content)
        file = pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=not has_digest)
        _check_kind(file.metadata, has_digest)
        table = file.read(use_threads=False)
        if not has_digest:
            table.validate(full=True)  # finds text that is not UTF-8 as well
        found = table["trial_id"][0].as_py() if "trial_id" in table.schema.names else trial_id
    except (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError) as error:
        raise RowError(f"torn or damaged: {_first_line(error)}") from error
    if found != trial_id:
        raise RowError(f"a copy: it holds the row of trial {found}")
    if not table.schema.equals(ROW_SCHEMA):
        try:
            table = pa.table([_column(table, field) for field in ROW_SCHEMA], schema=ROW_SCHEMA)
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


def _check_kind(metadata: pq.FileMetaData, has_digest: bool) -> None:
    keys = metadata.metadata or {}
    if keys.get(b"kind") != ROW_KIND:
        raise RowError("foreign: not a trial row of this study")
    version = keys.get(b"schema_version", b"0").decode(errors="replace")
    if version != str(SCHEMA_VERSION):
        newer = version.isdecimal() and int(version) > SCHEMA_VERSION
        raise (NewerRowError if newer else RowError)(
            f"written by schema version {version}, this is version {SCHEMA_VERSION}"
        )
    if digests.PARQUET_MARK.items() <= keys.items() and not has_digest:
        raise RowError("torn or damaged: its digest is gone")
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


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
