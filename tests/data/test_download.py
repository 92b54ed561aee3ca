"""Missing data is downloaded by torchvision, whole or not at all, or an error of one line says what to put where."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from urllib.error import URLError

import numpy as np
import pytest
import torchvision.datasets

from study.data import DataError, load
from tests.data.conftest import Parts, Writer


def refuse_network(*, root: str, train: bool, download: bool) -> None:
    raise URLError("Name or service not known")


def test_absent_data_is_downloaded_into_the_data_directory_and_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, grey: Parts, write_idx: Writer
) -> None:
    def torchvision_download(*, root: str, train: bool, download: bool) -> None:
        assert download
        write_idx(Path(root) / "MNIST/raw", grey)

    monkeypatch.setattr(torchvision.datasets, "MNIST", torchvision_download)
    data = load("mnist", tmp_path / "new" / "folder")
    np.testing.assert_array_equal(data.train_x, grey[0][0])

    monkeypatch.setattr(torchvision.datasets, "MNIST", refuse_network)
    assert load("mnist", tmp_path / "new" / "folder").sha256 == data.sha256  # from its files


@pytest.mark.parametrize(
    ("name", "torchvision_class", "file", "shard"),
    [
        ("mnist", "MNIST", "MNIST/raw/train-images-idx3-ubyte", "mnist/train-*.parquet"),
        ("fashion-mnist", "FashionMNIST", "FashionMNIST/raw/t10k-labels-idx1-ubyte", "fashion-mnist/test-*"),
        ("cifar10", "CIFAR10", "cifar-10-batches-py/data_batch_1", "cifar10/train-*.parquet"),
        ("cifar100", "CIFAR100", "cifar-100-python/train", "{bytes, path} and fine_label"),
    ],
)
def test_without_a_network_the_error_says_what_to_put_where(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    torchvision_class: str,
    file: str,
    shard: str,
) -> None:
    monkeypatch.setattr(torchvision.datasets, torchvision_class, refuse_network)
    with pytest.raises(DataError) as caught:
        load(name, tmp_path)
    message = str(caught.value)
    assert message.startswith(f"{name} is not in {tmp_path}: put there ")
    assert file in message
    assert shard in message
    assert message.endswith("Downloading it failed: <urlopen error Name or service not known>")
    assert "\n" not in message


def test_the_error_names_only_the_missing_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, colour: Parts, write_cifar10: Writer
) -> None:
    write_cifar10(tmp_path, colour)
    (tmp_path / "cifar-10-batches-py/data_batch_4").unlink()
    monkeypatch.setattr(torchvision.datasets, "CIFAR10", refuse_network)
    with pytest.raises(DataError, match="put there cifar-10-batches-py/data_batch_4 "):
        load("cifar10", tmp_path)


def test_a_data_directory_that_cannot_be_created_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match=r"mnist is not in .*/file/data"):
        load("mnist", tmp_path / "file" / "data")


def test_an_incomplete_download_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision.datasets, "CIFAR100", lambda **arguments: None)
    with pytest.raises(DataError, match="The download left cifar-100-python/train, cifar-100-python/test missing"):
        load("cifar100", tmp_path)


def files_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_download_that_is_cut_leaves_nothing_behind_and_the_next_one_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, colour: Parts, write_cifar10: Writer
) -> None:
    def cut(*, root: str, train: bool, download: bool) -> None:
        write_cifar10(Path(root), colour)
        (Path(root) / "cifar-10-batches-py/test_batch").write_bytes(b"half")
        raise URLError("connection reset")

    monkeypatch.setattr(torchvision.datasets, "CIFAR10", cut)
    with pytest.raises(DataError, match="connection reset"):
        load("cifar10", tmp_path)
    assert files_in(tmp_path) == []

    monkeypatch.setattr(torchvision.datasets, "CIFAR10", lambda *, root, **_: write_cifar10(Path(root), colour))
    np.testing.assert_array_equal(load("cifar10", tmp_path).test_x, colour[1][0])


def test_two_downloads_at_once_show_each_other_no_partial_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, grey: Parts, write_idx: Writer
) -> None:
    both_have_half = Barrier(2, timeout=60)

    def slow(*, root: str, train: bool, download: bool) -> None:
        folder = Path(root) / "MNIST/raw"
        folder.mkdir(parents=True)
        (folder / "train-images-idx3-ubyte").write_bytes(b"half")
        both_have_half.wait()
        shutil.rmtree(folder)
        write_idx(folder, grey)

    monkeypatch.setattr(torchvision.datasets, "MNIST", slow)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: load("mnist", tmp_path), range(2))
    assert first.sha256 == second.sha256
    names = [f"{part}-{kind}-ubyte" for part in ("t10k", "train") for kind in ("images-idx3", "labels-idx1")]
    assert files_in(tmp_path) == [f"MNIST/raw/{name}" for name in names]


def test_an_archive_that_the_user_put_there_is_unpacked_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, colour: Parts, write_cifar10: Writer
) -> None:
    class Cifar10:
        filename = "cifar-10-python.tar.gz"

        def __init__(self, *, root: str, train: bool, download: bool) -> None:
            archive = Path(root) / self.filename
            assert archive.read_bytes() == b"archive"
            archive.write_bytes(b"torchvision may replace it")
            write_cifar10(Path(root), colour)

    (tmp_path / Cifar10.filename).write_bytes(b"archive")
    monkeypatch.setattr(torchvision.datasets, "CIFAR10", Cifar10)
    load("cifar10", tmp_path)
    assert (tmp_path / Cifar10.filename).read_bytes() == b"archive"


def test_shards_under_another_name_are_named_with_the_rename_that_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, grey: Parts, write_shards: Writer
) -> None:
    monkeypatch.setattr(torchvision.datasets, "MNIST", refuse_network)
    hub = tmp_path / "hub"
    write_shards(hub / "data", grey)
    with pytest.raises(DataError) as caught:
        load("mnist", hub)
    advice = f"There are Parquet shards in {hub}/data: if they are those of mnist, rename this folder to {hub}/mnist"
    assert advice in str(caught.value)
    with pytest.raises(DataError, match=r"/hub/data: if they are those of mnist, move them to .*/hub/data/mnist"):
        load("mnist", hub / "data")

    (hub / "data").rename(hub / "mnist")
    np.testing.assert_array_equal(load("mnist", hub).train_x, grey[0][0])
