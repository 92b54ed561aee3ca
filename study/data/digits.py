"""scikit-learn's 1,797 real 8x8 scans of digits, enlarged to MNIST's size; they need no download."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from study.data.image_data import DatasetInfo, Images, Part

SCAN_SIZE = 8
SCAN_MAX = 16  # ink counts of 4x4 cells
IMAGE_SIZE = 28
TEST_STRIDE = 5


def bilinear_weights() -> tuple[npt.NDArray[np.int64], int]:
    """Integer weights (28, 8) of bilinear interpolation, half-pixel centres, and their common row sum.

    Output pixel i lies at (i + 1/2) 8/28 - 1/2 = (4 i - 5) / 14 in the scan, clamped to its edge pixels.
    """
    step = 14
    position = np.clip(4 * np.arange(IMAGE_SIZE) - 5, 0, step * (SCAN_SIZE - 1))
    below, fraction = position // step, position % step
    weights = np.zeros((IMAGE_SIZE, SCAN_SIZE), np.int64)
    rows = np.arange(IMAGE_SIZE)
    weights[rows, below] = step - fraction
    weights[rows, np.minimum(below + 1, SCAN_SIZE - 1)] += fraction
    return weights, step


def enlarge(scans: npt.NDArray[np.int64]) -> Images:
    """Scans (N, 8, 8) with values 0..16 as images (N, 1, 28, 28) uint8 in 0..255.

    Computed in integers, so that the bits (and the sha256) are the same on every machine.
    """
    weights, scale = bilinear_weights()
    sums = weights @ scans @ weights.T
    denominator = SCAN_MAX * scale**2
    rounded = (2 * 255 * sums + denominator) // (2 * denominator)
    return rounded.astype(np.uint8)[:, None]


def load_digits(info: DatasetInfo, data_dir: Path, verify: bool) -> tuple[Part, Part]:
    """The training part (1,437 images) and the test part (360), stratified; the data directory is not used.

    Sorted by class (stably), every fifth scan is a test image, so a fifth of each class is, to within one image. Both
    parts keep scikit-learn's order, in which the classes alternate.
    """
    from sklearn.datasets import load_digits as scikit_learn_digits

    bunch = scikit_learn_digits()
    images = enlarge(bunch.images.astype(np.int64))
    labels = bunch.target.astype(np.int64)
    is_test = np.zeros(len(labels), bool)
    is_test[np.argsort(labels, kind="stable")[::TEST_STRIDE]] = True
    return (images[~is_test], labels[~is_test]), (images[is_test], labels[is_test])
