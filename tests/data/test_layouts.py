"""Every layout gives the same images, complete and in order."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from study.data import DATASETS, ImageData, load
from tests.data.conftest import Parts, Writer


def assert_holds(data: ImageData, parts: Parts) -> None:
    (train_x, train_y), (test_x, test_y) = parts
    for actual, expected in (
        (data.train_x, train_x),
        (data.train_y, train_y),
        (data.test_x, test_x),
        (data.test_y, test_y),
    ):
        np.testing.assert_array_equal(actual, expected)
        assert actual.flags.c_contiguous
        assert actual.flags.writeable  # torch.from_numpy warns of anything else
    assert data.train_x.dtype == data.test_x.dtype == np.uint8
    assert data.train_y.dtype == data.test_y.dtype == np.int64


@pytest.mark.parametrize(("name", "folder"), [("mnist", "MNIST/raw"), ("fashion-mnist", "FashionMNIST/raw")])
@pytest.mark.parametrize("gz", [False, True])
def test_idx_files_are_read(tmp_path: Path, grey: Parts, write_idx: Writer, name: str, folder: str, gz: bool) -> None:
    write_idx(tmp_path / folder, grey, gz=gz)
    assert_holds(load(name, tmp_path), grey)


def test_cifar10_batches_are_joined_in_order(tmp_path: Path, colour: Parts, write_cifar10: Writer) -> None:
    write_cifar10(tmp_path, colour)
    assert_holds(load("cifar10", tmp_path), colour)


def test_cifar100_batches_give_the_fine_labels(tmp_path: Path, colour100: Parts, write_cifar100: Writer) -> None:
    write_cifar100(tmp_path, colour100)
    assert_holds(load("cifar100", tmp_path), colour100)


def python2_pickle(rows: np.ndarray, labels: list[int]) -> bytes:
    """The opcodes that Python 2 wrote into the published files: byte strings and numpy.core."""
    content = rows.tobytes()
    return (
        b"\x80\x02}("
        + (b"U\x04data" + b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R")
        + (b"(K\x01K" + bytes([len(rows)]) + b"M" + rows.shape[1].to_bytes(2, "little") + b"\x86")
        + b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        + (b"\x89T" + len(content).to_bytes(4, "little") + content + b"tb")
        + (b"U\x06labels](" + b"".join(b"K" + bytes([label]) for label in labels) + b"eu.")
    )


def test_cifar_batches_as_python_2_wrote_them(
    tmp_path: Path, colour: Parts, write_cifar10: Writer, publish: Writer
) -> None:
    write_cifar10(tmp_path, colour)
    test_x, test_y = colour[1]
    batch = python2_pickle(test_x.reshape(len(test_x), -1), test_y.tolist())
    publish(tmp_path / "cifar-10-batches-py/test_batch", batch)
    assert_holds(load("cifar10", tmp_path), colour)


@pytest.mark.parametrize(
    ("shards", "image_format", "image_column"), [(1, "PNG", "img"), (3, "WEBP", "img"), (1, "WEBP", "image")]
)
def test_parquet_shards_are_read(
    tmp_path: Path, colour: Parts, write_shards: Writer, shards: int, image_format: str, image_column: str
) -> None:
    folder = tmp_path / "cifar10"
    write_shards(folder, colour, shards=shards, image_format=image_format, image_column=image_column)
    assert_holds(load("cifar10", tmp_path), colour)


def test_parquet_shards_of_cifar100_give_the_fine_labels(
    tmp_path: Path, colour100: Parts, write_shards: Writer
) -> None:
    write_shards(tmp_path / "cifar100", colour100, label_column="fine_label")
    assert_holds(load("cifar100", tmp_path), colour100)


@pytest.mark.parametrize(
    ("name", "folder", "image_format"),
    [
        ("mnist", "mnist", "PNG"),
        ("mnist", "MNIST/mnist", "WEBP"),  # which has no grey images: they come back as RGB
        ("fashion-mnist", "fashion-mnist", "PNG"),
        ("fashion-mnist", "fashion_mnist/fashion_mnist", "WEBP"),
        ("fashion-mnist", "FashionMNIST/data", "PNG"),
    ],
)
def test_parquet_shards_of_grey_images_are_read(
    tmp_path: Path, grey: Parts, write_shards: Writer, name: str, folder: str, image_format: str
) -> None:
    write_shards(tmp_path / folder, grey, image_format=image_format)
    assert_holds(load(name, tmp_path), grey)


@pytest.mark.parametrize(
    "folder",
    [
        "plain_text",
        "cifar10/plain_text",
        "CIFAR-10/data",
        "datasets--uoft-cs--cifar10/snapshots/0b2714987fa478483af9968de7c934580d0bb9a2/plain_text",
    ],
)
def test_cifar10_is_read_where_its_hub_puts_it(
    tmp_path: Path, colour: Parts, write_shards: Writer, folder: str
) -> None:
    write_shards(tmp_path / folder, colour, shards=2)
    assert_holds(load("cifar10", tmp_path), colour)


def test_a_data_directory_that_is_the_data_sets_own_folder_is_read(
    tmp_path: Path, colour100: Parts, write_shards: Writer
) -> None:
    write_shards(tmp_path / "cifar100/cifar100", colour100, label_column="fine_label")
    assert_holds(load("cifar100", tmp_path / "cifar100"), colour100)


def test_a_folder_for_each_split_and_bytes_without_a_struct_are_read(
    tmp_path: Path, colour: Parts, write_shards: Writer
) -> None:
    """As the hub's own conversion writes the folders, and pandas the column."""
    write_shards(tmp_path / "written", colour)
    for split in ("train", "test"):
        table = pq.read_table(tmp_path / f"written/{split}-00000-of-00001.parquet")
        images = pa.array([cell["bytes"] for cell in table["img"].to_pylist()])
        (tmp_path / "cifar10/default" / split).mkdir(parents=True)
        path = tmp_path / "cifar10/default" / split / "0000.parquet"
        pq.write_table(table.set_column(0, "image", images), path)
    assert_holds(load("cifar10", tmp_path), colour)


def test_jpeg_images_are_read_and_said_to_differ_from_the_published_ones(
    tmp_path: Path, grey: Parts, write_shards: Writer
) -> None:
    smooth = tuple((np.sort(images, axis=-1), labels) for images, labels in grey)
    write_shards(tmp_path / "mnist", smooth, image_format="JPEG")
    with pytest.warns(UserWarning, match="JPEG images; their pixels are not quite mnist's published ones"):
        data = load("mnist", tmp_path)
    assert data.train_x.shape == smooth[0][0].shape
    assert 0 < np.abs(data.train_x.astype(int) - smooth[0][0]).mean() < 20


def test_the_sha256_of_the_same_images_is_the_same_in_any_layout(
    tmp_path: Path, colour: Parts, write_cifar10: Writer, write_shards: Writer
) -> None:
    write_cifar10(tmp_path / "a", colour)
    write_shards(tmp_path / "b" / "cifar10", colour, shards=2)
    a, b = (load("cifar10", tmp_path / folder) for folder in "ab")
    assert a.sha256 == b.sha256

    colour[1][0][0, 0, 0, 0] ^= 1
    write_cifar10(tmp_path / "c", colour)
    assert load("cifar10", tmp_path / "c").sha256 != a.sha256


def test_torchvisions_layout_has_priority_over_shards(
    tmp_path: Path, colour: Parts, write_cifar10: Writer, write_shards: Writer
) -> None:
    write_cifar10(tmp_path, colour)
    write_shards(tmp_path / "cifar10", tuple((x[::-1], y[::-1]) for x, y in colour))
    assert_holds(load("cifar10", tmp_path), colour)


def test_shards_are_used_if_torchvisions_layout_is_incomplete(
    tmp_path: Path, colour: Parts, write_cifar10: Writer, write_shards: Writer
) -> None:
    write_cifar10(tmp_path, colour)
    (tmp_path / "cifar-10-batches-py/data_batch_3").unlink()
    write_shards(tmp_path / "cifar10", colour)
    assert_holds(load("cifar10", tmp_path), colour)


def test_unknown_dataset_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown dataset 'imagenet'; choose one of digits, digits_8x8, mnist"):
        load("imagenet", tmp_path)


def test_importing_study_data_imports_none_of_the_reading_libraries() -> None:
    """Every worker imports `study.data`, but only the one that loads the data needs these."""
    code = "import study.data, sys; print({'torchvision', 'sklearn', 'pyarrow', 'PIL'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


@pytest.mark.skipif("STUDY_DATA_DIR" not in os.environ, reason="needs the real images: set STUDY_DATA_DIR")
@pytest.mark.parametrize(
    ("name", "pixel_mean"),
    [("mnist", [0.1307]), ("fashion-mnist", [0.2860]), ("cifar10", [0.4914, 0.4822, 0.4465])],
)
def test_the_real_images_have_their_published_sizes_and_means(name: str, pixel_mean: list[float]) -> None:
    data, info = load(name, Path(os.environ["STUDY_DATA_DIR"])), DATASETS[name]
    assert data.train_x.shape == (info.train_count, *info.image_shape)
    assert data.test_x.shape == (info.test_count, *info.image_shape)
    assert set(np.unique(data.train_y)) == set(range(info.num_classes))
    np.testing.assert_allclose(data.train_x.mean((0, 2, 3)) / 255, pixel_mean, atol=1e-4)
