"""What comes from outside the package, for tests: images of a user, and registries that are as they were afterwards."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from search_spaces.outside import STUDY_FILES
from search_spaces.regimes import REGIME_NAMES
from study.trials import outside


@contextmanager
def forgotten() -> Iterator[None]:
    """Within it anything may be brought; afterwards all of it is forgotten."""
    tables = [*outside.REGISTRIES.values(), STUDY_FILES, REGIME_NAMES]
    before = [dict(table) for table in tables]
    path, meta_path, modules = list(sys.path), list(sys.meta_path), set(sys.modules)
    try:
        yield
    finally:
        for table, entries in zip(tables, before, strict=True):
            table.clear()
            table.update(entries)
        outside._added.clear()
        outside._entered = outside.Outside()
        sys.path[:], sys.meta_path[:] = path, meta_path
        for name in set(sys.modules) - modules:
            if "/" not in name and getattr(sys.modules[name], "__file__", None) and not _is_installed(name):
                del sys.modules[name]


def _is_installed(name: str) -> bool:
    file = str(sys.modules[name].__file__)
    return "site-packages" in file or file.startswith((sys.base_prefix, str(Path(__file__).resolve().parents[1])))


def write_images(file: Path, classes: int = 3, train: int = 300, test: int = 90) -> None:
    """Grey images of 12x12 pixels as .npz; a part of each class's images is brighter."""
    rng = np.random.default_rng(0)
    arrays = {}
    for part, count in (("train", train), ("test", test)):
        labels = np.arange(count) % classes
        images = rng.integers(0, 120, (count, 1, 12, 12))
        width = 12 // classes
        for label in range(classes):
            images[labels == label, :, :, width * label : width * (label + 1)] += 40
        arrays |= {f"{part}_x": images.astype(np.uint8), f"{part}_y": labels.astype(np.int64)}
    np.savez(file, **arrays)
