"""Running out of GPU memory: recognizing it, freeing memory, and what is said of it."""

from __future__ import annotations

import gc
import traceback

import torch

MESSAGES = (
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUSOLVER_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
    "unable to find an engine to execute this computation",
)
"""What CUDA and its libraries say where torch does not raise `torch.OutOfMemoryError`. The last is torch's, of a
convolution: it tries cuDNN's kernels and passes over those whose workspace does not fit."""


def out_of_gpu_memory(error: BaseException) -> bool:
    """Whether an error says that a GPU's memory is full."""
    return isinstance(error, torch.OutOfMemoryError) or any(message in str(error) for message in MESSAGES)


def release() -> None:
    """Free the GPU memory of unreachable objects, such as the frames of an error that was handled."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def forget(error: BaseException) -> None:
    """Free what the frames of a handled error hold, so that the error can be kept: it can still be printed."""
    cause: BaseException | None = error
    while cause is not None:
        traceback.clear_frames(cause.__traceback__)
        cause = cause.__context__
    if out_of_gpu_memory(error):
        release()


def too_large(error: BaseException) -> str:
    """The reason, in one line, for the failure of a trial that does not fit on a whole GPU."""
    message = (str(error).strip().splitlines() or [""])[0][:200]
    return f"out of GPU memory with a whole GPU: run it on a GPU with more, or on CPUs (--gpus-per-trial 0): {message}"
