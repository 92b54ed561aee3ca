"""Initial weights from an explicit generator.

torch's layers draw their initial weights from torch's global CPU stream when they are built and take no
generator. So the global stream is lent to the generator for as long as a model is being built: whatever the
constructor draws (torch's defaults, a family's own initialization, a layer that a user wrote) comes from the
generator, and is bit for bit what `torch.manual_seed` would have given.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def drawing_from(generator: torch.Generator) -> Iterator[None]:
    """Inside, torch's global CPU stream is the generator's; afterwards only the generator has moved.

    Raises ValueError unless the generator is on the CPU.
    """
    if generator.device.type != "cpu":
        raise ValueError(f"initial weights are drawn on the CPU: pass a CPU generator, not one on {generator.device}")
    with torch.random.fork_rng(devices=[]):
        torch.set_rng_state(generator.get_state())
        yield
        generator.set_state(torch.get_rng_state())
