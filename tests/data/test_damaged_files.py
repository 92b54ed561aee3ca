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
from tests.data.conftest import Parts, Sized, Writer

IMAGES, LABELS = "MNIST/raw/train-images-idx3-ubyte", "MNIST/raw/train-labels-idx1-ubyte"
BATCH = "cifar-10-batches-py/data_batch_2"
SHARD = "cifar10/train-00000-of-00001.parquet"


def failure(name: str, data_dir: Path) -> str:
    with pytest.raises(DataError) as caught:
        load(name, data_dir)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("name", "file", "damage"),
    [
        ("mnist", IMAGES, lambda c: c[:-1]),
        ("mnist", LABELS, lambda c: b""),
        ("cifar10", BATCH, lambda c: c[:-1] + b"\x0a"),
    ],
)
def test_a_published_file_that_has_not_its_published_md5_is_refused(
    tmp_path: Path,
    grey: Parts,
    colour: Parts,
    write_idx: Writer,
    write_cifar10: Writer,
    name: str,
    file: str,
    damage: Callable[[bytes], bytes],
) -> None:
    write_idx(tmp_path / "MNIST/raw", grey)
    write_cifar10(tmp_path, colour)
    path = tmp_path / file
    path.write_bytes(damage(path.read_bytes()))
    message = failure(name, tmp_path)
    assert message.startswith(f"{path} has md5 ")
    assert message.endswith(" as published. Move it away and run again to download it, or put an undamaged copy there.")


@pytest.mark.parametrize("damage", [lambda c: c[:-20], lambda c: b"no gzip", lambda c: c[:40] + b"\xff" * 40])
def test_a_gz_that_cannot_be_unpacked_is_refused(
    tmp_path: Path, grey: Parts, write_idx: Writer, damage: Callable[[bytes], bytes]
) -> None:
    write_idx(tmp_path / "MNIST/raw", grey, gz=True)
    path = tmp_path / f"{IMAGES}.gz"
    path.write_bytes(damage(path.read_bytes()))
    message = failure("mnist", tmp_path)
    assert message.startswith(f"{path} cannot be read")
    assert "Move it away" in message


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
    assert "has md5" in failure("cifar10", tmp_path)
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
        (lambda good: shard([good, b"no image"], [1, 2]), ": row 1 is no image that can be decoded"),
        (lambda good: shard([good, good[:100]], [1, 2]), ": row 1 is no image that can be decoded"),
        (lambda good: shard([None], [1]), ": row 0 holds no image, perhaps the path of one"),
        (lambda good: shard([deep_png()], [1]), ": row 0 has more than 8 bits a channel"),
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
    tmp_path: Path,
    colour: Parts,
    sized: Sized,
    write_shards: Writer,
    table: Callable[[bytes], pa.Table],
    fault: str,
) -> None:
    write_shards(tmp_path / "cifar10", colour)
    path = tmp_path / SHARD
    good = pq.read_table(path)["img"][0].as_py()["bytes"]
    pq.write_table(table(good), path)
    sized("cifar10", table(good).num_rows, 4)
    message = failure("cifar10", tmp_path)
    assert message.startswith(str(path))
    assert fault in message
    assert "elete" not in message  # the file may be whole


def test_images_of_another_size_in_a_shard_are_refused(tmp_path: Path, colour: Parts, write_shards: Writer) -> None:
    write_shards(tmp_path / "cifar10", tuple((x[:, :, :28, :30], y) for x, y in colour))
    assert ": row 0 has 30x28 pixels, not 32x32" in failure("cifar10", tmp_path)


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
    message = failure("cifar10", tmp_path)
    assert f"{tmp_path}/cifar10: 2 train shard(s) hold 10 images, cifar10 has 15" in message
