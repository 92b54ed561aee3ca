"""The rows of a study: one Parquet file a trial, read one by one or, of a large study, from one checked copy."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from study.results.row_cache import CACHE, WORTH_CACHING, decode, encode, narrowed
from study.results.row_tables import conformed, mismatch, misnamed, refusal
from study.results.schema import ROW_SCHEMA, Row
from study.results.storage import Stamp, Storage

FOLDER = "trials"
_READERS, _REMOTE_READERS = 2, 32  # on a disk decoding takes the time, and more threads only wait for each other
_BATCH = 500


@dataclass(frozen=True)
class Unreadable:
    """A file among the rows that is not one of our rows, and why; it is left where it is."""

    name: str
    reason: str


class RowFiles:
    """The files below `trials/` of a results folder. Methods raise OSError where storage fails."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def write(self, row: Row) -> None:
        """Store a trial's row, in place of an older one of the same trial."""
        sink = pa.BufferOutputStream()
        # of one value a column, dictionaries and statistics make the file larger and slower to read
        table = pa.Table.from_pylist([row], schema=ROW_SCHEMA)
        pq.write_table(table, sink, use_dictionary=False, write_statistics=False)
        self._storage.write(_name(row["trial_id"]), sink.getvalue())

    def read(self, trial_id: str) -> Row | None:
        """A trial's row, or None when there is none that can be read."""
        table = self._read_file(_name(trial_id))
        return dict.fromkeys(ROW_SCHEMA.names) | table.to_pylist()[0] if isinstance(table, pa.Table) else None

    def read_all(
        self, columns: Sequence[str] | None = None, *, keep: bool = False
    ) -> tuple[list[Row], list[Unreadable]]:
        """All rows by trial id, with those columns, and the files that are none; `keep` as in `read_table`."""
        chosen = tuple(columns or ROW_SCHEMA.names)
        table, unreadable = self.read_table(chosen, keep=keep)
        return table.select(list(chosen)).to_pylist(), unreadable

    def read_table(
        self, columns: Sequence[str] = tuple(ROW_SCHEMA.names), *, keep: bool = True
    ) -> tuple[pa.Table, list[Unreadable]]:
        """The same as a table, in the order of `ROW_SCHEMA`, with `trial_id`.

        Many rows come from one file, a copy of all of them, which `keep` makes or renews; it needs every column.
        """
        schema = ROW_SCHEMA if keep else narrowed(columns)
        stamps = self._storage.stamps(FOLDER)
        cached = decode(self._storage.read(CACHE), stamps, schema)
        known = set() if cached is None else set(cached["trial_id"].to_pylist())
        parts, unreadable = [], []
        for read in self._in_batches(stamps, known):  # many files hold many small buffers: they are let go early
            whole = conformed([item for item in read if isinstance(item, pa.Table)])
            parts.append(whole.select(schema.names).combine_chunks())
            unreadable += [item for item in read if isinstance(item, Unreadable)]
        fresh = sum(map(len, parts))
        if cached is not None and not fresh:
            return cached, unreadable
        rows = pa.concat_tables([schema.empty_table(), *([] if cached is None else [cached]), *parts])
        rows = rows if cached is None else rows.sort_by("trial_id")
        if keep and fresh >= WORTH_CACHING:
            self._store_cache(rows, stamps)
        return rows, unreadable

    def _store_cache(self, rows: pa.Table, stamps: Mapping[str, Stamp]) -> None:
        """Keep what was read in one file; a folder that cannot be written to is read file by file again."""
        try:
            self._storage.write_at_once(CACHE, encode(rows, stamps))
        except OSError:
            return

    def _in_batches(
        self, files: Collection[str], known: Collection[str]
    ) -> Iterator[list[pa.Table | Unreadable | None]]:
        names = sorted(n for n in files if n.endswith(".parquet") and _stem(n) not in known)
        with ThreadPoolExecutor(_REMOTE_READERS if self._storage.remote else _READERS) as pool:
            for start in range(0, len(names), _BATCH):
                batch = names[start : start + _BATCH]
                yield list(pool.map(lambda name: self._table_or_reason(f"{FOLDER}/{name}"), batch))

    def _table_or_reason(self, name: str) -> pa.Table | Unreadable | None:
        """On a disk, where one file can be bad, it is named; a store that fails would lose any of them."""
        try:
            return self._read_file(name)
        except OSError as error:
            if self._storage.remote:
                raise
            return Unreadable(name, f"cannot be read: {error}")

    def _read_file(self, name: str) -> pa.Table | Unreadable | None:
        """One row as a table of the columns that the file has."""
        content = self._storage.read(name)  # a row is small: one request instead of one a column
        if content is None:
            return None
        try:
            file = pq.ParquetFile(pa.BufferReader(content))
            refused = refusal(file)
            if refused:
                return Unreadable(name, refused)
            table = file.read(use_threads=False)
        except (pa.ArrowException, OSError, ValueError) as error:
            return Unreadable(name, f"torn or damaged: {str(error).splitlines()[0]}")
        reason = misnamed(table, _stem(name)) or mismatch(table)
        return Unreadable(name, reason) if reason else table


def _name(trial_id: str) -> str:
    return f"{FOLDER}/{trial_id}.parquet"


def _stem(name: str) -> str:
    return name.rpartition("/")[2].removesuffix(".parquet")
