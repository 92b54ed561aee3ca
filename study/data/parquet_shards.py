"""Hugging Face Parquet shards, with one encoded image and one label in each row, in the layouts of its hub.

The official sets lie there as `plain_text/train-00000-of-00001.parquet`, `mnist/...` or `cifar100/...`, uploads of
users as `data/train-00000-of-00001.parquet`, and the hub's own conversions as `default/train/0000.parquet`.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from study.data.image_data import DataError, DatasetInfo, Images, Labels, Part, Shape

IMAGE_COLUMNS = ("img", "image")
PIL_MODES = {1: "L", 3: "RGB"}  # channels -> mode
DEEP_MODES = ("I", "F")  # how PIL's names of modes with more than 8 bits begin

IMAGE_FORMATS = ("PNG", "WEBP", "JPEG")
"""The only decoders that PIL tries, which is 1.6 times as fast as trying all: 60,000 WebP images take 9 to 14 s on one
core. Decoding in a thread pool was slower (measured)."""

JPEG_START = b"\xff\xd8"

DEPTH = 3
"""How many folders below a data set's own its shards may lie: the hub's cache has `snapshots/REVISION/CONFIG`."""

OFFICIAL = {"mnist", "fashionmnist", "cifar10", "cifar100"}
"""Folders in which another data set is not looked for."""


def shards_of(folder: Path, split: str) -> list[Path]:
    """The shards of a split in a folder: `train-*.parquet`, `train.parquet` or `train/*.parquet`, in order."""
    patterns = (f"{split}-*.parquet", f"{split}.parquet", f"{split}/*.parquet")
    return next((found for pattern in patterns if (found := sorted(folder.glob(pattern)))), [])


def shard_folders(folder: Path, depth: int = DEPTH) -> Iterator[Path]:
    """The folder and those below it that hold shards of a training set, the nearest first, then by name."""
    level = [folder]
    for _ in range(depth + 1):
        yield from (one for one in level if shards_of(one, "train"))
        level = [below for one in level for below in _folders_in(one)]


def _folders_in(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError:  # no folder, or none that may be read
        return []


@dataclass(frozen=True)
class ParquetShards:
    """Shards of a training and a test set in a folder named as the data set, or in one below it.

    Attributes:
        names: of the folder; case, `-` and `_` do not matter, nor the owner that the hub's cache puts before a name.
            Users are told the first.
        label_column: of the classes.
    """

    names: tuple[str, ...]
    label_column: str
    remedy = "Put the shards of one version there and no others, or rename the folder to have the data downloaded"

    @property
    def description(self) -> str:
        """The columns, for the error message when the files are missing."""
        return f"with columns img or image {{bytes, path}} and {self.label_column}"

    def missing(self, data_dir: Path) -> list[str]:
        """The patterns, relative to the data directory, that no file matches."""
        if self._folder(data_dir):
            return []
        folder = next(self._training_folders(data_dir), data_dir / self.names[0])
        within = folder.relative_to(data_dir).as_posix()
        return [
            f"{'' if within == '.' else f'{within}/'}{split}-*.parquet"
            for split in ("train", "test")
            if not shards_of(folder, split)
        ]

    def seen(self, data_dir: Path) -> str:
        """A hint if Parquet shards lie in a folder that is not named after a data set: which folder to rename or move;
        empty if there are none.
        """
        others = (
            folder
            for folder in shard_folders(data_dir, depth=2)
            if shards_of(folder, "test") and not OFFICIAL.intersection(map(_plain, folder.relative_to(data_dir).parts))
        )
        place, target = next(others, None), data_dir / self.names[0]
        if place is None:
            return ""
        what = f"move them to {target}" if place == data_dir else f"rename this folder to {target}"
        return f". There are Parquet shards in {place}: if they are those of {self.names[0]}, {what}"

    def read(self, data_dir: Path, info: DatasetInfo) -> tuple[Part, Part]:
        """The training and test parts, of the published sizes. Raises `DataError`."""
        folder = self._folder(data_dir) or data_dir / self.names[0]
        return self._part(folder, "train", info, info.train_count), self._part(folder, "test", info, info.test_count)

    def _folder(self, data_dir: Path) -> Path | None:
        return next((folder for folder in self._training_folders(data_dir) if shards_of(folder, "test")), None)

    def _training_folders(self, data_dir: Path) -> Iterator[Path]:
        for name in self.names:
            for folder in (*_folders_in(data_dir), data_dir):
                if _plain(folder.name) == _plain(name):
                    yield from shard_folders(folder)

    def _part(self, folder: Path, split: str, info: DatasetInfo, expected: int) -> Part:
        paths = shards_of(folder, split)
        # The footers show whether a shard is missing, before any time is spent on decoding.
        rows = sum(open_shard(path).metadata.num_rows for path in paths)
        if rows != expected:
            raise DataError(f"{folder}: {len(paths)} {split} shard(s) hold {rows} images, {info.name} has {expected}")
        parts = [self._shard(path, info) for path in paths]
        return np.concatenate([x for x, _ in parts]), np.concatenate([y for _, y in parts])

    def _shard(self, path: Path, info: DatasetInfo) -> Part:
        shard = open_shard(path)
        names = shard.schema_arrow.names
        image_column = next((name for name in IMAGE_COLUMNS if name in names), None)
        if image_column is None or self.label_column not in names:
            raise DataError(f"{path} has the columns {', '.join(names)}, not img or image and {self.label_column}")
        encoded, labels = read_shard(path, shard, image_column, self.label_column)
        if labels.size and (labels.min() < 0 or labels.max() >= info.num_classes):
            raise DataError(f"{path} holds labels {labels.min()} to {labels.max()}, not 0 to {info.num_classes - 1}")
        if any((content or b"").startswith(JPEG_START) for content in encoded):
            message = f"{path.parent}: JPEG images; their pixels are not quite {info.name}'s published ones"
            warnings.warn(message, stacklevel=2)
        return decode(path, encoded, info.image_shape), labels


def _plain(name: str) -> str:
    """A folder's name without its owner, case, `-` and `_`: `datasets--uoft-cs--cifar10` is `cifar10`."""
    return re.sub("[-_]", "", name.rsplit("--", 1)[-1].lower())


def read_shard(path: Path, shard: Any, image_column: str, label_column: str) -> tuple[list[bytes | None], Labels]:
    """The encoded images in one column of an open shard and the labels in another; `DataError` for other content."""
    import pyarrow as pa

    try:
        table = shard.read([image_column, label_column])
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read ({first_line(error)})") from error
    labels = table[label_column]
    if labels.null_count or not pa.types.is_integer(labels.type):
        raise DataError(f"{path} has a column {label_column} that is not all integers")
    kind, chunks = table.schema.field(image_column).type, table[image_column].chunks
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        chunks = [chunk.field("bytes") for chunk in chunks]
    elif not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
        raise DataError(f"{path} has a column {image_column} of type {kind}, not struct<bytes, path> or binary")
    return [cell.as_py() for chunk in chunks for cell in chunk], labels.to_numpy().astype(np.int64)


def open_shard(path: Path) -> Any:
    """The shard as a `pyarrow.parquet.ParquetFile`, with only its footer read; `DataError` if it is not Parquet."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} is not a readable Parquet file ({first_line(error)})") from error


def decode(path: Path, encoded: Sequence[bytes | None], image_shape: Shape) -> Images:
    """Encoded images of shape (C, H, W) as uint8 (N, C, H, W); `DataError` for any other content."""
    channels, height, width = image_shape
    mode = PIL_MODES[channels]
    images = np.empty((len(encoded), height, width, channels), np.uint8)
    for row, content in enumerate(encoded):
        name = f"{path}: row {row}"
        image = open_image(content, name, IMAGE_FORMATS)
        if image.size != (width, height):
            raise DataError(f"{name} has {image.width}x{image.height} pixels, not {width}x{height}")
        # WebP returns a grey image as RGB with equal channels, so converting it to grey is exact.
        pixels = np.asarray(image if image.mode == mode else image.convert(mode))
        images[row] = pixels.reshape(height, width, channels)
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2))


def open_image(file: bytes | Path | None, name: str, formats: tuple[str, ...] | None = None) -> Any:
    """The decoded image of a file, or of its bytes, upright; a `DataError` that begins with `name` if none is."""
    from PIL import Image

    if file is None:
        raise DataError(f"{name} holds no image, perhaps the path of one")
    try:
        image = Image.open(io.BytesIO(file) if isinstance(file, bytes) else file, formats=formats)
        image.load()
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{name} is no image that can be decoded") from error
    image = _upright(image)
    if image.mode.startswith(DEEP_MODES):  # PIL would clip its values to 255
        raise DataError(f"{name} has more than 8 bits a channel: convert it")
    return image


def _upright(image: Any) -> Any:
    """The image as it was seen: a camera stores how it was held."""
    from PIL import ExifTags, Image

    turn = Image.Transpose
    turns = [turn.FLIP_LEFT_RIGHT, turn.ROTATE_180, turn.FLIP_TOP_BOTTOM, turn.TRANSPOSE]
    turns += [turn.ROTATE_270, turn.TRANSVERSE, turn.ROTATE_90]
    try:
        held = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # damaged tags of a picture that can be decoded
        return image
    return image.transpose(turns[held - 2]) if held in range(2, 9) else image


def first_line(error: BaseException) -> str:
    """The first line of an error's message; Arrow appends pages of context."""
    return (str(error).splitlines() or [type(error).__name__])[0]
