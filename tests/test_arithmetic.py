"""Settings of torch's arithmetic hold within a block, whoever set them how before, and are restored."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import backends

from study import arithmetic
from study.arithmetic import full_precision, tf32


def settings() -> tuple[object, ...]:
    """What torch says of its settings; its older interface refuses to answer where only the newer one was used."""

    def older(read: Callable[[], object]) -> object:
        try:
            return read()
        except RuntimeError:
            return "refused"

    newer = [setting.fp32_precision for setting in arithmetic._SETTINGS]
    cuda = older(lambda: backends.cuda.matmul.allow_tf32)
    return *newer, older(torch.get_float32_matmul_precision), older(lambda: backends.cudnn.allow_tf32), cuda


EXACT = (*["ieee"] * 5, "highest", False, False)
FASTER = (*["tf32"] * 5, "high", True, True)


def as_torch_begins() -> None:
    pass


def older_interface() -> None:
    torch.set_float32_matmul_precision("medium")
    backends.cudnn.allow_tf32 = False


def newer_interface() -> None:
    backends.cuda.matmul.fp32_precision = "tf32"
    backends.cudnn.conv.fp32_precision = "ieee"


def one_setting_for_all() -> None:
    backends.fp32_precision = "tf32"


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    before = [setting.fp32_precision for setting in arithmetic._SETTINGS]
    yield
    backends.fp32_precision = "none"
    arithmetic._set("highest", True, before)


@pytest.mark.parametrize("prepare", [as_torch_begins, older_interface, newer_interface, one_setting_for_all])
def test_precision_is_what_the_block_says_and_is_restored(prepare: Callable[[], None]) -> None:
    prepare()
    before = settings()
    with full_precision():
        assert settings() == EXACT
    with tf32():
        assert settings() == FASTER
        with pytest.raises(ZeroDivisionError), full_precision(), full_precision():
            assert settings() == EXACT
            raise ZeroDivisionError
        assert settings() == FASTER
    assert settings() == before
