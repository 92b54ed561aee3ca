"""The studies' training, validation and test sets, cut from the official training and test sets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from study.data.image_data import ImageData, Images, Labels

# Never change these: other values give another study. The split does not depend on a trial, not even on its seed.
TRAIN_SEED = 55_000
TEST_SEED = 10_000


@dataclass(frozen=True, eq=False)
class Splits:
    """Images uint8 (N, C, H, W) and labels int64 (N,) of the three parts."""

    train_x: Images
    train_y: Labels
    val_x: Images
    val_y: Labels
    test_x: Images
    test_y: Labels


def fixed_permutation(seed: int, count: int) -> npt.NDArray[np.intp]:
    """A permutation of range(count) that is the same in every release of numpy.

    It is the order of raw PCG64 output: numpy guarantees the bits of its bit generators, but not those of
    `Generator.permutation` (NEP 19).
    """
    return np.argsort(np.random.PCG64(seed).random_raw(count), kind="stable")


def split(data: ImageData, *, train_size: int, val_size: int, test_size: int) -> Splits:
    """Split the official training set into training and validation, and reduce the official test set to `test_size`.

    The natural-training paper (2020), experimental setup, uses 55,000 / 5,000 / 10,000 images on MNIST and
    Fashion-MNIST, and 40,000 / 10,000 / 10,000 on CIFAR-10. Here the training set is the beginning of a fixed
    permutation and the validation set its end. So they are disjoint, the validation set does not depend on the training
    size, and a smaller training set is the beginning of every larger one. A smaller test set is the beginning of
    another fixed permutation. The whole official training set (without validation) and the whole test set keep their
    own order and are not copied.

    Raises:
        ValueError: a size below its minimum, or more images than the dataset has.
    """
    available, test_available = len(data.train_y), len(data.test_y)
    if train_size < 1 or val_size < 0 or test_size < 1:
        raise ValueError(
            f"{data.name}: train_size {train_size} and test_size {test_size} must be at least 1, "
            f"val_size {val_size} at least 0"
        )
    if train_size + val_size > available:
        raise ValueError(
            f"{data.name}: train_size {train_size} + val_size {val_size} is more than the {available} training images"
        )
    if test_size > test_available:
        raise ValueError(f"{data.name}: test_size {test_size} is more than the {test_available} test images")

    order = fixed_permutation(TRAIN_SEED, available)
    validation = order[available - val_size :]
    train_x, train_y = data.train_x, data.train_y
    if train_size < available:
        train_x, train_y = train_x[order[:train_size]], train_y[order[:train_size]]
    test_x, test_y = data.test_x, data.test_y
    if test_size < test_available:
        chosen = fixed_permutation(TEST_SEED, test_available)[:test_size]
        test_x, test_y = test_x[chosen], test_y[chosen]
    return Splits(train_x, train_y, data.train_x[validation], data.train_y[validation], test_x, test_y)
