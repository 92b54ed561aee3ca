"""Settings of torch's arithmetic that apply to a whole process, each for the duration of a `with` block or a function.

Every public entry point that promises float32 computes under `full_precision`, so callers need to set no global flag.
`study.training`, `study.attacks` and `study.curvature`, which do not import each other, share this module.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import backends

Value = TypeVar("Value")

_SETTINGS = (
    backends.cuda.matmul,
    backends.cudnn.conv,  # type: ignore[attr-defined]
    backends.cudnn.rnn,
    backends.mkldnn.matmul,  # type: ignore[attr-defined]
    backends.mkldnn.conv,  # type: ignore[attr-defined]
)
"""What has a `fp32_precision`: "ieee", "tf32", "bf16", or "none", which stands for a more general setting."""


@contextmanager
def full_precision() -> Iterator[None]:
    """Within it, float32 convolutions and matrix products use float32 arithmetic: neither TF32 nor bfloat16."""
    with _fp32_precision("ieee"):
        yield


@contextmanager
def tf32() -> Iterator[None]:
    """Within it, float32 convolutions and matrix products use TF32 on GPUs that have it."""
    with _fp32_precision("tf32"):
        yield


@contextmanager
def one_thread() -> Iterator[None]:
    """Within it, torch uses one thread on a CPU: several that wait for each other on a busy machine take far longer."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def _fp32_precision(precision: str) -> Iterator[None]:
    """Set every backend and both of torch's interfaces, which do not follow each other.

    On a GPU, torch refuses a matrix product when they disagree. Setting the older one changes the newer one's values,
    so it comes first.
    """
    # Reading the older interface fails where the newer one alone was used; then it still has torch's defaults.
    before = (
        _or_default(torch.get_float32_matmul_precision, "highest"),
        _or_default(lambda: bool(backends.cudnn.allow_tf32), True),
        [setting.fp32_precision for setting in _SETTINGS],
    )
    lower = precision == "tf32"
    wanted = ("high" if lower else "highest", lower, [precision] * len(_SETTINGS))
    if before == wanted:
        yield
        return
    _set(*wanted)
    try:
        yield
    finally:
        _set(*before)


def _or_default(read: Callable[[], Value], default: Value) -> Value:
    try:
        return read()
    except RuntimeError:
        return default


def _set(matmul: str, cudnn: bool, values: list[str]) -> None:
    torch.set_float32_matmul_precision(matmul)
    backends.cudnn.allow_tf32 = cudnn
    for setting, value in zip(_SETTINGS, values, strict=True):
        setting.fp32_precision = value
