"""The embedded digits are real scans, enlarged exactly and split by class."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.datasets
import torch

from study.data import DATASETS, ImageData, load
from study.data.digits import enlarge


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> ImageData:
    return load("digits", tmp_path_factory.mktemp("empty"))


def test_sizes_types_and_range(digits: ImageData) -> None:
    info = DATASETS["digits"]
    assert digits.train_x.shape == (info.train_count, 1, 28, 28) == (1437, 1, 28, 28)
    assert digits.test_x.shape == (info.test_count, 1, 28, 28) == (360, 1, 28, 28)
    assert digits.train_x.dtype == np.uint8
    assert digits.train_y.dtype == np.int64
    assert (digits.train_x.min(), digits.train_x.max()) == (0, 255)


def test_they_are_enlarged_by_bilinear_interpolation_as_in_torch() -> None:
    scans = sklearn.datasets.load_digits().images.astype(np.int64)
    exact = torch.nn.functional.interpolate(
        torch.from_numpy(scans).double()[:, None] * 255 / 16, size=28, mode="bilinear", align_corners=False
    )
    difference = np.abs(enlarge(scans) - exact.numpy())
    assert difference.max() <= 0.5 + 1e-9  # rounded to the nearest integer, not truncated


def test_every_scan_is_in_exactly_one_part(digits: ImageData) -> None:
    bunch = sklearn.datasets.load_digits()
    scans = zip(enlarge(bunch.images.astype(np.int64)), bunch.target, strict=True)
    train = zip(digits.train_x, digits.train_y, strict=True)
    test = zip(digits.test_x, digits.test_y, strict=True)
    assert sorted((x.tobytes(), y) for x, y in [*train, *test]) == sorted((x.tobytes(), y) for x, y in scans)


def test_no_test_image_is_a_training_image(digits: ImageData) -> None:
    assert not {x.tobytes() for x in digits.train_x} & {x.tobytes() for x in digits.test_x}


def test_a_fifth_of_each_class_is_in_the_test_part(digits: ImageData) -> None:
    of_test, of_train = np.bincount(digits.test_y), np.bincount(digits.train_y)
    assert np.abs(of_test - (of_test + of_train) / 5).max() < 1


def test_the_bits_never_change(digits: ImageData) -> None:
    """This digest identifies the dataset in results of different machines and releases."""
    assert digits.sha256.startswith("4d8ed3d2565b")
