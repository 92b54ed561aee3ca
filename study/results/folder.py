"""The results folder of a study, at a path or a URI: rows, weights, checkpoints, arrays, logs, and its own files."""

from __future__ import annotations

import io
import json
import math
import sys
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from study.results import digests
from study.results.row_files import (
    NewerRowError,
    RowError,
    decode_row,
    encode_row,
    flaws,
    part_of_schema,
)
from study.results.schema import ROW_SCHEMA, Row
from study.results.storage import Storage, masked, masked_in, shown_name

_RENAME = "rename it and run again (rows are kept; what was asked before is forgotten)"

CHECKPOINT_SECONDS = 30.0
"""A crash loses at most this much training, or one epoch if that is longer."""

ANSWER_SECONDS = 30.0
"""How long an object store may take to answer its first request."""

_LOCAL_READERS, _REMOTE_READERS = 2, 32  # threads; decoding takes the time on a disk, waiting on an object store
_BATCH = 500
_LARGEST_PID = 2**31 - 1


class RecordsError(Exception):
    """The results folder cannot be used; the message says what to do."""


@dataclass(frozen=True)
class Unreadable:
    """A file in `trials/` that is not a row of this version, and why; it stays where it is.

    Attributes:
        name: relative to the results folder.
        reason: what is wrong with it.
        newer: whether it is the row of a newer version of this program.
    """

    name: str
    reason: str
    newer: bool = False


class Results:
    """One study's folder: `trials/`, `weights/`, `checkpoints/`, `arrays/`, `logs/` and `study.json`.

    Every file is written whole or not at all (`study.results.storage.Storage`). Methods raise OSError if storage fails:
    a file that could not be read is never treated as missing.
    """

    def __init__(self, location: str | Path) -> None:
        try:
            self._storage = Storage(location)
        except (pa.ArrowException, OSError, ValueError, RuntimeError) as error:  # `~nosuch` is a RuntimeError
            reason = f"cannot use {masked(str(location))!r} as a results folder: {masked(str(error))}"
            raise RecordsError(reason) from None
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
        """A trial's row; None if there is none, or if it cannot be read: its file is set aside then."""
        name = f"trials/{trial_id}.parquet"
        content = self._storage.read(name)
        if content is None:
            return None
        try:
            table = decode_row(content, trial_id)
            for reason in flaws(table).values():
                raise RowError(reason)
        except RowError as error:
            self.set_aside(name, str(error))
            return None
        row: Row = table.to_pylist()[0]
        return row

    def set_aside(self, name: str, reason: str) -> None:
        """Rename a file that cannot be used, so that it is neither read nor overwritten, and say so."""
        new = f"{name}.damaged-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{uuid.uuid4().hex[:6]}"
        with suppress(FileNotFoundError):
            self._storage.move(name, new)
            print(f"renamed the unusable file {self.location}/{name} to {new}: {reason}", file=sys.stderr, flush=True)

    def read_rows(self, columns: Sequence[str] | None = None) -> tuple[list[Row], list[Unreadable]]:
        """As `read_table`, each row as a dictionary of `columns` (all by default), in their order."""
        table, unreadable = self.read_table(columns)
        names = dict.fromkeys(name.partition(".")[0] for name in columns or ROW_SCHEMA.names)
        return table.select(list(names)).to_pylist(), unreadable

    def read_table(self, columns: Collection[str] | None = None) -> tuple[pa.Table, list[Unreadable]]:
        """All rows, ordered by trial id, and the files in `trials/` that are not rows of this version.

        Args:
            columns: what to read at least, as `row_files.part_of_schema` takes it; None: everything.

        Raises:
            RecordsError: there is no results folder, or it cannot be read.
        """
        schema = ROW_SCHEMA if columns is None else part_of_schema(columns)
        try:
            files = [name for name in self._storage.list("trials") if name.endswith(".parquet")]
            rows, unreadable = self._read_files(files, schema)
        except FileNotFoundError as error:
            raise RecordsError(f"{self.location} holds no results (it does not exist, or has no trials/)") from error
        except NotADirectoryError as error:
            raise RecordsError(f"{self.location} is a file, not a results folder") from error
        except OSError as error:
            raise RecordsError(f"cannot read the results folder {self.location}: {error}") from error
        pa.default_memory_pool().release_unused()  # decoding took more memory than the rows need
        return rows.combine_chunks(), unreadable

    def _read_files(self, files: Sequence[str], schema: pa.Schema) -> tuple[pa.Table, list[Unreadable]]:
        """The rows in these files of `trials/`, in their order."""
        parts, unreadable = [schema.empty_table()], []

        def read_file(file: str) -> pa.Table | Unreadable | None:
            return self._read_file(file, schema)

        with ThreadPoolExecutor(_REMOTE_READERS if self._storage.remote else _LOCAL_READERS) as pool:
            for start in range(0, len(files), _BATCH):  # many small buffers: those of a batch are merged and freed
                found = list(pool.map(read_file, files[start : start + _BATCH]))
                read = [table for table in found if isinstance(table, pa.Table)]
                rows = pa.concat_tables([schema.empty_table(), *read]).combine_chunks()
                if bad := flaws(rows):
                    rows = rows.filter(pc.invert(pc.is_in(rows["trial_id"], pa.array(list(bad)))))
                parts.append(rows)
                unreadable += [file for file in found if isinstance(file, Unreadable)]
                unreadable += [Unreadable(f"trials/{trial_id}.parquet", reason) for trial_id, reason in bad.items()]
        return pa.concat_tables(parts), unreadable

    def _read_file(self, file: str, schema: pa.Schema) -> pa.Table | Unreadable | None:
        name = f"trials/{shown_name(file)}"
        if not file.isprintable():
            return Unreadable(name, "its name is not that of a row")
        try:
            content = self._storage.read(name)
            return None if content is None else decode_row(content, file.removesuffix(".parquet"), schema)
        except RowError as error:
            return Unreadable(name, str(error), isinstance(error, NewerRowError))
        except OSError as error:
            if self._storage.remote:  # the store fails, not this file: any other row may be lost as well
                raise
            return Unreadable(name, f"cannot be read: {error}")

    # -- weights and checkpoints -----------------------------------------------------------------------------

    def write_weights(self, trial_id: str, state: bytes) -> None:
        """Store a trial's trained weights."""
        self._storage.write(f"weights/{trial_id}.safetensors", state)

    def read_weights(self, trial_id: str) -> bytes | None:
        """A trial's trained weights, or None if there are none; `checkpoints.load_weights` compares their digest."""
        return self._storage.read(f"weights/{trial_id}.safetensors")

    def trials_with_weights(self) -> set[str]:
        """The ids of the trials whose weights are stored, damaged or not."""
        names = (name.rpartition(".") for name in self.files("weights"))
        return {trial_id for trial_id, _, suffix in names if suffix == "safetensors"}

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
        self._storage.write(f"arrays/{trial_id}.npz", digests.add_to_zip(buffer.getvalue()))

    def read_arrays(self, trial_id: str) -> dict[str, npt.NDArray[Any]]:
        """A trial's named arrays; empty if there are none, or if they are damaged: their file is set aside then."""
        name = f"arrays/{trial_id}.npz"
        try:
            content = self._storage.read(name)
            return {} if content is None else decode_arrays(content)
        except digests.DamagedError as error:
            try:
                self.set_aside(name, str(error))
            except OSError:  # in a folder that can only be read
                print(f"skipped {self.location}/{name}: {error}", file=sys.stderr)
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
        try:
            content = self._storage.read("study.json")
            study: dict[str, Any] = {} if content is None else json.loads(content)
        except (ValueError, OSError) as error:
            raise RecordsError(f"{self.location}/study.json is damaged ({error}); {_RENAME}") from error
        requests = study.get("requests", []) if isinstance(study, dict) else None
        if not isinstance(requests, list) or not all(isinstance(request, dict) for request in requests):
            raise RecordsError(f"{self.location}/study.json is not a study's record; {_RENAME}")
        return study

    def write_study(self, study: dict[str, Any]) -> None:
        """Replace the content of study.json; what looks like a secret in it is masked."""
        self._storage.write("study.json", json.dumps(masked_in(study), indent=1).encode())

    def write_sources(self, texts: Mapping[str, str]) -> None:
        """Keep the text of modules from outside the package, unmasked, as a record: nothing imports it from here."""
        for place, text in texts.items():
            self._storage.make_folder(PurePosixPath("sources", place).parent.as_posix())
            self._storage.write(f"sources/{place}", text.encode())

    def read_run_lock(self) -> dict[str, Any] | None:
        """The run lock's last heartbeat: host, process id and time (`at`, seconds since 1970).

        None if no command runs here, or if the file is damaged.
        """
        try:
            lock = json.loads(self._storage.read("run.json") or b"null")
        except ValueError:
            return None
        if not isinstance(lock, dict) or not isinstance(lock.get("at"), float) or not isinstance(lock.get("pid"), int):
            return None
        return lock if math.isfinite(lock["at"]) and 0 < lock["pid"] <= _LARGEST_PID else None

    def write_run_lock(self, lock: dict[str, Any]) -> None:
        """Store a heartbeat of the command that runs here."""
        self._storage.write("run.json", json.dumps(lock).encode())

    def delete_run_lock(self) -> None:
        """Release the run lock, if there is one."""
        self._storage.delete("run.json")

    # -- checks --------------------------------------------------------------------------------------------------

    def files(self, folder: str) -> list[str]:
        """The names of the files in a folder; none if there is no such folder."""
        try:
            return self._storage.list(folder)
        except FileNotFoundError:
            return []

    def read_file(self, name: str) -> bytes:
        """A file's content. Raises OSError if there is none."""
        content = self._storage.read(name)
        if content is None:
            raise FileNotFoundError(f"{name} is gone")
        return content

    def damaged_records(self) -> Iterator[tuple[str, str]]:
        """Name and flaw of the files of the study as a whole that cannot be read."""
        try:
            self.read_study()
        except RecordsError as error:
            yield "study.json", str(error)
        try:
            json.loads(self._storage.read("run.json") or b"{}")
        except (ValueError, OSError) as error:
            yield "run.json", f"damaged, and therefore ignored: {error}"

    # -- the folder ------------------------------------------------------------------------------------------

    def create(self) -> None:
        """Make the folder, delete what killed commands left in it, and prove that it can be written to.

        Raises:
            RecordsError: it cannot be reached, made or written to.
        """
        try:
            for name in ("trials", "weights", "checkpoints", "arrays", "logs"):
                self._storage.make_folder(name)
            self._storage.delete_unfinished()
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
            RecordsError: its storage cannot be reached, does not answer within ANSWER_SECONDS or denies access.
        """
        try:
            return self._within_limit(lambda: self._storage.has_folder("trials"))
        except OSError as error:
            raise RecordsError(
                f"cannot look into the results folder {self.location}: {error}; check the credentials, the bucket and "
                "the network, or give another folder with --results"
            ) from error

    def _within_limit(self, ask: Callable[[], bool]) -> bool:
        """The answer of an object store, whose client tries for minutes, silently, without credentials."""
        if not self._storage.remote:
            return ask()
        answer: Future[bool] = Future()

        def work() -> None:
            try:
                answer.set_result(ask())
            except BaseException as error:
                answer.set_exception(error)

        threading.Thread(target=work, daemon=True).start()  # one of a pool would keep the program from ending
        if not wait([answer], ANSWER_SECONDS).done:
            raise RecordsError(
                f"{self.location} does not answer within {ANSWER_SECONDS:.0f} s: check the network and the credentials "
                "(AWS_PROFILE or AWS_ACCESS_KEY_ID; GOOGLE_APPLICATION_CREDENTIALS)"
            )
        return answer.result()


def decode_arrays(content: bytes) -> dict[str, npt.NDArray[Any]]:
    """The named arrays of an .npz file.

    Raises:
        DamagedError: they do not match their digest or cannot be read.
    """
    digests.check_zip(content)
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except Exception as error:  # numpy, zipfile and zlib raise many kinds, a header of 72 TiB a MemoryError
        raise digests.DamagedError(f"damaged: {error}") from error
