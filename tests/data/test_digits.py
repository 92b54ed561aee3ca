"""The embedded digits are real scans, as they are or enlarged exactly, split by class."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.datasets
import torch

from study.data import DATASETS, ImageData, load
from study.data.digits import enlarge

SCANS = ("digits", "digits_8x8")


@pytest.fixture(scope="module", params=SCANS)
def digits(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ImageData:
    return load(request.param, tmp_path_factory.mktemp("empty"))


def test_sizes_types_and_range(digits: ImageData) -> None:
    info = DATASETS[digits.name]
    assert digits.train_x.shape == (info.train_count, *info.image_shape)
    assert digits.test_x.shape == (info.test_count, *info.image_shape)
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
    images = (bunch.images * 255 / 16 + 0.5).astype(np.uint8)[:, None]
    if digits.name == "digits":
        images = enlarge(bunch.images.astype(np.int64))
    scans = zip(images, bunch.target, strict=True)
    train = zip(digits.train_x, digits.train_y, strict=True)
    test = zip(digits.test_x, digits.test_y, strict=True)
    assert sorted((x.tobytes(), y) for x, y in [*train, *test]) == sorted((x.tobytes(), y) for x, y in scans)


def test_no_test_image_is_a_training_image(digits: ImageData) -> None:
    assert not {x.tobytes() for x in digits.train_x} & {x.tobytes() for x in digits.test_x}


def test_the_same_share_of_each_class_is_in_the_test_part(digits: ImageData) -> None:
    of_test, of_train = np.bincount(digits.test_y), np.bincount(digits.train_y)
    share = {"digits": 1 / 5, "digits_8x8": 1 / 3}[digits.name]
    assert np.abs(of_test - (of_test + of_train) * share).max() < 1


def test_the_bits_never_change(digits: ImageData) -> None:
    """This digest identifies the dataset in results of different machines and releases."""
    assert digits.sha256[:12] == {"digits": "4d8ed3d2565b", "digits_8x8": "299ac2f5324a"}[digits.name]
