"""Training, validation and test sets: disjoint, nested, and the same for every trial."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from study.data import DATASETS, ImageData, load, split
from study.data.splits import TRAIN_SEED, fixed_permutation


@pytest.fixture
def numbered() -> ImageData:
    """100 training and 40 test images; the label and the pixels of each are its number."""

    def part(count: int) -> tuple[np.ndarray, np.ndarray]:
        numbers = np.arange(count)
        return np.tile(numbers.astype(np.uint8)[:, None, None, None], (1, 1, 2, 2)), numbers

    return ImageData.of("numbered", part(100), part(40))


@pytest.mark.parametrize(("train_size", "val_size"), [(90, 10), (30, 10), (1, 99), (100, 0), (50, 0)])
def test_training_and_validation_are_disjoint(numbered: ImageData, train_size: int, val_size: int) -> None:
    parts = split(numbered, train_size=train_size, val_size=val_size, test_size=40)
    train, validation = set(parts.train_y), set(parts.val_y)
    assert (len(train), len(validation)) == (train_size, val_size)
    assert not train & validation


def test_images_stay_with_their_labels(numbered: ImageData) -> None:
    parts = split(numbered, train_size=70, val_size=30, test_size=20)
    for images, labels in (
        (parts.train_x, parts.train_y),
        (parts.val_x, parts.val_y),
        (parts.test_x, parts.test_y),
    ):
        np.testing.assert_array_equal(images[:, 0, 1, 1], labels)
        assert images.flags.c_contiguous


def test_validation_does_not_depend_on_the_training_size(numbered: ImageData) -> None:
    a = split(numbered, train_size=10, val_size=20, test_size=40)
    b = split(numbered, train_size=80, val_size=20, test_size=5)
    np.testing.assert_array_equal(a.val_x, b.val_x)
    np.testing.assert_array_equal(a.val_y, b.val_y)


def test_a_smaller_set_is_the_beginning_of_a_larger_one(numbered: ImageData) -> None:
    small = split(numbered, train_size=10, val_size=20, test_size=5)
    large = split(numbered, train_size=80, val_size=20, test_size=30)
    np.testing.assert_array_equal(small.train_y, large.train_y[:10])
    np.testing.assert_array_equal(small.test_y, large.test_y[:5])


def test_whole_official_sets_keep_their_order_and_are_not_copied(numbered: ImageData) -> None:
    parts = split(numbered, train_size=100, val_size=0, test_size=40)
    assert parts.train_x is numbered.train_x
    assert parts.test_x is numbered.test_x
    assert len(parts.val_y) == 0


def test_the_order_of_a_smaller_training_set_mixes_the_classes(numbered: ImageData) -> None:
    """The labels of the fixture ascend; the head of the permutation must not."""
    train_y = split(numbered, train_size=60, val_size=0, test_size=40).train_y
    assert abs(np.corrcoef(np.arange(60), train_y)[0, 1]) < 0.3


def test_the_permutation_never_changes() -> None:
    """With another order, resumed trials would silently train on other images."""
    assert fixed_permutation(TRAIN_SEED, 60_000)[:5].tolist() == [52327, 41922, 16814, 37197, 34035]
    assert sorted(fixed_permutation(TRAIN_SEED, 1000)) == list(range(1000))


def test_every_class_of_the_digits_is_in_a_small_training_set(tmp_path: Path) -> None:
    parts = split(load("digits", tmp_path), train_size=200, val_size=100, test_size=100)
    assert set(parts.train_y) == set(parts.test_y) == set(range(DATASETS["digits"].num_classes))


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((95, 10, 40), r"train_size 95 \+ val_size 10 is more than the 100 training images"),
        ((101, 0, 40), "more than the 100 training images"),
        ((90, 10, 41), "test_size 41 is more than the 40 test images"),
        ((0, 10, 40), "train_size 0"),
        ((10, -1, 40), "val_size -1"),
        ((10, 10, 0), "test_size 0"),
    ],
)
def test_impossible_sizes_are_refused(numbered: ImageData, sizes: tuple[int, int, int], message: str) -> None:
    train_size, val_size, test_size = sizes
    with pytest.raises(ValueError, match=message):
        split(numbered, train_size=train_size, val_size=val_size, test_size=test_size)
