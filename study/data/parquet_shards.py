"""Hugging Face Parquet shards, with one encoded image and one label in each row."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from study.data.image_data import DataError, DatasetInfo, Images, Part, check_labels, damaged

IMAGE_COLUMNS = ("img", "image")
PIL_MODES = {1: "L", 3: "RGB"}  # channels -> mode

IMAGE_FORMATS = ("PNG", "WEBP")
"""The only decoders that PIL tries, which is 1.6 times as fast as trying all: 60,000 WebP images take 9 to 14 s on one
core. Decoding in a thread pool was slower (measured)."""


@dataclass(frozen=True)
class ParquetShards:
    """`train-*.parquet` and `test-*.parquet` in the first of `folders` that exists in the data directory."""

    folders: tuple[str, ...]
    label_column: str

    @property
    def description(self) -> str:
        """The columns, for the error message when the files are missing."""
        return f"with columns img or image {{bytes, path}} and {self.label_column}"

    def missing(self, data_dir: Path) -> list[str]:
        """The patterns, relative to the data directory, that no file matches."""
        folder = self._folder(data_dir)
        patterns = [f"{folder}/train-*.parquet", f"{folder}/test-*.parquet"]
        return [pattern for pattern in patterns if not any(data_dir.glob(pattern))]

    def read(self, data_dir: Path, info: DatasetInfo, verify: bool) -> tuple[Part, Part]:
        """The training and test parts; with `verify` their sizes must be the published ones. Raises `DataError`."""
        folder = data_dir / self._folder(data_dir)
        train = self._part(folder, "train", info, info.train_count if verify else None)
        test = self._part(folder, "test", info, info.test_count if verify else None)
        return train, test

    def _folder(self, data_dir: Path) -> str:
        return next((name for name in self.folders if any((data_dir / name).glob("*.parquet"))), self.folders[0])

    def _part(self, folder: Path, split: str, info: DatasetInfo, expected: int | None) -> Part:
        paths = sorted(folder.glob(f"{split}-*.parquet"))
        # The footers show whether a shard is missing, before any time is spent on decoding.
        rows = sum(open_shard(path).metadata.num_rows for path in paths)
        if expected is not None and rows != expected:
            raise DataError(
                f"{folder}/{split}-*.parquet: {len(paths)} file(s) hold {rows} images, "
                f"{info.name} has {expected}. "
                f"Put all the shards of one version there and no others."
            )
        shards = [self._shard(path, info) for path in paths]
        return np.concatenate([x for x, _ in shards]), np.concatenate([y for _, y in shards])

    def _shard(self, path: Path, info: DatasetInfo) -> Part:
        import pyarrow as pa

        shard = open_shard(path)
        names = shard.schema_arrow.names
        image_column = next((name for name in IMAGE_COLUMNS if name in names), None)
        if image_column is None or self.label_column not in names:
            raise damaged(path, f"has the columns {', '.join(names)}, not img or image and {self.label_column}")
        try:
            table = shard.read([image_column, self.label_column])
        except (OSError, pa.ArrowException) as error:
            raise damaged(path, f"cannot be read ({first_line(error)})") from error
        labels = table[self.label_column]
        if labels.null_count or not pa.types.is_integer(labels.type):
            raise damaged(path, f"has a column {self.label_column} that is not all integers")
        kind = table.schema.field(image_column).type
        if not pa.types.is_struct(kind) or kind.get_field_index("bytes") < 0:
            raise damaged(path, f"has a column {image_column} of type {kind}, not struct<bytes, path>")
        encoded = [row.as_py() for chunk in table[image_column].chunks for row in chunk.field("bytes")]
        label_array = labels.to_numpy().astype(np.int64)
        check_labels(path, label_array, info.num_classes)
        return decode(path, encoded, info.image_shape), label_array


def open_shard(path: Path) -> Any:
    """The shard as a `pyarrow.parquet.ParquetFile`, with only its footer read; `DataError` if it is not Parquet."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path)
    except (OSError, pa.ArrowException) as error:
        raise damaged(path, f"is not a readable Parquet file ({first_line(error)})") from error


def decode(path: Path, encoded: list[bytes | None], image_shape: tuple[int, int, int]) -> Images:
    """PNG or WebP images of shape (C, H, W) as uint8 (N, C, H, W); `DataError` for any other content."""
    from PIL import Image

    channels, height, width = image_shape
    mode = PIL_MODES[channels]
    images = np.empty((len(encoded), height, width, channels), np.uint8)
    for i, content in enumerate(encoded):
        try:
            with Image.open(io.BytesIO(content or b""), formats=IMAGE_FORMATS) as image:
                size = image.size
                if size == (width, height):
                    # WebP returns a grey image as RGB with equal channels, so converting it to grey is exact.
                    pixels = np.asarray(image if image.mode == mode else image.convert(mode))
                    images[i] = pixels.reshape(height, width, channels)
        except (OSError, SyntaxError, ValueError) as error:
            raise damaged(path, f"holds an image that cannot be decoded, in row {i}") from error
        if size != (width, height):
            raise damaged(path, f"holds an image of {size[0]}x{size[1]} pixels in row {i}, not {width}x{height}")
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2))


def first_line(error: BaseException) -> str:
    """The first line of an error's message; Arrow appends pages of context."""
    return (str(error).splitlines() or [type(error).__name__])[0]
