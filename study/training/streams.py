"""Independent, named streams of random numbers from one seed.

A stream is named by its purpose and its place in the trial, e.g. `("order", epoch)`. Its numbers do not depend on which
streams were used before or how often the trial was interrupted, so checkpoints store no generator state.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch


def generator(seed: int, *name: object, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator, on `device` whose numbers depend on `seed` and `name` only."""
    return restart(torch.Generator(device), seed, *name)


def restart(stream: torch.Generator, seed: int, *name: object) -> torch.Generator:
    """Set a generator, wherever it is in use, to the beginning of the named stream; returns it."""
    digest = hashlib.sha256("/".join(map(str, (seed, *name))).encode()).digest()
    return stream.manual_seed(int.from_bytes(digest[:8], "big") >> 1)


@contextmanager
def own_global_generators(device: torch.device) -> Iterator[Sequence[torch.Generator]]:
    """torch's global generators of the CPU and of a GPU, to be used as streams; afterwards they are as before.

    Layers such as `nn.Dropout`, `nn.RReLU` and torchvision's `StochasticDepth` draw from them and accept no other.
    """
    generators, devices = [torch.default_generator], []
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        generators, devices = [*generators, torch.cuda.default_generators[index]], [index]
    with torch.random.fork_rng(devices):
        yield generators
