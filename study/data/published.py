"""The files in which MNIST, Fashion-MNIST and CIFAR were published, in torchvision's layout, and how they are read.

Their md5 proves that they are the published bytes, so nothing else about them is checked.
"""

from __future__ import annotations

import gzip
import hashlib
import pickle
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from study.data.image_data import DataError, DatasetInfo, Part, Shape

Parts = Callable[[list[bytes], Shape], tuple[Part, Part]]
"""From the contents of the files and the shape of an image to the training and the test part."""


@dataclass(frozen=True)
class PublishedFiles:
    """Files of a data directory, each unpacked or as `.gz`.

    `md5` has their names, relative to the data directory and without `.gz`, and the md5 of what is in them.
    """

    md5: Mapping[str, str]
    parts: Parts
    description = "as published, unpacked or .gz"
    remedy = "Move it away and run again to download it, or put an undamaged copy there"
    """Nothing is deleted: a file may be whole, of another version."""

    def missing(self, data_dir: Path) -> list[str]:
        """The files, relative to the data directory, that are not there."""
        return [name for name in self.md5 if not any((data_dir / f"{name}{end}").is_file() for end in ("", ".gz"))]

    def read(self, data_dir: Path, info: DatasetInfo) -> tuple[Part, Part]:
        """The training and the test part. Raises `DataError`."""
        return self.parts([_content(data_dir / name, md5) for name, md5 in self.md5.items()], info.image_shape)


def _content(path: Path, md5: str) -> bytes:
    """What is in the file or else in its `.gz`; `DataError` unless it can be read and has the md5."""
    path = path if path.is_file() else path.with_name(f"{path.name}.gz")
    try:
        content = path.read_bytes() if path.suffix != ".gz" else gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read ({error})") from error
    check_md5(path, content, md5)
    return content


def check_md5(path: Path, content: bytes, expected: str) -> None:
    """Raise `DataError` unless `content`, read from `path`, has the published md5 `expected`."""
    actual = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if actual != expected:
        raise DataError(f"{path} has md5 {actual}, not {expected} as published")


def idx(contents: list[bytes], shape: Shape) -> tuple[Part, Part]:
    """MNIST's format: images behind a header of 16 bytes, labels behind one of 8, a byte for each pixel and label."""

    def part(images: bytes, labels: bytes) -> Part:
        pixels = np.frombuffer(images, np.uint8, offset=16).reshape(-1, *shape).copy()
        return pixels, np.frombuffer(labels, np.uint8, offset=8).astype(np.int64)

    return part(*contents[:2]), part(*contents[2:])


def cifar(label_key: str) -> Parts:
    """CIFAR's format: pickled batches, of which the last is the test set."""

    def parts(contents: list[bytes], shape: Shape) -> tuple[Part, Part]:
        # A pickle can run any code, but these are exactly the published bytes: the md5 was compared first.
        # latin1 is the encoding with which Python 3 reads numpy arrays that Python 2 pickled.
        batches = [pickle.loads(content, encoding="latin1") for content in contents]

        def part(of: slice) -> Part:
            images = np.concatenate([batch["data"] for batch in batches[of]])
            labels = np.concatenate([batch[label_key] for batch in batches[of]])
            return images.reshape(-1, *shape), labels.astype(np.int64)

        return part(slice(-1)), part(slice(-1, None))

    return parts


# The md5 of MNIST and Fashion-MNIST are those of the unpacked files, computed once from the original ones, so that they
# do not depend on how a .gz was packed. Those of CIFAR are in torchvision.datasets.CIFAR10 and CIFAR100.
MNIST = PublishedFiles(
    {
        "MNIST/raw/train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
        "MNIST/raw/train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
        "MNIST/raw/t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
        "MNIST/raw/t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
    },
    idx,
)
FASHION_MNIST = PublishedFiles(
    {
        "FashionMNIST/raw/train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "FashionMNIST/raw/train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
        "FashionMNIST/raw/t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
        "FashionMNIST/raw/t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
    },
    idx,
)
CIFAR10 = PublishedFiles(
    {
        "cifar-10-batches-py/data_batch_1": "c99cafc152244af753f735de768cd75f",
        "cifar-10-batches-py/data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "cifar-10-batches-py/data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "cifar-10-batches-py/data_batch_4": "634d18415352ddfa80567beed471001a",
        "cifar-10-batches-py/data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        "cifar-10-batches-py/test_batch": "40351d587109b95175f43aff81a1287e",
    },
    cifar("labels"),
)
CIFAR100 = PublishedFiles(
    {
        "cifar-100-python/train": "16019d7e3df5f24257cddd939b257f8d",
        "cifar-100-python/test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
    },
    cifar("fine_labels"),
)
