"""Which trials share one copy of their arrays."""

from __future__ import annotations

from search_spaces import Planned

DataKey = tuple[str, int, int, int]
"""Data set, train, validation and test size: what the trials of a node share one copy of."""


def data_key(planned: Planned) -> DataKey:
    """Which shared arrays a trial needs."""
    trial = planned.trial
    return trial.dataset, trial.train_size, trial.val_size, trial.test_size
