"""Image sets that users bring, in each layout: the same images give the same arrays."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from study.data.image_data import DataError, DatasetInfo, Part
from study.data.own_images import OwnImages

Parts = dict[str, tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]]


def images(channels: int = 3, size: tuple[int, int] = (6, 5)) -> Parts:
    """Nine training and six test images of three classes, each part in the order of its labels."""
    rng = np.random.default_rng(0)
    return {
        part: (rng.integers(0, 256, (count, channels, *size)).astype(np.uint8), np.arange(count) * 3 // count)
        for part, count in (("train", 9), ("test", 6))
    }


def pil(image: npt.NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0))


def as_folders(folder: Path, parts: Parts) -> None:
    for part, (x, y) in parts.items():
        for place, (image, label) in enumerate(zip(x, y, strict=True)):
            place_of = folder / part / f"class {label}"
            place_of.mkdir(parents=True, exist_ok=True)
            pil(image).save(place_of / f"{place:03d}.png")


def as_arrays(folder: Path, parts: Parts) -> None:
    np.savez(folder / "a.npz", **{f"{n}_{p}": a for p, xy in parts.items() for n, a in zip("xy", xy, strict=True)})


def as_channels_last(folder: Path, parts: Parts) -> None:
    arrays = {f"{p}_images": x.transpose(0, 2, 3, 1) for p, (x, _) in parts.items()}
    np.savez(folder / "a.npz", **arrays, **{f"{p}_labels": y[:, None] for p, (_, y) in parts.items()})


def as_parquet(folder: Path, parts: Parts, below: str = "plain_text", metadata: bool = False) -> None:
    (folder / below).mkdir(parents=True)
    for part, (x, y) in parts.items():
        cells = []
        for image in x:
            sink = io.BytesIO()
            pil(image).save(sink, "PNG")
            cells.append({"bytes": sink.getvalue(), "path": None})
        kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        table = pa.table({"image": pa.array(cells, kind), "label": pa.array(y)})
        if metadata:
            features = {"label": {"names": ["a", "b", "c", "never seen"], "_type": "ClassLabel"}}
            stated = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
            table = table.replace_schema_metadata(stated)
        pq.write_table(table, folder / below / f"{part}-00000-of-00001.parquet")


def load(path: Path, **stated: object) -> tuple[DatasetInfo, Part, Part]:
    info = OwnImages(path, **stated).info("own", Path("elsewhere"))  # type: ignore[arg-type]
    return info, *info.loader(info, Path("elsewhere"))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("write", [as_folders, as_arrays, as_channels_last, as_parquet])
def test_every_layout_gives_the_same_arrays(
    write: Callable[[Path, Parts], None], channels: int, tmp_path: Path
) -> None:
    expected = images(channels)
    write(tmp_path, expected)
    info, train, test = load(tmp_path.absolute())
    assert (info.num_classes, info.image_shape) == (3, (channels, 6, 5))
    assert (info.train_count, info.test_count) == (9, 6)
    for (x, y), part in ((train, "train"), (test, "test")):
        assert np.array_equal(x, expected[part][0]) and np.array_equal(y, expected[part][1])
        assert (x.dtype, y.dtype) == (np.uint8, np.int64)
        assert x.flags.c_contiguous


def test_a_photo_is_turned_as_the_camera_was_held(tmp_path: Path) -> None:
    (x, y) = images()["train"]
    for place, (image, label) in enumerate(zip(x, y, strict=True)):
        folder = tmp_path / f"{label}"
        folder.mkdir(exist_ok=True)
        # Two tags: the width as a text, which Pillow cannot write again, and "to be turned clockwise".
        tags = struct.pack("<H HHL4s HHLHH L", 2, 0x100, 2, 4, b"odd", 0x112, 3, 1, 6, 0, 0)
        exif = b"Exif\0\0II*\0" + struct.pack("<L", 8) + tags
        pil(image).rotate(90, expand=True).save(folder / f"{place}.png", exif=exif)
    info, (train, _), (test, _) = load(tmp_path.absolute())
    assert info.image_shape == (3, 6, 5)
    assert sorted(map(bytes, [*train, *test])) == sorted(map(bytes, x))


@pytest.mark.parametrize("write", [as_folders, as_arrays, as_parquet])
def test_a_stated_shape_scales_every_image(write: Callable[[Path, Parts], None], tmp_path: Path) -> None:
    write(tmp_path, images(3, (12, 24)))
    info, (x, _), _ = load(tmp_path.absolute(), image_shape=(1, 6, 6), num_classes=7)
    assert (info.num_classes, info.image_shape, x.shape) == (7, (1, 6, 6), (9, 1, 6, 6))
    assert len(np.unique(x)) > 20


def test_without_a_test_part_every_fifth_of_each_class_is_tested_on(tmp_path: Path) -> None:
    x, y = np.arange(40, dtype=np.uint8)[:, None, None] + np.zeros((1, 4, 4), np.uint8), np.arange(40) % 2
    np.savez(tmp_path / "x.npz", x=x, y=y)
    info, (train, _), (test, labels) = load(tmp_path.absolute() / "x.npz")
    assert (info.train_count, info.test_count, info.image_shape) == (32, 8, (1, 4, 4))
    assert np.bincount(labels).tolist() == [4, 4]
    assert not set(train[:, 0, 0, 0]) & set(test[:, 0, 0, 0])


def test_parquet_may_state_more_classes_than_it_shows(tmp_path: Path) -> None:
    as_parquet(tmp_path, images(), "data", metadata=True)
    assert load(tmp_path.absolute())[0].num_classes == 4


def test_shards_may_lie_where_the_hub_keeps_them_beside_other_parquet_files(tmp_path: Path) -> None:
    as_parquet(tmp_path, images(), "snapshots/0a1b/plain_text")
    pq.write_table(pa.table({"rows": [9]}), tmp_path / "snapshots/0a1b/plain_text/training_meta.parquet")
    pq.write_table(pa.table({"rows": [9]}), tmp_path / "train_meta.parquet")
    assert load(tmp_path.absolute())[0].train_count == 9


def different_sizes(folder: Path) -> None:
    as_folders(folder, images())
    pil(images(3, (9, 9))["train"][0][0]).save(folder / "train" / "class 2" / "z.png")


def one_in_colour(folder: Path) -> None:
    as_folders(folder, images(1))
    Image.new("RGB", (5, 6), "red").save(folder / "train" / "class 2" / "z.png")


def other_shape(folder: Path) -> None:
    parts = {"train": images(1)["train"], "test": images(3)["test"]}
    as_arrays(folder, parts)


def damaged_inside(folder: Path) -> None:
    np.savez_compressed(folder / "a.npz", x=np.arange(4000, dtype=np.uint8).reshape(-1, 4, 4), y=np.arange(250) % 2)
    content = bytearray((folder / "a.npz").read_bytes())
    content[100:140] = bytes(40)
    (folder / "a.npz").write_bytes(content)


def one_class(folder: Path) -> None:
    np.savez(folder / "a.npz", x=np.zeros((10, 4, 4), np.uint8), y=np.zeros(10, np.int64))


def floats(folder: Path) -> None:
    np.savez(folder / "a.npz", x=np.zeros((10, 4, 4)), y=np.arange(10))


def other_class(folder: Path) -> None:
    as_folders(folder, images())
    (folder / "test" / "dogs").mkdir()


def empty_class(folder: Path) -> None:
    as_folders(folder, images())
    (folder / "train" / "owls").mkdir()


def class_without_training_images(folder: Path) -> None:
    parts = images()
    parts["test"][1][-1] = 4
    as_arrays(folder, parts)


def damaged_description(folder: Path) -> None:
    as_parquet(folder, images())
    for shard in folder.glob("plain_text/*.parquet"):
        pq.write_table(pq.read_table(shard).replace_schema_metadata({b"huggingface": b"{"}), shard)


def no_rows(folder: Path) -> None:
    as_parquet(folder, {part: (x[:0], y[:0]) for part, (x, y) in images().items()})


def no_array(folder: Path) -> None:
    (folder / "a.npz").write_text("x")


def no_image(folder: Path) -> None:
    as_folders(folder, images())
    (folder / "train" / "class 0" / "000.png").write_bytes(b"text")


def deep(folder: Path) -> None:
    as_folders(folder, images(1))
    Image.fromarray(np.full((6, 5), 40_000, np.uint16)).save(folder / "train" / "class 0" / "000.png")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: None, "needs images of at least two classes; it should be a folder for each class"),
        (
            different_sizes,
            r"z\.png has 9x9 \w+ pixels, the first image 5x6 \w+ pixels: state the shape .* --dataset DIR@3x64x64",
        ),
        (one_class, "labels 0 to 0 of 1 classes: two and more are needed"),
        (floats, "x is float64 of shape .*; images are uint8"),
        (other_class, "has the folder dogs, which is no class of the training images"),
        (empty_class, "owls holds no image: fill or delete the folder"),
        (class_without_training_images, r"has 5 classes, of which 2 have no training image \(the first: 3\)"),
        (one_in_colour, r"z\.png has 5x6 colour pixels, the first image 5x6 grey pixels: state the shape"),
        (other_shape, r"holds training images of shape \(1, 6, 5\) and test images of shape \(3, 6, 5\)"),
        (damaged_inside, r"a\.npz is no file that numpy\.savez wrote"),
        (no_rows, "holds 0 labels"),
        (damaged_description, "has a damaged description of its columns"),
        (no_array, r"a\.npz is no file that numpy\.savez wrote"),
        (no_image, r"000\.png is no image that can be decoded"),
        (deep, r"000\.png has more than 8 bits a channel: convert it"),
    ],
)
def test_what_cannot_be_used_is_named(spoil: Callable[[Path], None], message: str, tmp_path: Path) -> None:
    spoil(tmp_path)
    with pytest.raises(DataError, match=message):
        load(tmp_path.absolute())
