"""MNIST's IDX files in torchvision's layout, unpacked or gzipped.

Format: http://yann.lecun.com/exdb/mnist/: two zero bytes, a type code (8: unsigned byte), the number of
dimensions, each dimension as a big-endian uint32, then the values.
"""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from study.data.image_data import PUBLISHED_REMEDY, DatasetInfo, Part, check_labels, check_md5, damaged, read_bytes

UNSIGNED_BYTE = 8

# md5 of the unpacked files, computed once from the original ones, so that it does not depend on how a .gz was packed.
MNIST_MD5 = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
FASHION_MNIST_MD5 = {
    "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
    "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
    "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
    "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
}


def unpacked(path: Path) -> bytes:
    """The file's content, decompressed if its name ends in .gz; `DataError` if it cannot be read."""
    content = read_bytes(path)
    if path.suffix != ".gz":
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise damaged(path, f"cannot be unpacked ({error})") from error


def parse(path: Path, content: bytes, *, dimensions: int) -> npt.NDArray[np.uint8]:
    """The array of bytes in the unpacked `content` of the IDX file `path`; DataError if it is not one."""
    magic = bytes([0, 0, UNSIGNED_BYTE, dimensions])
    if content[:4] != magic:
        raise damaged(path, f"starts with {content[:4].hex()}, not with the IDX magic number {magic.hex()}")
    start = 4 + 4 * dimensions
    if len(content) < start:
        raise damaged(path, f"is truncated: {len(content)} bytes")
    shape = tuple(int(n) for n in np.frombuffer(content, ">u4", count=dimensions, offset=4))
    if len(content) != start + math.prod(shape):
        raise damaged(path, f"has {len(content)} bytes where its header says {start + math.prod(shape)}")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape).copy()


@dataclass(frozen=True)
class IdxFiles:
    """The four files of MNIST or Fashion-MNIST in `folder` of the data directory, and their md5."""

    folder: str
    md5: Mapping[str, str]
    description = "as published, unpacked or .gz"
    remedy = PUBLISHED_REMEDY

    @property
    def files(self) -> list[str]:
        """The files, unpacked, relative to the data directory."""
        return [f"{self.folder}/{name}" for name in self.md5]

    def missing(self, data_dir: Path) -> list[str]:
        """Names, relative to the data directory, of the files that are not there."""
        return [
            name for name in self.files if not (data_dir / name).is_file() and not (data_dir / f"{name}.gz").is_file()
        ]

    def read(self, data_dir: Path, info: DatasetInfo, verify: bool) -> tuple[Part, Part]:
        """The training and test parts; with `verify` the md5 of each file is checked. Raises `DataError`."""
        folder = data_dir / self.folder
        return self._part(folder, "train", info, verify), self._part(folder, "t10k", info, verify)

    def _part(self, folder: Path, prefix: str, info: DatasetInfo, verify: bool) -> Part:
        image_path, images = self._array(folder, f"{prefix}-images-idx3-ubyte", 3, verify)
        label_path, labels = self._array(folder, f"{prefix}-labels-idx1-ubyte", 1, verify)
        images = images[:, None]
        if images.shape[1:] != info.image_shape:
            raise damaged(image_path, f"holds images of shape {images.shape[1:]}, not {info.image_shape}")
        if len(images) != len(labels):
            raise damaged(label_path, f"holds {len(labels)} labels for {len(images)} images")
        check_labels(label_path, labels, info.num_classes)
        return images, labels.astype(np.int64)

    def _array(self, folder: Path, name: str, dimensions: int, verify: bool) -> tuple[Path, npt.NDArray[np.uint8]]:
        path = folder / name
        if not path.is_file():
            path = folder / f"{name}.gz"
        content = unpacked(path)
        array = parse(path, content, dimensions=dimensions)
        if verify:
            check_md5(path, content, self.md5[name])
        return path, array
