"""Official image sets as uint8 arrays, the studies' splits of them, and training-time augmentation.

To add a dataset, write a loader in a file of its own and add one line to DATASETS.
"""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from study.data import published
from study.data.augmentation import AUGMENTATIONS
from study.data.digits import load_digits, load_scans
from study.data.files import FromFiles
from study.data.image_data import DataError, DatasetInfo, ImageData
from study.data.own_images import OwnImages
from study.data.parquet_shards import ParquetShards
from study.data.splits import Splits, split

__all__ = ["AUGMENTATIONS", "DATASETS", "DataError", "DatasetInfo", "ImageData", "OwnImages", "Splits", "load", "split"]

MNIST = FromFiles("MNIST", published.MNIST, ParquetShards(("mnist",), "label"))
FASHION_MNIST = FromFiles("FashionMNIST", published.FASHION_MNIST, ParquetShards(("fashion-mnist",), "label"))
CIFAR_10 = FromFiles("CIFAR10", published.CIFAR10, ParquetShards(("cifar10", "plain_text"), "label"))
CIFAR_100 = FromFiles("CIFAR100", published.CIFAR100, ParquetShards(("cifar100",), "fine_label"))

DATASETS = {
    "digits": DatasetInfo("digits", 10, (1, 28, 28), 1_437, 360, load_digits),
    "digits_8x8": DatasetInfo("digits_8x8", 10, (1, 8, 8), 1_198, 599, load_scans),
    "mnist": DatasetInfo("mnist", 10, (1, 28, 28), 60_000, 10_000, MNIST),
    "fashion-mnist": DatasetInfo("fashion-mnist", 10, (1, 28, 28), 60_000, 10_000, FASHION_MNIST),
    "cifar10": DatasetInfo("cifar10", 10, (3, 32, 32), 50_000, 10_000, CIFAR_10),
    "cifar100": DatasetInfo("cifar100", 100, (3, 32, 32), 50_000, 10_000, CIFAR_100),
}


def load(name: str, data_dir: str | PathLike[str]) -> ImageData:
    """The official training and test sets of one of DATASETS, as uint8 arrays.

    They are read from `data_dir`, in torchvision's layout or else as Hugging Face Parquet shards. If neither is there,
    torchvision downloads them. `digits` and `digits_8x8` need no directory.

    Args:
        name: a key of DATASETS.
        data_dir: the data directory.

    Raises:
        ValueError: an unknown name.
        DataError: the data is missing, damaged or cannot be downloaded.
    """
    if name not in DATASETS:
        raise ValueError(f"unknown dataset {name!r}; choose one of {', '.join(DATASETS)}")
    info = DATASETS[name]
    train, test = info.loader(info, Path(data_dir))
    return ImageData.of(name, train, test)
