"""A worker before its trial."""

import pytest
import torch

from study.trainable import set_up_torch


def test_torch_is_given_the_trials_cpus_and_no_shortened_floats(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    set_up_torch(3)
    assert threads == [3]
    assert not torch.backends.cudnn.allow_tf32
