"""Damaged data raises a DataError of one line, which names the file and says what to do."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from study.data import DataError, load
from tests.data.conftest import Parts, Writer

IMAGES, LABELS = "MNIST/raw/train-images-idx3-ubyte", "MNIST/raw/train-labels-idx1-ubyte"
BATCH = "cifar-10-batches-py/data_batch_2"
SHARD = "cifar10/train-00000-of-00001.parquet"


def failure(name: str, data_dir: Path, *, verify: bool = False) -> str:
    with pytest.raises(DataError) as caught:
        load(name, data_dir, verify=verify)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("file", "damage", "fault"),
    [
        (IMAGES, lambda c: c[:-1], "has 9423 bytes where its header says 9424"),
        (IMAGES, lambda c: c[:9], "is truncated: 9 bytes"),
        (IMAGES, lambda c: b"", "starts with , not with the IDX magic number 00000803"),
        (IMAGES, lambda c: b"\0\0\x0d\x03" + c[4:], "starts with 00000d03"),
        (IMAGES, lambda c: c[:4] + b"\xff" + c[5:], "has 9424 bytes where its header says"),
        (LABELS, lambda c: c[:7] + b"\x0b" + c[8:-1], "holds 11 labels for 12 images"),
        (LABELS, lambda c: c[:-1] + b"\x0a", "to 10, not 0 to 9"),
    ],
)
def test_a_damaged_idx_file_is_refused(
    tmp_path: Path, grey: Parts, write_idx: Writer, file: str, damage: Callable[[bytes], bytes], fault: str
) -> None:
    write_idx(tmp_path / "MNIST/raw", grey)
    path = tmp_path / file
    path.write_bytes(damage(path.read_bytes()))
    message = failure("mnist", tmp_path)
    assert message.startswith(str(path))
    assert fault in message
    assert "Move it away and run again to download it" in message


def test_idx_images_of_another_size_are_refused(tmp_path: Path, grey: Parts, write_idx: Writer) -> None:
    write_idx(tmp_path / "MNIST/raw", tuple((x[:, :, 1:], y) for x, y in grey))
    assert "holds images of shape (1, 27, 28), not (1, 28, 28)" in failure("mnist", tmp_path)


@pytest.mark.parametrize("damage", [lambda c: c[:-20], lambda c: b"no gzip", lambda c: c[:40] + b"\xff" * 40])
def test_damaged_gz_is_refused(
    tmp_path: Path, grey: Parts, write_idx: Writer, damage: Callable[[bytes], bytes]
) -> None:
    write_idx(tmp_path / "MNIST/raw", grey, gz=True)
    path = tmp_path / f"{IMAGES}.gz"
    path.write_bytes(damage(path.read_bytes()))
    assert failure("mnist", tmp_path).startswith(f"{path} cannot be unpacked")


def test_published_files_are_compared_with_their_published_md5(
    tmp_path: Path, grey: Parts, colour: Parts, write_idx: Writer, write_cifar10: Writer
) -> None:
    write_idx(tmp_path / "MNIST/raw", grey)
    write_cifar10(tmp_path, colour)
    assert "not 6bbc9ace898e44ae57da46a324031adb as published" in failure("mnist", tmp_path, verify=True)
    assert "not c99cafc152244af753f735de768cd75f as published" in failure("cifar10", tmp_path, verify=True)


def batch(count: int, labels: list[object], *, width: int = 3072) -> bytes:
    return pickle.dumps({"data": np.zeros((count, width), np.uint8), "labels": labels}, protocol=3)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "is not a batch with data and labels"),
        (b"not a pickle", "is not a batch with data and labels"),
        (pickle.dumps({"data": [[0]]}), "is not a batch with data and labels"),
        (pickle.dumps([1, 2]), "is not a batch with data and labels"),
        (pickle.dumps({"data": [[0]], "labels": [0]}), "not uint8 (N, 3072)"),
        (batch(1, [0], width=3071), "not uint8 (N, 3072)"),
        (batch(2, [0]), "holds 1 labels of type int64 for 2 images"),
        (batch(1, ["a"]), "labels of type <U1"),
        (batch(1, [10]), "holds labels 10 to 10, not 0 to 9"),
        (batch(1, [-1]), "holds labels -1 to -1, not 0 to 9"),
    ],
)
def test_damaged_cifar_is_refused(
    tmp_path: Path, colour: Parts, write_cifar10: Writer, content: bytes, fault: str
) -> None:
    write_cifar10(tmp_path, colour)
    (tmp_path / BATCH).write_bytes(content)
    message = failure("cifar10", tmp_path)
    assert message.startswith(str(tmp_path / BATCH))
    assert fault in message


class TouchesFile:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def test_a_pickle_with_code_in_it_is_refused_and_not_run(tmp_path: Path, colour: Parts, write_cifar10: Writer) -> None:
    write_cifar10(tmp_path, colour)
    witness = tmp_path / "ran"
    content = pickle.dumps({"data": TouchesFile(witness), "labels": []})
    pickle.loads(content)
    assert witness.exists()  # the attack is real
    witness.unlink()

    (tmp_path / BATCH).write_bytes(content)
    assert "which no CIFAR file does" in failure("cifar10", tmp_path)
    assert not witness.exists()


def deep_png() -> bytes:
    content = io.BytesIO()
    Image.fromarray(np.full((32, 32), 60_000, np.uint16)).save(content, "PNG")
    return content.getvalue()


def shard(images: list[bytes | None], labels: list[object]) -> pa.Table:
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    cells = [{"bytes": image, "path": None} for image in images]
    return pa.table({"img": pa.array(cells, kind), "label": pa.array(labels)})


@pytest.mark.parametrize(
    ("table", "fault"),
    [
        (lambda good: shard([good, b"no image"], [1, 2]), "cannot be decoded, in row 1"),
        (lambda good: shard([good, good[:100]], [1, 2]), "cannot be decoded, in row 1"),
        (lambda good: shard([None], [1]), "holds no image in row 0, perhaps the path of one"),
        (lambda good: shard([deep_png()], [1]), "more than 8 bits a channel, in row 0"),
        (lambda good: shard([good], [10]), "holds labels 10 to 10, not 0 to 9"),
        (lambda good: shard([good], [-1]), "holds labels -1 to -1, not 0 to 9"),
        (lambda good: shard([good, good], [1, None]), "a column label that is not all integers"),
        (lambda good: shard([good], ["cat"]), "a column label that is not all integers"),
        (lambda good: pa.table({"img": ["a.png"], "label": [1]}), "a column img of type string, not struct"),
        (lambda good: pa.table({"x": [good], "label": [1]}), "has the columns x, label, not img or image"),
        (lambda good: shard([good], [1]).drop_columns("label"), "has the columns img, not img or image and"),
    ],
)
def test_damaged_rows_of_a_shard_are_refused(
    tmp_path: Path, colour: Parts, write_shards: Writer, table: Callable[[bytes], pa.Table], fault: str
) -> None:
    write_shards(tmp_path / "cifar10", colour)
    path = tmp_path / SHARD
    good = pq.read_table(path)["img"][0].as_py()["bytes"]
    pq.write_table(table(good), path)
    message = failure("cifar10", tmp_path)
    assert message.startswith(str(path))
    assert fault in message
    assert "elete" not in message  # the file may be whole


def test_images_of_another_size_in_a_shard_are_refused(tmp_path: Path, colour: Parts, write_shards: Writer) -> None:
    write_shards(tmp_path / "cifar10", tuple((x[:, :, :28, :30], y) for x, y in colour))
    assert "holds an image of 30x28 pixels in row 0, not 32x32" in failure("cifar10", tmp_path)


@pytest.mark.parametrize("keep", [0, 10, -50])
def test_a_truncated_shard_is_refused(tmp_path: Path, colour: Parts, write_shards: Writer, keep: int) -> None:
    write_shards(tmp_path / "cifar10", colour)
    path = tmp_path / SHARD
    path.write_bytes(path.read_bytes()[:keep])
    assert failure("cifar10", tmp_path).startswith(f"{path} is not a readable Parquet file")


def test_a_shard_with_damaged_pages_is_refused(tmp_path: Path, colour: Parts, write_shards: Writer) -> None:
    write_shards(tmp_path / "cifar10", colour)
    path = tmp_path / SHARD
    content = path.read_bytes()
    path.write_bytes(content[:4] + b"\xff" * 400 + content[404:])
    assert failure("cifar10", tmp_path).startswith(str(path))


def test_a_missing_shard_is_found_by_the_number_of_images(tmp_path: Path, colour: Parts, write_shards: Writer) -> None:
    write_shards(tmp_path / "cifar10", colour, shards=3)
    (tmp_path / "cifar10/train-00001-of-00003.parquet").unlink()
    message = failure("cifar10", tmp_path, verify=True)
    assert f"{tmp_path}/cifar10: 2 train shard(s) hold 10 images, cifar10 has 50000" in message
