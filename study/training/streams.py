"""From one seed to independent, named streams of random numbers.

A stream is named by what it is for and where in the trial it is used, e.g. `("order", epoch)`. So it does not matter
which stream is opened first or how often a trial was interrupted: no generator's state needs to be stored.
"""

from __future__ import annotations

import hashlib

import torch


def generator(seed: int, *name: object, device: torch.device | None = None) -> torch.Generator:
    """A generator that depends on `seed` and `name` only, on `device` (default: the CPU)."""
    return restart(torch.Generator(device=device) if device is not None else torch.Generator(), seed, *name)


def restart(stream: torch.Generator, seed: int, *name: object) -> torch.Generator:
    """The same generator object, at the beginning of another stream; who holds it draws from that."""
    digest = hashlib.sha256("/".join(map(str, (seed, *name))).encode()).digest()
    return stream.manual_seed(int.from_bytes(digest[:8], "big") >> 1)
