"""SHA-256 digests inside the files of a results folder, where other programs that read these files pass over them.

A Parquet file gets its digest as the binary extension of its footer (field 32767, which the Parquet format reserves
for that), a zip file (arrays, checkpoints) as its comment. Each covers every byte before it, and the few bytes after it
have one valid form, so that no bit of a file can change unnoticed. Weights carry theirs in the metadata of safetensors.
"""

from __future__ import annotations

import hashlib
import io
import struct

SIZE = 32

_PARQUET_FIELD = bytes([0x08, 0xFE, 0xFF, 0x03, SIZE])  # Thrift, compact: type binary, field 32767, length
_PARQUET_END = b"PAR1"
_PARQUET_TAIL = len(_PARQUET_FIELD) + SIZE + 1 + 4 + len(_PARQUET_END)

_ZIP_END = b"PK\x05\x06"
_ZIP_END_SIZE = 22
_ZIP_COMMENT = b"sha256:"
_ZIP_TAIL = len(_ZIP_COMMENT) + 2 * SIZE


class DamagedError(ValueError):
    """Stored bytes are not those that were written; the message says how that is known."""


def add_to_parquet(file: io.BytesIO) -> None:
    """Add a digest of all its bytes to the footer of a Parquet file."""
    with file.getbuffer() as whole:
        footer_size = int.from_bytes(whole[-8:-4], "little")
        digest = hashlib.sha256(whole[:-9]).digest()  # all but the footer's stop byte, its size and the end mark
    file.seek(-9, io.SEEK_END)
    file.write(_parquet_tail(digest, footer_size + len(_PARQUET_FIELD) + SIZE))


def check_parquet(content: bytes) -> None:
    """Raise DamagedError unless a Parquet file has the digest of its bytes."""
    whole = memoryview(content)
    digest = hashlib.sha256(whole[:-_PARQUET_TAIL]).digest()
    footer_size = int.from_bytes(whole[-8:-4], "little")
    tail = bytes(whole[-_PARQUET_TAIL:])
    if not tail.startswith(_PARQUET_FIELD):
        raise DamagedError("it has no digest: it was cut short or altered, or version 0.1.0 wrote it")
    if tail != _parquet_tail(digest, footer_size):
        raise DamagedError("its bytes do not match its digest")


def _parquet_tail(digest: bytes, footer_size: int) -> bytes:
    return _PARQUET_FIELD + digest + b"\0" + struct.pack("<I", footer_size) + _PARQUET_END


def add_to_zip(content: bytes) -> bytes:
    """A zip file without a comment, with a digest of all its bytes as its comment."""
    if content[-_ZIP_END_SIZE:][:4] != _ZIP_END or content[-2:] != b"\0\0":
        raise ValueError("not a zip file without a comment")
    whole = content[:-2] + struct.pack("<H", _ZIP_TAIL)
    return whole + _zip_tail(whole)


def check_zip(content: bytes) -> None:
    """Raise DamagedError unless a zip file has the digest of its bytes."""
    if content[-_ZIP_TAIL:] != _zip_tail(content[:-_ZIP_TAIL]):
        raise DamagedError("its bytes do not match its digest")


def _zip_tail(content: bytes) -> bytes:
    return _ZIP_COMMENT + hashlib.sha256(content).hexdigest().encode()
