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
Shape = tuple[int, int, int]
"""(C, H, W)."""
Part = tuple[Images, Labels]
"""Images (N, C, H, W) uint8 and labels (N,) int64, both contiguous."""


class DataError(Exception):
    """A data file is missing, damaged or has unexpected content. The message names it."""


@dataclass(frozen=True)
class DatasetInfo:
    """The sizes of a dataset as published, and its loader.

    `loader(info, data_dir)` returns the official training and test parts, or raises `DataError`.
    """

    name: str
    num_classes: int
    image_shape: Shape
    train_count: int
    test_count: int
    loader: Callable[[DatasetInfo, Path], tuple[Part, Part]] = field(repr=False)


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
