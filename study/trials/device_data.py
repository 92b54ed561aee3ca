"""The splits of a data set as tensors on the device that uses them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from search_spaces import Planned
from study.data import Splits

DataKey = tuple[str, int, int, int]
"""Data set, train, validation and test size. Trials with the same key share one copy of the data on a node."""


def data_key(planned: Planned) -> DataKey:
    """Which data a trial needs."""
    trial = planned.trial
    return trial.dataset, trial.train_size, trial.val_size, trial.test_size


@dataclass(frozen=True)
class DeviceData:
    """The splits of one data set on one device: uint8 images (N, C, H, W), int64 labels (N,); never changed."""

    train: tuple[Tensor, Tensor]
    validation: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]
    sha256: str

    @classmethod
    def of(cls, splits: Splits, sha256: str, device: torch.device | str = "cpu") -> DeviceData:
        """Arrays as tensors: on a CPU without a copy, on a GPU with one."""

        def moved(x: object, y: object) -> tuple[Tensor, Tensor]:
            return from_dlpack(x).to(device), from_dlpack(y).to(device)

        return cls(
            moved(splits.train_x, splits.train_y),
            moved(splits.val_x, splits.val_y),
            moved(splits.test_x, splits.test_y),
            sha256,
        )

    @property
    def device(self) -> torch.device:
        """Where training and probes run."""
        return self.train[0].device

    @property
    def device_name(self) -> str:
        """The device as rows name it: the GPU's model, or `cpu`."""
        return torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "cpu"
