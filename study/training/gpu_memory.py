"""A trial that asked for more memory than its share of a GPU gave it."""

from __future__ import annotations

import gc

import torch

SIGNS = ("CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")
"""What CUDA and its libraries say where torch does not raise its own error."""


class OutOfGpuMemory(Exception):  # noqa: N818  (as torch's, which it stands for)
    """Raised in a worker so that its trial is tried again with a larger share."""


def out_of_gpu_memory(error: BaseException) -> bool:
    """Whether an error says that a GPU's memory is full."""
    return isinstance(error, torch.OutOfMemoryError) or any(sign in str(error) for sign in SIGNS)


def release() -> None:
    """Give back the GPU memory of what nobody refers to any more, such as the frames of an error that was handled."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def too_large(error: BaseException) -> str:
    """The reason of a trial that a whole GPU cannot hold, in one line."""
    said = (str(error).strip().splitlines() or [""])[0][:200]
    return f"out of GPU memory with a whole GPU: run it on a GPU with more, or on CPUs (--gpus-per-trial 0): {said}"
