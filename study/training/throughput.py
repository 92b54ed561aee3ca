"""How many networks to train as one program: as many as still pay, by measured throughput."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch

from study.models import set_dropout_generator
from study.training.batched import Program
from study.training.cuda_graph import WARM_UP
from study.training.gpu_memory import out_of_gpu_memory, release
from study.training.loop import Run, minibatches

GAIN = 1.1
"""Twice as many networks must be trained in at most 2 / 1.1 of the time."""

MEASURED_SECONDS = 0.3


def best_count(most: int, throughput: Callable[[int], float]) -> int:
    """The number of networks, a power of two or `most`, up to which each doubling of them pays.

    Args:
        most: how many there are.
        throughput: steps of one network a second, of so many trained together; 0 where they do not fit.
    """
    if most < 2:
        return 1
    best, reached = 1, throughput(1)
    while best < most:
        count = min(2 * best, most)
        found = throughput(count)
        if found < GAIN * reached:
            break
        best, reached = count, found
    return best


def throughput(runs: Sequence[Run], train: tuple[torch.Tensor, torch.Tensor]) -> float:
    """Steps of one network a second while `runs`, which are changed, train as one program; 0 if they do not fit."""
    device = train[0].device
    release()
    try:
        program = Program(runs, set_dropout_generator, device)
        images, labels = next(minibatches(runs[0].recipe, train, 0))
        together = images.expand(len(runs), *images.shape).contiguous(), labels.expand(len(runs), -1).contiguous()
        for _ in range(WARM_UP + 2):  # recorded and proved by then
            program.step(*together)
        wait(device)
        started, steps = time.perf_counter(), 0
        while (seconds := time.perf_counter() - started) < MEASURED_SECONDS:
            program.step(*together)
            wait(device)
            steps += 1
    except Exception as error:
        if not out_of_gpu_memory(error):
            raise
        return 0.0
    return len(runs) * steps / seconds


def wait(device: torch.device) -> None:
    """Return when the device has done what it was asked."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
