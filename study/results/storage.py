"""Files in a folder at a path or a URI, each written whole or not at all."""

from __future__ import annotations

import builtins
import errno
import os
import re
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.fs as pafs

T = TypeVar("T")

PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 30.0)
"""Seconds between attempts at an object store that fails; 2 minutes with the 6 s that its client adds to each."""

PERMANENT = (
    "ACCESS_DENIED",
    "PERMISSION_DENIED",
    "UNAUTHENTICATED",
    "NO_SUCH_BUCKET",
    "INVALID",
    "SIGNATURE",
    "not found",
)
"""Words in the messages of errors that a retry cannot fix."""

UNFINISHED_SECONDS = 86_400.0
"""Age at which a temporary file counts as left behind: no write takes so long."""

ONE_REQUEST = "allow_delayed_open=true"
"""Arrow's option for S3: a file below 5 MB is written in one request instead of three."""


_CREDENTIALS = re.compile(r"(?i)(?<=://)[^\s'\"?#]*:[^\s'\"?#]*(?=@)")
_SECRET_OPTION = re.compile(
    r"(?i)(?<=[?&])([a-z_-]*(?:secret|token|password|passwd|credential|access_?key)[a-z_-]*=)(?!\*\*\*)[^&\s'\"]+"
)


def masked(text: str) -> str:
    """A location, command or message, with `***` in place of what looks like a secret in a URI."""
    return _SECRET_OPTION.sub(r"\1***", _CREDENTIALS.sub("***", text))


def masked_in(value: Any) -> Any:
    """JSON data with all its texts `masked`."""
    if isinstance(value, str):
        return masked(value)
    if isinstance(value, dict):
        return {key: masked_in(entry) for key, entry in value.items()}
    return [masked_in(entry) for entry in value] if isinstance(value, list) else value


def shown_name(name: str) -> str:
    """A file's name as text that can be printed: bytes that are not UTF-8 as escapes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


class Storage:
    """A folder and the files below it; their names are relative to it.

    On a file system each file is written under a temporary name and renamed, which POSIX makes atomic, NFS included. On
    an object store, where a rename is a copy, the upload itself is all or nothing. Requests to an object store that
    fail are repeated after each of PAUSES before the error is raised.

    Attributes:
        location: absolute path or URI.
        remote: whether it is an object store.

    Raises:
        OSError, ValueError, pyarrow.ArrowException: the URI cannot be used.
    """

    def __init__(self, location: str | Path) -> None:
        self.location = str(location)
        if masked(self.location) != self.location:
            raise ValueError(
                "a URI must hold no key or password, it would be stored; use the environment's credentials"
            )
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
        """Make a folder and its parents. Raises OSError at once, without retries."""
        self._fs.create_dir(self._path(name), recursive=True)

    def has_folder(self, name: str) -> bool:
        """Whether there is such a folder. Raises OSError at once, without retries."""
        return bool(self._fs.get_file_info(self._path(name)).type == pafs.FileType.Directory)

    def list(self, folder: str) -> builtins.list[str]:
        """The names of the files in a folder, sorted, without hidden ones: one request for a thousand files.

        Raises:
            FileNotFoundError: there is no such folder.
        """
        if not self.remote:  # Arrow would refuse the whole folder for one name that is not UTF-8
            return _list_local(self._path(folder))
        infos = self._retry(lambda: self._fs.get_file_info(pafs.FileSelector(self._path(folder))))
        return sorted(info.base_name for info in infos if info.is_file and not info.base_name.startswith("."))

    def read(self, name: str) -> bytes | None:
        """A file's content; None if there is no such file."""

        def read() -> bytes | None:
            try:
                if not self.remote:  # a tenth of the time that Arrow takes for a small file
                    return Path(self._path(name)).read_bytes()
                with self._fs.open_input_file(self._path(name)) as source:
                    content: bytes = source.read()
            except FileNotFoundError:
                return None
            return content

        return self._retry(read)

    def write(self, name: str, content: bytes | memoryview) -> None:
        """Store a file in place of an older one."""
        self._retry(lambda: self.write_once(name, content))

    def write_once(self, name: str, content: bytes | memoryview) -> None:
        """As `write`, without retries."""
        if self.remote:
            with self._fs.open_output_stream(self._path(name)) as sink:
                sink.write(content)
            return
        folder, _, base = self._path(name).rpartition("/")
        temporary = f"{folder}/.{base}.{uuid.uuid4().hex}.tmp"
        try:
            with Path(temporary).open("wb") as sink:
                sink.write(content)
                sink.flush()
                _sync(sink.fileno())  # else the new name may survive a power loss without the content
            Path(temporary).replace(self._path(name))
        except OSError:
            with suppress(OSError):
                self._fs.delete_file(temporary)
            raise

    def delete_unfinished(self) -> None:
        """Delete the temporary files that killed processes left here and one folder below."""
        name = f".*.{'[0-9a-f]' * 32}.tmp"  # as `write_once` names them
        root = Path(self._root)
        for file in [] if self.remote else [*root.glob(name), *root.glob(f"*/{name}")]:
            with suppress(OSError):
                if time.time() - file.stat().st_mtime > UNFINISHED_SECONDS:
                    file.unlink()

    def move(self, name: str, new: str) -> None:
        """Rename a file."""
        self._retry(lambda: self._fs.move(self._path(name), self._path(new)))

    def delete(self, name: str) -> None:
        """Remove a file, if there is one."""

        def delete() -> None:
            with suppress(FileNotFoundError):
                self._fs.delete_file(self._path(name))

        self._retry(delete)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _retry(self, work: Callable[[], T]) -> T:
        for pause in PAUSES if self.remote else ():
            try:
                return work()
            except FileNotFoundError:
                raise
            except OSError as error:
                if any(word in str(error) for word in PERMANENT):
                    raise
                time.sleep(pause)
        return work()


def _list_local(folder: str) -> list[str]:
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            with suppress(OSError):  # deleted since, or a loop of links
                if entry.is_file():
                    found.append(entry.name)
    return sorted(found)


def _open(uri: str) -> tuple[pafs.FileSystem, str]:
    opened: tuple[pafs.FileSystem, str]
    if uri.startswith("s3://") and "allow_delayed_open" not in uri:
        with suppress(pa.ArrowInvalid):  # an older pyarrow, or a mistake in the URI, which is raised below
            opened = pafs.FileSystem.from_uri(f"{uri}{'&' if '?' in uri else '?'}{ONE_REQUEST}")
            return opened
    opened = pafs.FileSystem.from_uri(uri)
    return opened


def _sync(file: int) -> None:
    """Have a file's content written to the disk, where its file system knows how to."""
    try:
        os.fsync(file)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
