"""Rows, weights and checkpoints of a study, at a path or a URI, each file whole or absent."""

from __future__ import annotations

import io
import json
import uuid
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from study.schema import ROW_KIND, ROW_SCHEMA, SCHEMA_VERSION, Row

_READERS = 8
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
        pq.write_table(pa.Table.from_pylist([row], schema=ROW_SCHEMA), sink)
        self._write(_row_name(row["trial_id"]), sink.getvalue())

    def read_row(self, trial_id: str) -> Row | None:
        """A trial's row, or None when there is none that can be read."""
        row = self._read_row_file(_row_name(trial_id), None)
        return row if isinstance(row, dict) else None

    def read_rows(self, columns: Sequence[str] | None = None) -> tuple[list[Row], list[Unreadable]]:
        """All rows, ordered by trial id, and the files beside them that are torn, foreign or of another schema.

        `columns` names the columns to read (all by default); a column that an older row lacks is null.

        Raises:
            RecordsError: the folder does not exist.
        """
        names = sorted(name for name in self._list("trials") if name.endswith(".parquet"))
        with ThreadPoolExecutor(_READERS) as pool:
            read = list(pool.map(lambda name: self._read_row_file(f"trials/{name}", columns), names))
        rows = [item for item in read if isinstance(item, dict)]
        return rows, [item for item in read if isinstance(item, Unreadable)]

    def _read_row_file(self, name: str, columns: Sequence[str] | None) -> Row | Unreadable | None:
        try:
            with self._fs.open_input_file(f"{self._root}/{name}") as source:
                content = source.read_buffer()  # a row is small: one request instead of one a column
            file = pq.ParquetFile(pa.BufferReader(content))
            schema = file.schema_arrow  # made anew at every access, in half a millisecond
            refusal = _refusal(schema, file.metadata.num_rows)
            if refusal:
                return Unreadable(name, refusal)
            known = set(schema.names)
            present = [c for c in columns or ROW_SCHEMA.names if c in known]
            row: Row = file.read(columns=present, use_threads=False).to_pylist()[0]
            if row.get("trial_id", _stem(name)) != _stem(name):
                return Unreadable(name, f"a copy: it holds the row of trial {row['trial_id']}")
        except FileNotFoundError:
            return None
        except (pa.ArrowException, OSError, ValueError) as error:
            return Unreadable(name, f"torn or damaged: {str(error).splitlines()[0]}")
        return dict.fromkeys(columns or ROW_SCHEMA.names) | row

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

    def read_gpu_shares(self) -> dict[str, Any]:
        """What was measured of trials on GPUs, by kind of trial; empty if nothing or if it is damaged."""
        try:
            stored = json.loads(self._read("gpu_shares.json") or b"{}")
        except ValueError:
            return {}
        return stored if isinstance(stored, dict) else {}

    def write_gpu_shares(self, needs: Mapping[str, Any]) -> None:
        """Store what was measured, in place of what was known."""
        self._write("gpu_shares.json", json.dumps(needs, indent=1).encode())

    def read_claim(self) -> dict[str, Any] | None:
        """Which command runs here, as it said last (`at` is in seconds since 1970); None if none can be read."""
        try:
            claim = json.loads(self._read("run.json") or b"null")
        except ValueError:
            return None
        sound = isinstance(claim, dict) and isinstance(claim.get("at"), float) and isinstance(claim.get("pid"), int)
        return claim if sound else None

    def write_claim(self, claim: dict[str, Any]) -> None:
        """Say which command runs on this folder."""
        self._write("run.json", json.dumps(claim).encode())

    def delete_claim(self) -> None:
        """Say that none does."""
        self._fs.delete_file(f"{self._root}/run.json")

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
        try:
            infos = self._fs.get_file_info(pafs.FileSelector(f"{self._root}/{room}"))
        except FileNotFoundError as error:
            raise RecordsError(f"{self.location} holds no results (no {room}/ in it)") from error
        except OSError as error:
            raise RecordsError(f"cannot read the results folder {self.location}: {error}") from error
        return [info.base_name for info in infos if info.is_file and not info.base_name.startswith(".")]

    def _read(self, name: str) -> bytes | None:
        try:
            with self._fs.open_input_file(f"{self._root}/{name}") as source:
                content: bytes = source.read()
        except FileNotFoundError:
            return None
        return content

    def _write(self, name: str, content: bytes | pa.Buffer) -> None:
        if not isinstance(self._fs, pafs.LocalFileSystem):
            with self._fs.open_output_stream(f"{self._root}/{name}") as sink:
                sink.write(content)
            return
        room, _, base = name.rpartition("/")
        temporary = f"{self._root}/{room}/.{base}.{uuid.uuid4().hex}.tmp"
        try:
            with self._fs.open_output_stream(temporary) as sink:
                sink.write(content)
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


def _refusal(schema: pa.Schema, rows: int) -> str:
    metadata = schema.metadata or {}
    if metadata.get(b"kind") != ROW_KIND:
        return "foreign: not a trial row of this study"
    version = int(metadata.get(b"schema_version", b"0"))
    if version != SCHEMA_VERSION:
        return f"written by schema version {version}, this is version {SCHEMA_VERSION}"
    if rows != 1:
        return f"holds {rows} rows instead of one"
    return ""
