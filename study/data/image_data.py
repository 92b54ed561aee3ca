"""What every loader returns, and the error that it raises."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]
Part = tuple[Images, Labels]
"""Images (N, C, H, W) uint8 and labels (N,) int64, both contiguous."""

PUBLISHED_REMEDY = "Move it away and run again to download it, or put an undamaged copy there"
"""What to do about a published file that cannot be used. Nothing is deleted: it may be whole, of another version."""


class DataError(Exception):
    """A data file is missing, damaged or has unexpected content. The message names it."""


def damaged(path: Path, fault: str) -> DataError:
    """The error for a file that exists but cannot be used; `fault` completes the sentence "<path> ..."."""
    return DataError(f"{path} {fault}")


def read_bytes(path: Path) -> bytes:
    """The content of the file; `DataError` if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise damaged(path, f"cannot be read ({error.strerror or error})") from error


def check_md5(path: Path, content: bytes, expected: str) -> None:
    """Raise `DataError` unless `content`, read from `path`, has the published md5 `expected`."""
    actual = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if actual != expected:
        raise damaged(path, f"has md5 {actual}, not {expected} as published")


def check_labels(path: Path, labels: npt.NDArray[np.generic], num_classes: int) -> None:
    """Raise `DataError` unless every label is in 0 .. num_classes - 1."""
    if labels.size and (labels.min() < 0 or labels.max() >= num_classes):
        raise damaged(path, f"holds labels {labels.min()} to {labels.max()}, not 0 to {num_classes - 1}")


@dataclass(frozen=True)
class DatasetInfo:
    """The sizes of a dataset as published, and its loader.

    `image_shape` is (channels, height, width). `loader(info, data_dir, verify)` returns the official training and test
    parts, or raises `DataError`.
    """

    name: str
    num_classes: int
    image_shape: tuple[int, int, int]
    train_count: int
    test_count: int
    loader: Callable[[DatasetInfo, Path, bool], tuple[Part, Part]] = field(repr=False)


@dataclass(frozen=True, eq=False)
class ImageData:
    """The official training and test sets: images uint8 (N, C, H, W) in 0..255, labels int64 (N,).

    `sha256` is that of the four arrays (type, shape, bytes), so it also depends on the order of the images.
    """

    name: str
    train_x: Images
    train_y: Labels
    test_x: Images
    test_y: Labels
    sha256: str

    @classmethod
    def of(cls, name: str, train: Part, test: Part) -> ImageData:
        """The two parts with their sha256."""
        digest = hashlib.sha256()
        for array in (*train, *test):
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
        return cls(name, *train, *test, sha256=digest.hexdigest())
