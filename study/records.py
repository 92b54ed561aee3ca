"""Rows, weights and checkpoints of a study, at a path or a URI, each file whole or absent."""

from __future__ import annotations

import io
import json
import uuid
import zipfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from study.row_cache import CACHE, WORTH_CACHING, Stamp, decode, encode
from study.row_tables import conformed, mismatch, misnamed, refusal
from study.schema import ROW_SCHEMA, Row

_READERS = 8
_BATCH = 500
_RENAME = "rename it and run again (rows are kept; what was asked before is forgotten)"


class RecordsError(Exception):
    """The results folder cannot be used as asked; the message says what to do."""


@dataclass(frozen=True)
class Unreadable:
    """A file among the rows that is not one of our rows, and why; it is left where it is."""

    name: str
    reason: str


class Results:
    """One study's folder: `trials/`, `weights/`, `checkpoints/`, `arrays/`, `logs/` and `study.json`.

    Every file is written under a temporary name and then renamed, so a reader never sees half of one. On an
    object store, where a rename is a copy, the upload itself is all or nothing.
    """

    def __init__(self, location: str | Path) -> None:
        self.location = str(location)
        if "://" in self.location:
            try:
                self._fs, self._root = pafs.FileSystem.from_uri(self.location)
                if not self._root.strip("/"):
                    raise ValueError("it names no folder")
            except (pa.ArrowException, OSError, ValueError) as error:
                raise RecordsError(f"cannot use {self.location!r} as a results folder: {error}") from error
        else:
            self.location = str(Path(self.location).expanduser().absolute())
            self._fs, self._root = pafs.LocalFileSystem(), self.location

    # -- rows ------------------------------------------------------------------------------------------------

    def write_row(self, row: Row) -> None:
        """Store a trial's row, in place of an older one of the same trial.

        Raises:
            OSError: the folder is full or not writable.
            RecordsError: the row has a column that the schema does not know.
        """
        unknown = set(row) - set(ROW_SCHEMA.names)
        if unknown:
            raise RecordsError(f"row of trial {row.get('trial_id')} has unknown columns: {sorted(unknown)}")
        sink = pa.BufferOutputStream()
        # of one value a column, dictionaries and statistics make the file larger and slower to read
        pq.write_table(
            pa.Table.from_pylist([row], schema=ROW_SCHEMA), sink, use_dictionary=False, write_statistics=False
        )
        self._write(_row_name(row["trial_id"]), sink.getvalue())

    def read_row(self, trial_id: str) -> Row | None:
        """A trial's row, or None when there is none that can be read."""
        table = self._read_row_file(_row_name(trial_id), None)
        return dict.fromkeys(ROW_SCHEMA.names) | table.to_pylist()[0] if isinstance(table, pa.Table) else None

    def read_rows(self, columns: Sequence[str] | None = None) -> tuple[list[Row], list[Unreadable]]:
        """All rows, ordered by trial id, and the files beside them that are torn, foreign or of another schema.

        `columns` names the columns to read (all by default); a column that an older row lacks is null.

        Raises:
            RecordsError: the folder does not exist.
        """
        read = [item for batch in self._in_batches(columns) for item in batch]
        empty = dict.fromkeys(columns or ROW_SCHEMA.names)
        rows = [empty | item.to_pylist()[0] for item in read if isinstance(item, pa.Table)]
        return rows, [item for item in read if isinstance(item, Unreadable)]

    def read_table(self) -> tuple[pa.Table, list[Unreadable]]:
        """As `read_rows` (and raises as it does), in the columns of `ROW_SCHEMA`; many rows come from one file."""
        stamps = {info.base_name: Stamp(info.size, info.mtime_ns or 0) for info in self._files("trials")}
        cached = decode(self._fs, f"{self._root}/{CACHE}", stamps)
        known = set() if cached is None else set(cached["trial_id"].to_pylist())
        parts, unreadable = [], []
        for read in self._in_batches(None, known):  # a thousand files hold as many small buffers: they are let go early
            parts.append(conformed([item for item in read if isinstance(item, pa.Table)]).combine_chunks())
            unreadable += [item for item in read if isinstance(item, Unreadable)]
        fresh = sum(map(len, parts))
        if cached is not None and not fresh:
            return cached, unreadable
        rows = pa.concat_tables([ROW_SCHEMA.empty_table(), *([] if cached is None else [cached]), *parts])
        rows = rows if cached is None else rows.sort_by("trial_id")
        if fresh >= WORTH_CACHING:
            self._store_cache(rows, stamps)
        return rows, unreadable

    def _store_cache(self, rows: pa.Table, stamps: Mapping[str, Stamp]) -> None:
        """Keep what was read in one file; a folder that cannot be written to is read file by file again."""
        try:
            self._write_by(CACHE, lambda sink: encode(rows, stamps, sink))
        except OSError:
            return

    def _in_batches(
        self, columns: Sequence[str] | None, known: Collection[str] = ()
    ) -> Iterator[list[pa.Table | Unreadable | None]]:
        names = sorted(n for n in self._list("trials") if n.endswith(".parquet") and _stem(n) not in known)
        with ThreadPoolExecutor(_READERS) as pool:
            for start in range(0, len(names), _BATCH):
                batch = names[start : start + _BATCH]
                yield list(pool.map(lambda name: self._read_row_file(f"trials/{name}", columns), batch))

    def _read_row_file(self, name: str, columns: Sequence[str] | None) -> pa.Table | Unreadable | None:
        """One row as a table of those columns that the file has."""
        try:
            with self._fs.open_input_file(f"{self._root}/{name}") as source:
                file = pq.ParquetFile(source)
                refused = refusal(file)
                if refused:
                    return Unreadable(name, refused)
                present = [column for column in columns or () if column in file.schema_arrow.names]
                table = file.read(columns=present if columns else None, use_threads=False)
        except FileNotFoundError:
            return None
        except (pa.ArrowException, OSError, ValueError) as error:
            return Unreadable(name, f"torn or damaged: {str(error).splitlines()[0]}")
        reason = misnamed(table, _stem(name)) or mismatch(table)
        return Unreadable(name, reason) if reason else table

    # -- weights and checkpoints -----------------------------------------------------------------------------

    def write_weights(self, trial_id: str, state: bytes) -> None:
        """Store a trial's trained weights."""
        self._write(f"weights/{trial_id}.pt", state)

    def read_weights(self, trial_id: str) -> bytes | None:
        """A trial's trained weights, or None when there are none."""
        return self._read(f"weights/{trial_id}.pt")

    def write_checkpoint(self, trial_id: str, state: bytes) -> None:
        """Store the state of a half-trained trial, in place of its older one."""
        self._write(f"checkpoints/{trial_id}.pt", state)

    def read_checkpoint(self, trial_id: str) -> bytes | None:
        """The state of a half-trained trial, or None when there is none."""
        return self._read(f"checkpoints/{trial_id}.pt")

    def delete_checkpoint(self, trial_id: str) -> None:
        """Forget a finished trial's checkpoint."""
        try:
            self._fs.delete_file(f"{self._root}/checkpoints/{trial_id}.pt")
        except FileNotFoundError:
            return

    def write_arrays(self, trial_id: str, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Store a trial's named arrays, beside those of other names that it has already."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **(self.read_arrays(trial_id) | dict(arrays)))
        self._write(f"arrays/{trial_id}.npz", buffer.getvalue())

    def read_arrays(self, trial_id: str) -> dict[str, npt.NDArray[Any]]:
        """A trial's named arrays; none when there are none that can be read."""
        content = self._read(f"arrays/{trial_id}.npz")
        if content is None:
            return {}
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as stored:
                return {name: stored[name] for name in stored.files}
        except (OSError, ValueError, zipfile.BadZipFile):
            return {}

    def write_log(self, trial_id: str, text: str) -> None:
        """Store the traceback of a failed trial."""
        self._write(f"logs/{trial_id}.txt", text.encode())

    # -- the study's own file --------------------------------------------------------------------------------

    def read_study(self) -> dict[str, Any]:
        """What was asked of this folder so far; empty for a new one.

        Raises:
            RecordsError: study.json is damaged.
        """
        content = self._read("study.json")
        if content is None:
            return {}
        try:
            study: dict[str, Any] = json.loads(content)
        except ValueError as error:
            raise RecordsError(f"{self.location}/study.json is damaged ({error}); {_RENAME}") from error
        requests = study.get("requests", []) if isinstance(study, dict) else None
        if not isinstance(requests, list) or not all(isinstance(request, dict) for request in requests):
            raise RecordsError(f"{self.location}/study.json is not a study's record; {_RENAME}")
        return study

    def write_study(self, study: dict[str, Any]) -> None:
        """Store what was asked of this folder."""
        self._write("study.json", json.dumps(study, indent=1).encode())

    # -- the folder ------------------------------------------------------------------------------------------

    def create(self) -> None:
        """Make the folder and prove that it can be written to.

        Raises:
            RecordsError: it cannot be made or written to.
        """
        try:
            for room in ("trials", "weights", "checkpoints", "arrays", "logs"):
                self._fs.create_dir(f"{self._root}/{room}", recursive=True)
            probe = f"trials/.writable-{uuid.uuid4().hex}"
            self._write(probe, b"")
            self._fs.delete_file(f"{self._root}/{probe}")
        except OSError as error:
            raise RecordsError(
                f"cannot write to the results folder {self.location}: {error}; give another one with --results"
            ) from error

    def exists(self) -> bool:
        """Whether there is a results folder here."""
        return bool(self._fs.get_file_info(f"{self._root}/trials").type == pafs.FileType.Directory)

    def _list(self, room: str) -> Iterable[str]:
        return [info.base_name for info in self._files(room)]

    def _files(self, room: str) -> list[pafs.FileInfo]:
        try:
            infos = self._fs.get_file_info(pafs.FileSelector(f"{self._root}/{room}"))
        except FileNotFoundError as error:
            raise RecordsError(f"{self.location} holds no results (no {room}/ in it)") from error
        except OSError as error:
            raise RecordsError(f"cannot read the results folder {self.location}: {error}") from error
        return [info for info in infos if info.is_file and not info.base_name.startswith(".")]

    def _read(self, name: str) -> bytes | None:
        try:
            with self._fs.open_input_file(f"{self._root}/{name}") as source:
                content: bytes = source.read()
        except FileNotFoundError:
            return None
        return content

    def _write(self, name: str, content: bytes | pa.Buffer) -> None:
        self._write_by(name, lambda sink: sink.write(content))

    def _write_by(self, name: str, fill: Callable[[Any], object]) -> None:
        if not isinstance(self._fs, pafs.LocalFileSystem):
            with self._fs.open_output_stream(f"{self._root}/{name}") as sink:
                fill(sink)
            return
        room, _, base = name.rpartition("/")
        temporary = f"{self._root}/{room}{'/' if room else ''}.{base}.{uuid.uuid4().hex}.tmp"
        try:
            with self._fs.open_output_stream(temporary) as sink:
                fill(sink)
            self._fs.move(temporary, f"{self._root}/{name}")
        except OSError:
            self._discard(temporary)
            raise

    def _discard(self, path: str) -> None:
        try:
            self._fs.delete_file(path)
        except OSError:
            return


def _row_name(trial_id: str) -> str:
    return f"trials/{trial_id}.parquet"


def _stem(name: str) -> str:
    return name.rpartition("/")[2].removesuffix(".parquet")
