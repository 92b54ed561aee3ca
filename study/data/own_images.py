"""Image sets that users bring: a folder for each class, a .npz file, or Hugging Face Parquet shards."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from study.data.digits import held_out
from study.data.image_data import DataError, DatasetInfo, Images, Labels, Part, Shape
from study.data.parquet_shards import first_line, open_image, open_shard, read_shard, shard_folders, shards_of

TEST_NAMES = ("test", "val", "valid", "validation")
"""What the part that is tested on may be called; the first that is there is taken."""

TEST_STRIDE = 5
"""Without such a part every fifth image of each class is tested on."""

LABEL_COLUMNS = ("label", "labels", "fine_label")

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".pgm", ".ppm")

LAYOUTS = (
    "a folder for each class in train/ and test/ (or without them), a .npz file with train_x, train_y, test_x and "
    "test_y, or train-*.parquet and test-*.parquet"
)


@dataclass(frozen=True)
class OwnImages:
    """An image set at a path, for `DATASETS` of a study file and `--dataset`.

    Attributes:
        path: a folder or a .npz file; a relative one is below the data folder.
        image_shape: (C, H, W); images are cropped to this aspect ratio and scaled. None: that of the first image, which
            all others must have.
        num_classes: None: the folders of classes, the names in a Parquet file, or the largest label and 1.
    """

    path: str | Path
    image_shape: Shape | None = None
    num_classes: int | None = None

    def info(self, name: str, data_dir: Path) -> DatasetInfo:
        """Its sizes, found without decoding more than one image.

        Raises:
            DataError: there are no images, or none that can be used.
        """
        path = data_dir / os.path.expanduser(self.path)  # noqa: PTH111 (Path.expanduser raises RuntimeError)
        found = _find(path)
        labels = found.labels
        if len(labels) < 2 or labels.min() < 0:
            least = labels.min(initial=0)
            raise DataError(f"{path} holds {len(labels)} labels, the least of them {least}: labels are 0, 1, ...")
        classes = self.num_classes or max(found.classes, int(labels.max()) + 1)
        if classes < 2 or labels.max() >= classes:
            raise DataError(f"{path} holds labels 0 to {labels.max()} of {classes} classes: two and more are needed")
        tested = int(found.is_test.sum())
        if not 0 < tested < len(labels):
            raise DataError(f"{path} holds {len(labels) - tested} training and {tested} test images: it needs both")
        unseen = sorted(set(range(classes)) - set(labels[~found.is_test].tolist()))
        if unseen and not (self.num_classes or found.classes):
            raise DataError(
                f"{path} has {classes} classes, of which {len(unseen)} have no training image (the first: {unseen[0]}):"
                " number them without gaps"
            )
        shape = self.image_shape or found.shape()

        def load(info: DatasetInfo, data_dir: Path) -> tuple[Part, Part]:
            images = found.read(shape, self.image_shape is not None)
            parts = [(np.ascontiguousarray(images[of]), labels[of]) for of in (~found.is_test, found.is_test)]
            return parts[0], parts[1]

        return DatasetInfo(name, classes, shape, len(labels) - tested, tested, load)


@dataclass(frozen=True)
class _Found:
    """Labels (N,) of all images, which of them are tested on, the number of classes that is stated (0: none), and
    functions that find the shape of the first image and decode all to a shape, scaled or not.
    """

    labels: Labels
    is_test: npt.NDArray[np.bool_]
    classes: int
    shape: Callable[[], Shape]
    read: Callable[[Shape, bool], Images]


def _find(path: Path) -> _Found:
    if path.suffix == ".npz":
        return _npz(path)
    if not path.is_dir():
        raise DataError(f"{path} is no folder and no .npz file; it should be {LAYOUTS}")
    if folder := next(shard_folders(path), None):
        tests = (shards_of(folder, name) for name in TEST_NAMES)
        return _parquet(shards_of(folder, "train"), next(filter(None, tests), []))
    arrays = sorted(path.glob("*.npz"))
    if len(arrays) == 1:
        return _npz(arrays[0])
    return _folders(path)


# Arrays


def _npz(path: Path) -> _Found:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except OSError as error:
        raise DataError(f"{path} cannot be read ({first_line(error)})") from error
    except (ValueError, EOFError, BadZipFile, zlib.error) as error:
        raise DataError(f"{path} is no file that numpy.savez wrote ({first_line(error)})") from error
    train, test = _arrays(path, arrays, ("train",)), _arrays(path, arrays, TEST_NAMES)
    whole = train or _arrays(path, arrays, ("",))
    if whole is None:
        raise DataError(f"{path} holds {', '.join(arrays) or 'nothing'}, not train_x, train_y, test_x and test_y")
    images, labels = whole
    if test and images.shape[1:] != test[0].shape[1:]:
        raise DataError(
            f"{path} holds training images of shape {images.shape[1:]} and test images of shape {test[0].shape[1:]}"
        )
    if test:
        images, labels = np.concatenate([images, test[0]]), np.concatenate([labels, test[1]])
    is_test = np.arange(len(labels)) >= len(whole[1]) if test else held_out(labels, TEST_STRIDE)

    def read(shape: Shape, scaled: bool) -> Images:
        if images.shape[1:] == shape:
            return images
        if not scaled:
            raise DataError(f"{path} holds images of shape {images.shape[1:]}, not {shape}")
        return np.stack([_pixels(_as_pil(image), shape) for image in images])

    return _Found(labels, is_test, 0, lambda: images.shape[1:], read)


def _arrays(path: Path, arrays: dict[str, npt.NDArray[Any]], parts: Sequence[str]) -> Part | None:
    """Images (N, C, H, W) and labels of the first part that is there, under the names that are in use."""
    for part in parts:
        for x, y in (("x", "y"), ("images", "labels")):
            for names in ((f"{part}_{x}", f"{part}_{y}"), (f"{x}_{part}", f"{y}_{part}")):
                images, labels = (arrays.get(name.strip("_")) for name in names)
                if images is not None and labels is not None:
                    return _as_images(path, images, names[0]), _as_labels(path, labels, len(images), names[1])
    return None


def _as_images(path: Path, images: npt.NDArray[Any], name: str) -> Images:
    if images.dtype != np.uint8 or images.ndim not in (3, 4):
        raise DataError(
            f"{path}: {name} is {images.dtype} of shape {images.shape}; images are uint8, 0 to 255, of shape "
            "(N, C, H, W), (N, H, W, C) or (N, H, W)"
        )
    if images.ndim == 3:
        return images[:, None]
    channels = images.shape[1] if images.shape[1] in (1, 3) else images.shape[3]
    if channels not in (1, 3):
        raise DataError(f"{path}: {name} has shape {images.shape}, without an axis of 1 or 3 colours")
    return images if images.shape[1] in (1, 3) else images.transpose(0, 3, 1, 2)


def _as_labels(path: Path, labels: npt.NDArray[Any], count: int, name: str) -> Labels:
    flat = labels.reshape(-1)
    if flat.dtype.kind not in "iu" or len(flat) != count:
        raise DataError(f"{path}: {name} is {labels.dtype} of shape {labels.shape}, not {count} whole numbers")
    return flat.astype(np.int64)


# A folder for each class


def _folders(path: Path) -> _Found:
    """torchvision's ImageFolder: classes are the folders of the training part, in the order of their names."""
    train = path / "train" if (path / "train").is_dir() else path
    test = next((path / name for name in TEST_NAMES if (path / name).is_dir()), None) if train != path else None
    names = sorted(one.name for one in train.iterdir() if one.is_dir() and not one.name.startswith("."))
    files = _files(train, names)
    tested = _files(test, names) if test else []
    if len(names) < 2 or not files:
        raise DataError(f"{path} needs images of at least two classes; it should be {LAYOUTS}")
    empty = [name for label, name in enumerate(names) if label not in {of for _, of in files}]
    if empty:
        raise DataError(f"{train / empty[0]} holds no image: fill or delete the folder")
    both = [*files, *tested]
    labels = np.array([label for _, label in both], dtype=np.int64)
    is_test = np.arange(len(both)) >= len(files) if test else held_out(labels, TEST_STRIDE)
    return _encoded([(str(file), file) for file, _ in both], labels, is_test, len(names))


def _files(folder: Path, classes: Sequence[str]) -> list[tuple[Path, int]]:
    unknown = {one.name for one in folder.iterdir() if one.is_dir() and not one.name.startswith(".")} - set(classes)
    if unknown:
        raise DataError(f"{folder} has the folder {sorted(unknown)[0]}, which is no class of the training images")
    return [
        (file, label)
        for label, name in enumerate(classes)
        for file in sorted((folder / name).rglob("*"))
        if file.suffix.lower() in IMAGE_SUFFIXES
    ]


# Parquet


def _parquet(train: Sequence[Path], test: Sequence[Path]) -> _Found:
    encoded: list[_Encoded] = []
    labels, classes = [], 0
    for path in (*train, *test):
        shard = open_shard(path)
        image, label, stated = _columns(path, shard.schema_arrow)
        images, numbers = read_shard(path, shard, image, label)
        encoded += [(f"{path}: row {row}", content) for row, content in enumerate(images)]
        labels.append(numbers)
        classes = max(classes, stated)
    joined = np.concatenate(labels)
    count = sum(map(len, labels[: len(train)]))
    is_test = np.arange(len(joined)) >= count if test else held_out(joined, TEST_STRIDE)
    return _encoded(encoded, joined, is_test, classes)


def _columns(path: Path, schema: Any) -> tuple[str, str, int]:
    """The columns of images and of labels, and the number of classes that the file states (0: none)."""
    import pyarrow as pa

    types = {field.name: field.type for field in schema}
    images = [n for n, kind in types.items() if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0]
    numbers = [name for name, kind in types.items() if pa.types.is_integer(kind)]
    try:
        features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}")).get("info", {}).get("features", {})
        stated = {n: len(f["names"]) for n, f in features.items() if isinstance(f, dict) and f.get("names")}
    except (ValueError, AttributeError, TypeError) as error:
        raise DataError(f"{path} has a damaged description of its columns ({first_line(error)})") from error
    label = next((name for name in (*LABEL_COLUMNS, *stated, *numbers) if name in numbers), None)
    if not images or label is None:
        raise DataError(
            f"{path} has the columns {', '.join(types)}: none of images {{bytes}}, or none of whole numbers"
        )
    return images[0], label, stated.get(label, 0)


# Encoded images

_Encoded = tuple[str, bytes | Path | None]
"""What errors call an image, and its file or the bytes of that."""


def _encoded(images: Sequence[_Encoded], labels: Labels, is_test: npt.NDArray[np.bool_], classes: int) -> _Found:
    """Images that PIL decodes."""

    def shape() -> Shape:
        name, file = images[0]
        return _shape(open_image(file, name))

    def read(to: Shape, scaled: bool) -> Images:
        pixels = np.empty((len(images), *to), np.uint8)
        for place, (name, file) in enumerate(images):
            image = open_image(file, name)
            if not scaled and _shape(image) != to:
                raise DataError(
                    f"{name} has {_in_words(_shape(image))}, the first image {_in_words(to)}: state the shape that all "
                    "shall have, as --dataset DIR@3x64x64 or OwnImages(DIR, image_shape=(3, 64, 64))"
                )
            pixels[place] = _pixels(image, to)
        return pixels

    return _Found(labels, is_test, classes, shape, read)


def _shape(image: Any) -> Shape:
    """The shape (C, H, W) of a PIL image."""
    return 1 if image.mode in ("1", "L") else 3, image.height, image.width


def _in_words(shape: Shape) -> str:
    channels, height, width = shape
    return f"{width}x{height} {'grey' if channels == 1 else 'colour'} pixels"


def _pixels(image: Any, shape: Shape) -> Images:
    """A PIL image as uint8 (C, H, W), cropped to the aspect ratio and scaled where it has another size."""
    from PIL import Image, ImageOps

    channels, height, width = shape
    if image.mode == "P":
        image = image.convert("RGBA")  # a palette may have transparent colours
    image = image.convert("L" if channels == 1 else "RGB")
    if image.size != (width, height):
        image = ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR)
    return np.asarray(image).reshape(height, width, channels).transpose(2, 0, 1)


def _as_pil(image: npt.NDArray[np.uint8]) -> Any:
    from PIL import Image

    return Image.fromarray(image[0] if len(image) == 1 else np.ascontiguousarray(image.transpose(1, 2, 0)))
