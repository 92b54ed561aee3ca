"""CIFAR-10 and CIFAR-100 as published: pickled batches, in torchvision's layout.

A pickle can call any function on the machine, and these files come from a download or a shared folder. So the unpickler
used here accepts only the names that a numpy array needs.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy._core.multiarray import _reconstruct

from study.data.image_data import PUBLISHED_REMEDY, DatasetInfo, Part, check_labels, check_md5, damaged, read_bytes

# The published files were pickled by Python 2 with numpy.core, a module that numpy 2 has renamed.
ARRAY_NAMES = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}


class ArrayUnpickler(pickle.Unpickler):
    """Reads plain Python values and numpy arrays; refuses any other callable before it is called."""

    def find_class(self, module: str, name: str) -> Any:
        """The callable of that name if an array needs it, else `UnpicklingError`."""
        try:
            return ARRAY_NAMES[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which no CIFAR file does") from None


@dataclass(frozen=True)
class CifarBatches:
    """The batch files (name -> md5) in `folder` of the data directory, and the key of their labels."""

    folder: str
    train: Mapping[str, str]
    test: Mapping[str, str]
    label_key: str
    description = "as published"
    remedy = PUBLISHED_REMEDY

    @property
    def files(self) -> list[str]:
        """The files, relative to the data directory."""
        return [f"{self.folder}/{name}" for name in (*self.train, *self.test)]

    def missing(self, data_dir: Path) -> list[str]:
        """Names, relative to the data directory, of the files that are not there."""
        return [name for name in self.files if not (data_dir / name).is_file()]

    def read(self, data_dir: Path, info: DatasetInfo, verify: bool) -> tuple[Part, Part]:
        """The training and test parts; with `verify` the md5 of each file is checked. Raises `DataError`."""
        folder = data_dir / self.folder
        return self._part(folder, self.train, info, verify), self._part(folder, self.test, info, verify)

    def _part(self, folder: Path, files: Mapping[str, str], info: DatasetInfo, verify: bool) -> Part:
        batches = [self._batch(folder / name, md5 if verify else None, info) for name, md5 in files.items()]
        return np.concatenate([x for x, _ in batches]), np.concatenate([y for _, y in batches])

    def _batch(self, path: Path, md5: str | None, info: DatasetInfo) -> Part:
        content = read_bytes(path)
        if md5 is not None:
            check_md5(path, content, md5)
        try:
            # The encoding with which Python 3 reads numpy arrays that Python 2 pickled.
            batch = ArrayUnpickler(io.BytesIO(content), encoding="latin1").load()
            images = np.asarray(batch["data"])
            labels = np.asarray(batch[self.label_key])
        except Exception as error:  # a damaged pickle can raise anything, from EOFError to MemoryError
            reason = str(error) or type(error).__name__
            raise damaged(path, f"is not a batch with data and {self.label_key} ({reason})") from error
        pixels = int(np.prod(info.image_shape))
        if images.dtype != np.uint8 or images.ndim != 2 or images.shape[1] != pixels:
            raise damaged(path, f"holds {images.dtype} images of shape {images.shape}, not uint8 (N, {pixels})")
        if labels.ndim != 1 or len(labels) != len(images) or (len(labels) and labels.dtype.kind not in "iu"):
            raise damaged(path, f"holds {labels.size} labels of type {labels.dtype} for {len(images)} images")
        check_labels(path, labels, info.num_classes)
        return images.reshape(-1, *info.image_shape), labels.astype(np.int64)


# The md5 are those in torchvision.datasets.CIFAR10 and CIFAR100, of the published archives.
CIFAR10 = CifarBatches(
    folder="cifar-10-batches-py",
    train={
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    },
    test={"test_batch": "40351d587109b95175f43aff81a1287e"},
    label_key="labels",
)
CIFAR100 = CifarBatches(
    folder="cifar-100-python",
    train={"train": "16019d7e3df5f24257cddd939b257f8d"},
    test={"test": "f0ef6b0ae62326f3e7ffdfab6717acfc"},
    label_key="fine_labels",
)
