"""scikit-learn's 1,797 real scans of digits, at their own 8x8 pixels or enlarged to MNIST's size; no download."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from study.data.image_data import DatasetInfo, Images, Labels, Part

SCAN_SIZE = 8
SCAN_MAX = 16  # ink counts of 4x4 cells
IMAGE_SIZE = 28
ENLARGED_STRIDE, SCANS_STRIDE = 5, 3
"""Of the enlarged digits every fifth is a test image, of the 8x8 scans every third, because the smoke study compares
accuracies that differ little and so needs many test images."""


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
    return _bytes(weights @ scans @ weights.T, SCAN_MAX * scale**2)


def load_digits(info: DatasetInfo, data_dir: Path) -> tuple[Part, Part]:
    """The training part (1,437 images of 28x28) and the test part (360), stratified; needs no data directory."""
    scans, labels = _scans()
    return _parts(enlarge(scans), labels, ENLARGED_STRIDE)


def load_scans(info: DatasetInfo, data_dir: Path) -> tuple[Part, Part]:
    """The training part (1,198 images of 8x8) and the test part (599), stratified; needs no data directory."""
    scans, labels = _scans()
    return _parts(_bytes(scans, SCAN_MAX), labels, SCANS_STRIDE)


def _scans() -> tuple[npt.NDArray[np.int64], Labels]:
    """The scans (N, 8, 8) with values 0..16, and their classes (N,), in scikit-learn's order."""
    from sklearn.datasets import load_digits as scikit_learn_digits

    bunch = scikit_learn_digits()
    return bunch.images.astype(np.int64), bunch.target.astype(np.int64)


def _bytes(sums: npt.NDArray[np.int64], largest: int) -> Images:
    """Values (N, H, W) in 0..largest as images (N, 1, H, W) uint8 in 0..255, rounded to nearest."""
    return ((2 * 255 * sums + largest) // (2 * largest)).astype(np.uint8)[:, None]


def _parts(images: Images, labels: Labels, stride: int) -> tuple[Part, Part]:
    """The training and the test part. Both keep scikit-learn's order, in which the classes alternate."""
    is_test = held_out(labels, stride)
    return (images[~is_test], labels[~is_test]), (images[is_test], labels[is_test])


def held_out(labels: Labels, stride: int) -> npt.NDArray[np.bool_]:
    """Which of the images with these labels (N,) are tested on.

    Sorted by class (stably), every `stride`-th is, so that this share of each class is, to within one image.
    """
    is_test = np.zeros(len(labels), bool)
    is_test[np.argsort(labels, kind="stable")[::stride]] = True
    return is_test
