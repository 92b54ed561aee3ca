"""Files in a folder at a path or a URI, each whole or absent."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

import pyarrow as pa
import pyarrow.fs as pafs

Answer = TypeVar("Answer")

PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 30.0)
"""Seconds between attempts at storage over a network that fails; with the client's own 6 s for each 2 minutes."""

PERMANENT = (
    "ACCESS_DENIED",
    "PERMISSION_DENIED",
    "UNAUTHENTICATED",
    "NO_SUCH_BUCKET",
    "INVALID",
    "SIGNATURE",
    "not found",
)
"""What an error says that no wait will mend."""

ONE_REQUEST = "allow_delayed_open=true"
"""Arrow's option of S3: a file below 5 MB is one request, where it would be three."""


class Stamp(NamedTuple):
    """What tells one state of a file from another: its size in bytes and its time of change in nanoseconds."""

    size: int
    changed: int


class Storage:
    """One folder and the files below it, by names relative to it.

    On a file system each file is written under a temporary name and renamed, which POSIX makes atomic, NFS included. On
    an object store, where a rename is a copy, the upload itself is all or nothing. Storage over a network that fails
    is asked again for PAUSES before the error is raised.

    Attributes:
        location: absolute path or URI.
        remote: whether it is an object store.

    Raises:
        OSError, ValueError, pyarrow.ArrowException: the URI cannot be used.
    """

    def __init__(self, location: str | Path) -> None:
        self.location = str(location)
        self.remote = "://" in self.location
        if self.remote:
            self._fs, self._root = _open(self.location)
            if not self._root.strip("/"):
                raise ValueError("it names no folder")
            self.remote = not isinstance(self._fs, pafs.LocalFileSystem)
        else:
            self.location = str(Path(self.location).expanduser().absolute())
            self._fs, self._root = pafs.LocalFileSystem(), self.location

    def make_folder(self, name: str) -> None:
        """Make a folder, and those above it. Raises OSError at once."""
        self._fs.create_dir(self._path(name), recursive=True)

    def has_folder(self, name: str) -> bool:
        """Whether there is such a folder. Raises OSError at once."""
        return bool(self._fs.get_file_info(self._path(name)).type == pafs.FileType.Directory)

    def list(self, folder: str) -> list[str]:
        """Names of the files in a folder but hidden ones; an object store is asked once for a thousand.

        Raises:
            FileNotFoundError: there is no such folder.
        """
        return [*self.stamps(folder)]

    def stamps(self, folder: str) -> dict[str, Stamp]:
        """The state of each of these files, by name; raises as `list`."""
        infos = self._patiently(lambda: self._fs.get_file_info(pafs.FileSelector(self._path(folder))))
        files = [info for info in infos if info.is_file and not info.base_name.startswith(".")]
        return {info.base_name: Stamp(info.size, info.mtime_ns or 0) for info in files}

    def read(self, name: str) -> bytes | None:
        """A file's content; None when there is none."""

        def read() -> bytes | None:
            try:
                with self._fs.open_input_file(self._path(name)) as source:
                    content: bytes = source.read()
            except FileNotFoundError:
                return None
            return content

        return self._patiently(read)

    def write(self, name: str, content: bytes | pa.Buffer) -> None:
        """Store a file in place of an older one."""
        self._patiently(lambda: self._write(name, content))

    def write_at_once(self, name: str, content: bytes | pa.Buffer) -> None:
        """The same, without patience: a folder that cannot be written to is told at the start."""
        self._write(name, content)

    def delete(self, name: str) -> None:
        """Remove a file, if there is one."""

        def delete() -> None:
            try:
                self._fs.delete_file(self._path(name))
            except FileNotFoundError:
                return

        self._patiently(delete)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _patiently(self, ask: Callable[[], Answer]) -> Answer:
        for pause in PAUSES if self.remote else ():
            try:
                return ask()
            except FileNotFoundError:
                raise
            except OSError as error:
                if any(sign in str(error) for sign in PERMANENT):
                    raise
                time.sleep(pause)
        return ask()

    def _write(self, name: str, content: bytes | pa.Buffer) -> None:
        if self.remote:
            with self._fs.open_output_stream(self._path(name)) as sink:
                sink.write(content)
            return
        room, _, base = self._path(name).rpartition("/")
        temporary = f"{room}/.{base}.{uuid.uuid4().hex}.tmp"
        try:
            with self._fs.open_output_stream(temporary) as sink:
                sink.write(content)
            self._fs.move(temporary, self._path(name))
        except OSError:
            self._discard(temporary)
            raise

    def _discard(self, path: str) -> None:
        try:
            self._fs.delete_file(path)
        except OSError:
            return


def _open(uri: str) -> tuple[pafs.FileSystem, str]:
    opened: tuple[pafs.FileSystem, str]
    if uri.startswith("s3://") and "allow_delayed_open" not in uri:
        try:
            opened = pafs.FileSystem.from_uri(f"{uri}{'&' if '?' in uri else '?'}{ONE_REQUEST}")
        except pa.ArrowInvalid:  # an older pyarrow, or the user's own mistake, which is told below
            pass
        else:
            return opened
    opened = pafs.FileSystem.from_uri(uri)
    return opened
