"""Initial weights from an explicit generator.

torch's layers draw their initial weights from torch's global CPU generator and accept no other. So while a model is
built, the global generator has the state of the given one. Everything that the constructor draws (torch's defaults, a
model's own initialization, a user's layer) then comes from the given generator, bit for bit as after
`torch.manual_seed`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def drawing_from(generator: torch.Generator) -> Iterator[None]:
    """Within it, torch's global CPU generator is `generator`; afterwards only `generator` has advanced.

    Raises:
        ValueError: the generator is not on the CPU.
    """
    if generator.device.type != "cpu":
        raise ValueError(f"initial weights are drawn on the CPU: pass a CPU generator, not one on {generator.device}")
    with torch.random.fork_rng(devices=[]):
        torch.set_rng_state(generator.get_state())
        yield
        generator.set_state(torch.get_rng_state())
