"""Independent, named streams of random numbers from one seed.

A stream is named by its purpose and its place in the trial, e.g. `("order", epoch)`. Its numbers do not depend on which
streams were used before or how often the trial was interrupted, so checkpoints store no generator state.
"""

from __future__ import annotations

import hashlib

import torch


def generator(seed: int, *name: object, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator, on `device` whose numbers depend on `seed` and `name` only."""
    return restart(torch.Generator(device), seed, *name)


def restart(stream: torch.Generator, seed: int, *name: object) -> torch.Generator:
    """Set a generator, wherever it is in use, to the beginning of the named stream; returns it."""
    digest = hashlib.sha256("/".join(map(str, (seed, *name))).encode()).digest()
    return stream.manual_seed(int.from_bytes(digest[:8], "big") >> 1)
