"""A study in one Parquet file: its rows, in a tenth of the size of their own files, and its record in the metadata."""

from __future__ import annotations

import io
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from study.results import digests
from study.results.answers import answered
from study.results.folder import RecordsError, Results
from study.results.row_files import PACKED_KIND, RowError, decode_packed, flaws, part_of_schema
from study.results.schema import ROW_SCHEMA, Row
from study.results.storage import Storage, masked

SUFFIX = ".parquet"


def is_packed(location: str | Path) -> bool:
    """Whether a location is that of a packed study rather than of a results folder."""
    return str(location).partition("?")[0].endswith(SUFFIX)


def pack(source: Results, location: str | Path) -> int:
    """Write the rows and the record of a results folder into one file; returns the number of rows.

    An older file there is replaced, if the folder has all of its trials and their answers.

    Raises:
        RecordsError: a row cannot be read, or the older file is none of these, or holds what the folder lacks.
        OSError: the file cannot be written.
    """
    rows, unreadable = source.read_table()
    for file in unreadable:
        raise RecordsError(f"{source.location}/{file.name} cannot be packed: {file.reason}")
    study = source.read_study()
    storage, name = _place(location)
    if storage.read(name) is not None:
        new = {row["trial_id"]: _known(row) for row in rows.to_pylist()}
        try:
            older = read_packed(location)[0]
        except RecordsError as error:
            raise RecordsError(f"{error}; it is kept: move it away, or give another file") from None
        old = {row["trial_id"]: _known(row) for row in older.to_pylist()}
        if lost := [trial for trial, known in old.items() if trial not in new or not known <= new[trial]]:
            raise RecordsError(
                f"{location} contains results of {len(lost)} trials that {source.location} does not have; give another "
                "file, or unpack it into a new folder and go on there"
            )
    metadata = ROW_SCHEMA.metadata | {b"kind": PACKED_KIND, b"study": json.dumps(study).encode()}
    sink = io.BytesIO()
    pq.write_table(rows.replace_schema_metadata(metadata), sink, compression="zstd", compression_level=15)
    digests.add_to_parquet(sink)
    storage.make_folder("")
    storage.write(name, sink.getbuffer())
    return len(rows)


def read_packed(location: str | Path, columns: Collection[str] | None = None) -> tuple[pa.Table, dict[str, Any]]:
    """The rows of a packed study, with the columns of `Results.read_table`, and its record (study.json).

    Raises:
        RecordsError: there is no such file, or it is damaged, of another kind or of a newer version.
    """
    schema = ROW_SCHEMA if columns is None else part_of_schema(columns)
    try:
        storage, name = _place(location)
        content = storage.read(name)
        if content is None:
            raise RecordsError(f"there is no file {location}")
        rows, record = decode_packed(content, schema)
        for reason in flaws(rows).values():
            raise RowError(reason)
        return rows, json.loads(record)
    except (RowError, ValueError) as error:
        raise RecordsError(f"{location} is no packed study that can be read: {error}") from error
    except OSError as error:
        raise RecordsError(f"cannot read {location}: {masked(str(error))}") from error


def unpack(location: str | Path, target: Results) -> int:
    """Write a packed study into a new results folder; returns the number of rows.

    Where this was interrupted, the same command completes it.

    Raises:
        RecordsError: the file cannot be read, or the folder has other results already.
        OSError: the folder cannot be written to.
    """
    rows, study = read_packed(location)
    packed = {row["trial_id"]: row for row in rows.to_pylist()}
    there: list[Row] = []
    if target.exists():
        there, unreadable = target.read_rows()
        others = any(repr(packed.get(row["trial_id"])) != repr(row) for row in there)  # a NaN does not equal itself
        if others or unreadable or target.read_study() not in ({}, study):
            raise RecordsError(f"{target.location} has other results already: give a new folder")
    target.create()
    target.write_study(study)
    for trial_id in packed.keys() - {row["trial_id"] for row in there}:
        target.write_row(packed[trial_id])
    return len(rows)


def _place(location: str | Path) -> tuple[Storage, str]:
    """The storage of the folder that holds the file, and the file's name."""
    text, mark, options = str(location).partition("?")
    try:
        text = text if "://" in text else str(Path(text).expanduser().absolute())
        folder, _, name = text.rpartition("/")
        return Storage(f"{folder or '/'}{mark}{options}"), name
    except (pa.ArrowException, ValueError, RuntimeError) as error:  # `~nosuch` is a RuntimeError
        raise RecordsError(f"cannot use {masked(str(location))!r}: {masked(str(error))}") from None


def _known(row: Row) -> frozenset[object]:
    """What a row knows of its network: that it was trained, its answers, and the epochs whose curvature was tracked."""
    tracked = {epoch["epoch"] for epoch in row["history"] or () if epoch.get("lambda1") is not None}
    return answered(row) | tracked | ({"trained"} if row["status"] != "failed" else set())
