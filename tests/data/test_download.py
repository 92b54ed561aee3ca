"""Missing data is downloaded by torchvision, or an error of one line says what to put where."""

from __future__ import annotations

from pathlib import Path
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
    data = load("mnist", tmp_path / "new" / "folder", verify=False)
    np.testing.assert_array_equal(data.train_x, grey[0][0])

    monkeypatch.setattr(torchvision.datasets, "MNIST", refuse_network)
    assert load("mnist", tmp_path / "new" / "folder", verify=False).sha256 == data.sha256  # from its files


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
    with pytest.raises(DataError, match="left cifar-100-python/train, cifar-100-python/test missing in"):
        load("cifar100", tmp_path)
