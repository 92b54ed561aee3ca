"""A data set's splits as tensors on the device where they are used, and which trials share one copy of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from search_spaces import Planned

DataKey = tuple[str, int, int, int]
"""Data set, train, validation and test size: what the trials of a node share one copy of."""


def data_key(planned: Planned) -> DataKey:
    """Which shared arrays a trial needs."""
    trial = planned.trial
    return trial.dataset, trial.train_size, trial.val_size, trial.test_size


@dataclass(frozen=True)
class Tensors:
    """The splits of one data set on one device: uint8 images (N, C, H, W), int64 labels (N,); never changed."""

    train: tuple[Tensor, Tensor]
    validation: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]
    sha256: str

    @property
    def device(self) -> torch.device:
        """Where training and probes run."""
        return self.train[0].device

    @property
    def device_name(self) -> str:
        """The device as rows name it: a GPU's model, or `cpu`."""
        return torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "cpu"
