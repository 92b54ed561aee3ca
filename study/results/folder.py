"""The results folder of a study, at a path or a URI: rows, weights, checkpoints, arrays, logs, and its own files."""

from __future__ import annotations

import io
import json
import uuid
import zipfile
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from study.results.row_cache import CACHE, MIN_READ_FILES, decode_cache, encode_cache
from study.results.row_files import RowError, decode_row, encode_row
from study.results.schema import ROW_SCHEMA, Row
from study.results.storage import Storage

_RENAME = "rename it and run again (rows are kept; what was asked before is forgotten)"

CHECKPOINT_SECONDS = 30.0
"""A crash loses at most this much training, or one epoch if that is longer."""

_LOCAL_READERS, _REMOTE_READERS = 2, 32  # threads; decoding takes the time on a disk, waiting on an object store
_BATCH = 500


class RecordsError(Exception):
    """The results folder cannot be used; the message says what to do."""


@dataclass(frozen=True)
class Unreadable:
    """A file in `trials/` that is not a row of this version, and why; it stays where it is."""

    name: str
    reason: str


class Results:
    """One study's folder: `trials/`, `weights/`, `checkpoints/`, `arrays/`, `logs/` and `study.json`.

    Every file is written whole or not at all (`study.results.storage.Storage`). Methods raise OSError if storage fails:
    a file that could not be read is never treated as missing.
    """

    def __init__(self, location: str | Path) -> None:
        try:
            self._storage = Storage(location)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise RecordsError(f"cannot use {str(location)!r} as a results folder: {error}") from error
        self.location = self._storage.location

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
        self._storage.write(f"trials/{row['trial_id']}.parquet", encode_row(row))

    def read_row(self, trial_id: str) -> Row | None:
        """A trial's row, or None if there is none or it cannot be read."""
        content = self._storage.read(f"trials/{trial_id}.parquet")
        try:
            return None if content is None else decode_row(content, trial_id).to_pylist()[0]
        except RowError:
            return None

    def read_rows(
        self, columns: Sequence[str] | None = None, *, update_cache: bool = False
    ) -> tuple[list[Row], list[Unreadable]]:
        """As `read_table`, each row as a dictionary of `columns` (all by default), in their order."""
        chosen = list(columns or ROW_SCHEMA.names)
        table, unreadable = self.read_table(chosen, update_cache=update_cache)
        return table.select(chosen).to_pylist(), unreadable

    def read_table(
        self, columns: Collection[str] = ROW_SCHEMA.names, *, update_cache: bool = True
    ) -> tuple[pa.Table, list[Unreadable]]:
        """All rows, ordered by trial id, and the files in `trials/` that are not rows of this version.

        Rows that are in the copy of a large study (`study.results.row_cache`) are taken from there.

        Args:
            columns: what to read, in the order of `ROW_SCHEMA`; `trial_id` is always among them.
            update_cache: renew the copy if many rows had to be read from their own files; all columns are read then.

        Raises:
            RecordsError: there is no results folder, or it cannot be read.
        """
        names = [name for name in ROW_SCHEMA.names if update_cache or name == "trial_id" or name in columns]
        try:
            stamps = self._storage.list("trials")
            cached = decode_cache(self._storage.read(CACHE), stamps, names)
            known = set() if cached is None else {f"{trial_id}.parquet" for trial_id in cached["trial_id"].to_pylist()}
            files = sorted(name for name in stamps if name.endswith(".parquet") and name not in known)
            read, unreadable = self._read_files(files, names)
        except FileNotFoundError as error:
            raise RecordsError(f"{self.location} holds no results (no trials/ in it)") from error
        except OSError as error:
            raise RecordsError(f"cannot read the results folder {self.location}: {error}") from error
        if cached is None:
            rows = read
        elif not len(read):
            return cached, unreadable
        else:
            rows = pa.concat_tables([cached, read]).sort_by("trial_id")
        if update_cache and len(read) >= MIN_READ_FILES:
            with suppress(OSError):  # of a folder that cannot be written to, every file is read again
                self._storage.write_once(CACHE, encode_cache(rows, stamps))
        return rows, unreadable

    def _read_files(self, files: Sequence[str], columns: Sequence[str]) -> tuple[pa.Table, list[Unreadable]]:
        """The rows in these files of `trials/`, in their order."""
        parts, unreadable = [ROW_SCHEMA.empty_table().select(columns)], []
        with ThreadPoolExecutor(_REMOTE_READERS if self._storage.remote else _LOCAL_READERS) as pool:
            for start in range(0, len(files), _BATCH):  # many small buffers: those of a batch are merged and freed
                found = list(pool.map(self._read_file, files[start : start + _BATCH]))
                rows = [table for table in found if isinstance(table, pa.Table)]
                parts.append(pa.concat_tables([ROW_SCHEMA.empty_table(), *rows]).select(columns).combine_chunks())
                unreadable += [file for file in found if isinstance(file, Unreadable)]
        return pa.concat_tables(parts), unreadable

    def _read_file(self, file: str) -> pa.Table | Unreadable | None:
        name = f"trials/{file}"
        try:
            content = self._storage.read(name)
            return None if content is None else decode_row(content, file.removesuffix(".parquet"))
        except RowError as error:
            return Unreadable(name, str(error))
        except OSError as error:
            if self._storage.remote:  # the store fails, not this file: any other row may be lost as well
                raise
            return Unreadable(name, f"cannot be read: {error}")

    # -- weights and checkpoints -----------------------------------------------------------------------------

    def write_weights(self, trial_id: str, state: bytes) -> None:
        """Store a trial's trained weights."""
        self._storage.write(f"weights/{trial_id}.pt", state)

    def read_weights(self, trial_id: str) -> bytes | None:
        """A trial's trained weights, or None if there are none."""
        return self._storage.read(f"weights/{trial_id}.pt")

    def write_checkpoint(self, trial_id: str, state: bytes) -> None:
        """Store the state of a half-trained trial, in place of its older one."""
        self._storage.write(f"checkpoints/{trial_id}.pt", state)

    def read_checkpoint(self, trial_id: str) -> bytes | None:
        """The state of a half-trained trial, or None if there is none."""
        return self._storage.read(f"checkpoints/{trial_id}.pt")

    def delete_checkpoint(self, trial_id: str) -> None:
        """Delete a finished trial's checkpoint, if there is one."""
        self._storage.delete(f"checkpoints/{trial_id}.pt")

    def write_arrays(self, trial_id: str, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Store a trial's named arrays; its arrays of other names are kept."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **(self.read_arrays(trial_id) | dict(arrays)))
        self._storage.write(f"arrays/{trial_id}.npz", buffer.getvalue())

    def read_arrays(self, trial_id: str) -> dict[str, npt.NDArray[Any]]:
        """A trial's named arrays; empty if there are none or they cannot be read."""
        content = self._storage.read(f"arrays/{trial_id}.npz")
        if content is None:
            return {}
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as stored:
                return {name: stored[name] for name in stored.files}
        except (OSError, ValueError, zipfile.BadZipFile):
            return {}

    def write_log(self, trial_id: str, text: str) -> None:
        """Store a message about a trial: the traceback of its failure, or why it was slow."""
        self._storage.write(f"logs/{trial_id}.txt", text.encode())

    # -- files of the study as a whole ---------------------------------------------------------------------------

    def read_study(self) -> dict[str, Any]:
        """The content of study.json: the requests made of this folder so far; empty for a new folder.

        Raises:
            RecordsError: study.json is damaged or of another form.
        """
        content = self._storage.read("study.json")
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
        """Replace the content of study.json."""
        self._storage.write("study.json", json.dumps(study, indent=1).encode())

    def read_gpu_shares(self) -> dict[str, Any]:
        """What was measured of trials on GPUs, by kind of trial; empty if nothing was, or if the file is damaged."""
        try:
            stored = json.loads(self._storage.read("gpu_shares.json") or b"{}")
        except ValueError:
            return {}
        return stored if isinstance(stored, dict) else {}

    def write_gpu_shares(self, shares: Mapping[str, Any]) -> None:
        """Replace what was measured of trials on GPUs."""
        self._storage.write("gpu_shares.json", json.dumps(shares, indent=1).encode())

    def read_run_lock(self) -> dict[str, Any] | None:
        """The run lock's last heartbeat: host, process id and time (`at`, seconds since 1970).

        None if no command runs here, or if the file is damaged.
        """
        try:
            lock = json.loads(self._storage.read("run.json") or b"null")
        except ValueError:
            return None
        valid = isinstance(lock, dict) and isinstance(lock.get("at"), float) and isinstance(lock.get("pid"), int)
        return lock if valid else None

    def write_run_lock(self, lock: dict[str, Any]) -> None:
        """Store a heartbeat of the command that runs here."""
        self._storage.write("run.json", json.dumps(lock).encode())

    def delete_run_lock(self) -> None:
        """Release the run lock, if there is one."""
        self._storage.delete("run.json")

    # -- the folder ------------------------------------------------------------------------------------------

    def create(self) -> None:
        """Make the folder and prove that it can be written to.

        Raises:
            RecordsError: it cannot be reached, made or written to.
        """
        try:
            for name in ("trials", "weights", "checkpoints", "arrays", "logs"):
                self._storage.make_folder(name)
            test_file = f"trials/.writable-{uuid.uuid4().hex}"
            self._storage.write_once(test_file, b"")
            self._storage.delete(test_file)
        except OSError as error:
            self.exists()  # raises a clearer error if the folder cannot even be read
            raise RecordsError(
                f"cannot write to the results folder {self.location}: {error}; give another one with --results"
            ) from error

    def exists(self) -> bool:
        """Whether there is a results folder here.

        Raises:
            RecordsError: its storage cannot be reached or denies access.
        """
        try:
            return self._storage.has_folder("trials")
        except OSError as error:
            raise RecordsError(
                f"cannot look into the results folder {self.location}: {error}; check the credentials, the bucket and "
                "the network, or give another folder with --results"
            ) from error
