"""A worker before its trial."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch

from study.tuning.trainable import SIGN_SECONDS, reporter, set_up_torch


def test_torch_is_given_the_trials_cpus_and_no_shortened_floats(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    set_up_torch(3)
    assert threads == [3]
    assert not torch.backends.cudnn.allow_tf32


def test_every_epoch_is_told_and_of_probes_a_sign_of_life_now_and_then() -> None:
    told: list[Mapping[str, Any]] = []
    seconds = 0.0
    report = reporter(told.append, lambda: seconds)
    report({"epoch": 1})
    report({"probes_answered": 1})
    seconds = SIGN_SECONDS
    report({"probes_answered": 2})
    report({"probes_answered": 3})
    assert told == [{"epoch": 1}, {"probes_answered": 2}]
