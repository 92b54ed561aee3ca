"""Find a dataset in a data directory, in either of two layouts, or download it."""

from __future__ import annotations

import http.client
import shutil
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from study.data.image_data import DataError, DatasetInfo, Part
from study.data.parquet_shards import ParquetShards
from study.data.published import PublishedFiles


@dataclass(frozen=True)
class FromFiles:
    """A loader: reads the layout of the torchvision class of that name, else `shards`, else downloads the dataset."""

    torchvision_class: str
    published: PublishedFiles
    shards: ParquetShards

    def __call__(self, info: DatasetInfo, data_dir: Path) -> tuple[Part, Part]:
        """The training and test parts from the first complete layout, else from a download. Raises `DataError`."""
        layout = self._layout_in(data_dir)
        if layout is None:
            layout = self.published
            download(self.torchvision_class, data_dir, list(layout.md5), advice=self.advice(info, data_dir))
        try:
            return layout.read(data_dir, info)
        except DataError as error:
            raise DataError(f"{error}. {layout.remedy}.") from error

    def is_in(self, data_dir: Path) -> bool:
        """Whether the data directory has all files of one layout, so that nothing is downloaded."""
        return self._layout_in(data_dir) is not None

    def _layout_in(self, data_dir: Path) -> PublishedFiles | ParquetShards | None:
        return next((layout for layout in (self.published, self.shards) if not layout.missing(data_dir)), None)

    def advice(self, info: DatasetInfo, data_dir: Path) -> str:
        """Which files to put where, in each layout, without those already there, and what lies under another name."""
        choices = [
            f"{', '.join(layout.missing(data_dir))} ({layout.description})" for layout in (self.published, self.shards)
        ]
        return f"{info.name} is not in {data_dir}: put there {' or '.join(choices)}{self.shards.seen(data_dir)}"


def download(torchvision_class: str, data_dir: Path, files: Sequence[str], *, advice: str) -> None:
    """Let torchvision download a dataset into `data_dir`; `DataError` with `advice` if it cannot.

    torchvision writes under the final names from the first byte. It therefore works in a temporary folder, where it
    compares checksums, and then the files are renamed: a download that is cut, or that two processes make at once,
    leaves no partial file.
    """
    from torchvision import datasets

    dataset = getattr(datasets, torchvision_class)
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".download-", dir=data_dir, ignore_cleanup_errors=True) as folder:
            archive = data_dir / getattr(dataset, "filename", "")
            if archive.is_file():  # the user put it there: it is unpacked, and downloaded only if it is damaged
                shutil.copy(archive, folder)
            dataset(root=folder, train=True, download=True)
            for name in files:
                if (Path(folder) / name).is_file():
                    (data_dir / name).parent.mkdir(parents=True, exist_ok=True)
                    (Path(folder) / name).replace(data_dir / name)
    except (OSError, RuntimeError, EOFError, http.client.HTTPException, tarfile.TarError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{advice}. Downloading it failed: {reason}") from error
    if lacking := [name for name in files if not (data_dir / name).is_file()]:
        raise DataError(f"{advice}. The download left {', '.join(lacking)} missing")
