"""Find a dataset in a data directory, in either of two layouts, or download it."""

from __future__ import annotations

import http.client
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from study.data.image_data import DataError, DatasetInfo, Part


class Layout(Protocol):
    """One way to store a dataset in a data directory."""

    @property
    def description(self) -> str:
        """A description of the files, for the error message when they are missing."""
        ...

    def missing(self, data_dir: Path) -> list[str]:
        """The files of this layout that the data directory lacks; empty when it is complete."""
        ...

    def read(self, data_dir: Path, info: DatasetInfo, verify: bool) -> tuple[Part, Part]:
        """The training and test parts of a complete layout; DataError if they are damaged."""
        ...


@dataclass(frozen=True)
class FromFiles:
    """A loader: reads the layout of the torchvision class of that name, else `shards`, else downloads the dataset."""

    torchvision_class: str
    published: Layout
    shards: Layout

    def __call__(self, info: DatasetInfo, data_dir: Path, verify: bool) -> tuple[Part, Part]:
        """The training and test parts from the first complete layout, else from a download. Raises `DataError`."""
        for layout in (self.published, self.shards):
            if not layout.missing(data_dir):
                return layout.read(data_dir, info, verify)
        download(self.torchvision_class, data_dir, advice=self.advice(info, data_dir))
        if lacking := self.published.missing(data_dir):
            raise DataError(f"The download of {info.name} left {', '.join(lacking)} missing in {data_dir}.")
        return self.published.read(data_dir, info, verify)

    def is_in(self, data_dir: Path) -> bool:
        """Whether the data directory has all files of one layout, so that nothing is downloaded."""
        return any(not layout.missing(data_dir) for layout in (self.published, self.shards))

    def advice(self, info: DatasetInfo, data_dir: Path) -> str:
        """Which files to put where, in each layout, without those already there."""
        choices = [
            f"{', '.join(layout.missing(data_dir))} ({layout.description})" for layout in (self.published, self.shards)
        ]
        return f"{info.name} is not in {data_dir}: put there {' or '.join(choices)}"


def download(torchvision_class: str, data_dir: Path, *, advice: str) -> None:
    """Let torchvision download a dataset into `data_dir`; `DataError` with `advice` if it cannot."""
    from torchvision import datasets

    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        getattr(datasets, torchvision_class)(root=str(data_dir), train=True, download=True)
    except (OSError, RuntimeError, EOFError, http.client.HTTPException, tarfile.TarError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{advice}. Downloading it failed: {reason}") from error
