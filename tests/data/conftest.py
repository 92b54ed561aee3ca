"""Small datasets, and functions that write them in every layout that `study.data` reads."""

from __future__ import annotations

import gzip
import io
import pickle
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from study.data import DATASETS, published

Part = tuple[np.ndarray, np.ndarray]
Parts = tuple[Part, Part]
Writer = Callable[..., None]


def random_parts(seed: int, counts: tuple[int, int], shape: tuple[int, int, int], classes: int) -> Parts:
    rng = np.random.default_rng(seed)

    def part(count: int) -> Part:
        labels = rng.integers(0, classes, count)
        labels[:2] = 0, classes - 1
        return rng.integers(0, 256, (count, *shape), dtype=np.uint8), labels

    return part(counts[0]), part(counts[1])


Sized = Callable[[str, int, int], None]


@pytest.fixture
def sized(monkeypatch: pytest.MonkeyPatch) -> Sized:
    """Say that a dataset was published with so many training and test images."""

    def say(name: str, train: int, test: int) -> None:
        monkeypatch.setitem(DATASETS, name, replace(DATASETS[name], train_count=train, test_count=test))

    return say


@pytest.fixture
def grey(sized: Sized) -> Parts:
    sized("mnist", 12, 5)
    sized("fashion-mnist", 12, 5)
    return random_parts(0, (12, 5), (1, 28, 28), 10)


@pytest.fixture
def colour(sized: Sized) -> Parts:
    sized("cifar10", 15, 4)
    return random_parts(1, (15, 4), (3, 32, 32), 10)


@pytest.fixture
def colour100(sized: Sized) -> Parts:
    sized("cifar100", 9, 4)
    return random_parts(2, (9, 4), (3, 32, 32), 100)


@pytest.fixture
def publish(monkeypatch: pytest.MonkeyPatch) -> Writer:
    """Write a file whose content then counts as published; the md5 of any other content is compared as always."""
    contents, check_md5 = set(), published.check_md5

    def check(path: Path, content: bytes, expected: str) -> None:
        if content not in contents:
            check_md5(path, content, expected)

    def write(path: Path, content: bytes) -> None:
        contents.add(content)
        path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)

    monkeypatch.setattr(published, "check_md5", check)
    return write


def idx_bytes(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(np.uint8).tobytes()


@pytest.fixture
def write_idx(publish: Writer) -> Writer:
    def write(folder: Path, parts: Parts, *, gz: bool = False) -> None:
        folder.mkdir(parents=True)
        for prefix, (images, labels) in zip(("train", "t10k"), parts, strict=True):
            for name, array in (("images-idx3", images[:, 0]), ("labels-idx1", labels)):
                publish(folder / f"{prefix}-{name}-ubyte{'.gz' if gz else ''}", idx_bytes(array))

    return write


@pytest.fixture
def write_cifar10(publish: Writer) -> Writer:
    def write(data_dir: Path, parts: Parts) -> None:
        folder = data_dir / "cifar-10-batches-py"
        folder.mkdir(parents=True)
        (train_x, train_y), test = parts
        batches = zip(np.split(train_x, 5), np.split(train_y, 5), strict=True)
        files = [(f"data_batch_{i}", *batch) for i, batch in enumerate(batches, start=1)]
        for name, x, y in [*files, ("test_batch", *test)]:
            batch = {"data": x.reshape(len(x), -1), "labels": y.tolist(), "filenames": ["a.png"] * len(x)}
            publish(folder / name, pickle.dumps(batch, protocol=3))

    return write


@pytest.fixture
def write_cifar100(publish: Writer) -> Writer:
    def write(data_dir: Path, parts: Parts) -> None:
        folder = data_dir / "cifar-100-python"
        folder.mkdir(parents=True)
        for name, (x, y) in zip(("train", "test"), parts, strict=True):
            batch = {
                "data": x.reshape(len(x), -1),
                "fine_labels": y.tolist(),
                "coarse_labels": [0] * len(x),
            }
            publish(folder / name, pickle.dumps(batch, protocol=3))

    return write


def encoded(image: np.ndarray, image_format: str) -> bytes:
    buffer = io.BytesIO()
    pixels = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, image_format, lossless=True)
    return buffer.getvalue()


@pytest.fixture
def write_shards() -> Writer:
    def write(
        folder: Path,
        parts: Parts,
        *,
        shards: int = 1,
        image_column: str = "img",
        label_column: str = "label",
        image_format: str = "PNG",
    ) -> None:
        folder.mkdir(parents=True)
        for split, (images, labels), count in zip(("train", "test"), parts, (shards, 1), strict=True):
            for k, rows in enumerate(np.array_split(np.arange(len(labels)), count)):
                cells = [{"bytes": encoded(images[i], image_format), "path": None} for i in rows]
                kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
                columns = {image_column: pa.array(cells, kind), label_column: pa.array(labels[rows])}
                pq.write_table(pa.table(columns), folder / f"{split}-{k:05d}-of-{count:05d}.parquet")

    return write
