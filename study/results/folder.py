"""Rows, weights and checkpoints of a study, at a path or a URI, each file whole or absent."""

from __future__ import annotations

import io
import json
import uuid
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from study.results.row_files import FOLDER, RowFiles, Unreadable
from study.results.schema import ROW_SCHEMA, Row
from study.results.storage import Storage

_RENAME = "rename it and run again (rows are kept; what was asked before is forgotten)"

CHECKPOINT_SECONDS = 30.0
"""A crash loses at most this much training, or one epoch if that is longer."""

__all__ = ["RecordsError", "Results", "Unreadable"]


class RecordsError(Exception):
    """The results folder cannot be used as asked; the message says what to do."""


class Results:
    """One study's folder: `trials/`, `weights/`, `checkpoints/`, `arrays/`, `logs/` and `study.json`.

    A reader never sees half of a file: see `study.results.storage.Storage`. Methods raise OSError where storage fails;
    what could not be read is never taken for absent.
    """

    def __init__(self, location: str | Path) -> None:
        try:
            self._storage = Storage(location)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise RecordsError(f"cannot use {str(location)!r} as a results folder: {error}") from error
        self._rows = RowFiles(self._storage)
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
        self._rows.write(row)

    def read_row(self, trial_id: str) -> Row | None:
        """A trial's row, or None when there is none that can be read."""
        return self._rows.read(trial_id)

    def read_rows(
        self, columns: Sequence[str] | None = None, *, keep: bool = False
    ) -> tuple[list[Row], list[Unreadable]]:
        """All rows, ordered by trial id, and the files beside them that are torn, foreign or of another schema.

        `columns` names the columns to read (all by default); a column that an older row lacks is null. `keep`: of a
        large study also make or renew the one file beside the rows from which the next reading takes them.

        Raises:
            RecordsError: the folder does not exist.
        """
        with self._telling():
            return self._rows.read_all(columns, keep=keep)

    def read_table(self) -> tuple[pa.Table, list[Unreadable]]:
        """As `read_rows` with `keep` (and raises as it does), in the columns of `ROW_SCHEMA`."""
        with self._telling():
            return self._rows.read_table()

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise RecordsError(f"{self.location} holds no results (no {FOLDER}/ in it)") from error
        except OSError as error:
            raise RecordsError(f"cannot read the results folder {self.location}: {error}") from error

    # -- weights and checkpoints -----------------------------------------------------------------------------

    def write_weights(self, trial_id: str, state: bytes) -> None:
        """Store a trial's trained weights."""
        self._storage.write(f"weights/{trial_id}.pt", state)

    def read_weights(self, trial_id: str) -> bytes | None:
        """A trial's trained weights, or None when there are none."""
        return self._storage.read(f"weights/{trial_id}.pt")

    def write_checkpoint(self, trial_id: str, state: bytes) -> None:
        """Store the state of a half-trained trial, in place of its older one."""
        self._storage.write(f"checkpoints/{trial_id}.pt", state)

    def read_checkpoint(self, trial_id: str) -> bytes | None:
        """The state of a half-trained trial, or None when there is none."""
        return self._storage.read(f"checkpoints/{trial_id}.pt")

    def delete_checkpoint(self, trial_id: str) -> None:
        """Forget a finished trial's checkpoint."""
        self._storage.delete(f"checkpoints/{trial_id}.pt")

    def write_arrays(self, trial_id: str, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Store a trial's named arrays, beside those of other names that it has already."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **(self.read_arrays(trial_id) | dict(arrays)))
        self._storage.write(f"arrays/{trial_id}.npz", buffer.getvalue())

    def read_arrays(self, trial_id: str) -> dict[str, npt.NDArray[Any]]:
        """A trial's named arrays; none when there are none that can be read."""
        content = self._storage.read(f"arrays/{trial_id}.npz")
        if content is None:
            return {}
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as stored:
                return {name: stored[name] for name in stored.files}
        except (OSError, ValueError, zipfile.BadZipFile):
            return {}

    def write_log(self, trial_id: str, text: str) -> None:
        """Store what there is to say of a trial: the traceback of its failure, or why it was slow."""
        self._storage.write(f"logs/{trial_id}.txt", text.encode())

    # -- the study's own file --------------------------------------------------------------------------------

    def read_study(self) -> dict[str, Any]:
        """What was asked of this folder so far; empty for a new one.

        Raises:
            RecordsError: study.json is damaged.
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
        """Store what was asked of this folder."""
        self._storage.write("study.json", json.dumps(study, indent=1).encode())

    def read_gpu_shares(self) -> dict[str, Any]:
        """What was measured of trials on GPUs, by kind of trial; empty if nothing or if it is damaged."""
        try:
            stored = json.loads(self._storage.read("gpu_shares.json") or b"{}")
        except ValueError:
            return {}
        return stored if isinstance(stored, dict) else {}

    def write_gpu_shares(self, needs: Mapping[str, Any]) -> None:
        """Store what was measured, in place of what was known."""
        self._storage.write("gpu_shares.json", json.dumps(needs, indent=1).encode())

    def read_claim(self) -> dict[str, Any] | None:
        """Which command runs here, as it said last (`at` is in seconds since 1970); None if none can be read."""
        try:
            claim = json.loads(self._storage.read("run.json") or b"null")
        except ValueError:
            return None
        sound = isinstance(claim, dict) and isinstance(claim.get("at"), float) and isinstance(claim.get("pid"), int)
        return claim if sound else None

    def write_claim(self, claim: dict[str, Any]) -> None:
        """Say which command runs on this folder."""
        self._storage.write("run.json", json.dumps(claim).encode())

    def delete_claim(self) -> None:
        """Say that none does."""
        self._storage.delete("run.json")

    # -- the folder ------------------------------------------------------------------------------------------

    def create(self) -> None:
        """Make the folder and prove that it can be written to.

        Raises:
            RecordsError: its storage denies an answer, or it cannot be made or written to.
        """
        try:
            for room in ("trials", "weights", "checkpoints", "arrays", "logs"):
                self._storage.make_folder(room)
            probe = f"trials/.writable-{uuid.uuid4().hex}"
            self._storage.write_at_once(probe, b"")
            self._storage.delete(probe)
        except OSError as error:
            self.exists()  # where even looking is denied, that is the error
            raise RecordsError(
                f"cannot write to the results folder {self.location}: {error}; give another one with --results"
            ) from error

    def exists(self) -> bool:
        """Whether there is a results folder here.

        Raises:
            RecordsError: its storage denies an answer or cannot be reached.
        """
        try:
            return self._storage.has_folder("trials")
        except OSError as error:
            raise RecordsError(
                f"cannot look into the results folder {self.location}: {error}; check the credentials, the bucket and "
                "the network, or give another folder with --results"
            ) from error
