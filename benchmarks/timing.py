"""Paired timing of two ways to do the same work."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

LONG_PAIR = 30.0
"""Seconds; a pair that takes longer is not repeated."""


@dataclass(frozen=True)
class Paired:
    """Wall-clock seconds of both sides, in the order measured; entry i of both ran one right after the other."""

    ours: list[float]
    theirs: list[float]

    @property
    def pairs(self) -> int:
        """How many pairs were counted."""
        return len(self.ours)

    @property
    def ratios(self) -> list[float]:
        """theirs / ours of each pair; above 1, ours is faster."""
        return [theirs / ours for ours, theirs in zip(self.ours, self.theirs, strict=True)]

    def __str__(self) -> str:
        return (
            f"{median(self.ours):8.3f} {median(self.theirs):8.3f} {median(self.ratios):6.2f}"
            f" [{min(self.ratios):.2f}, {max(self.ratios):.2f}] {self.pairs:5d}"
        )


def paired(
    ours: Callable[[], object], theirs: Callable[[], object], *, budget: float = 4.0, max_pairs: int = 9
) -> Paired:
    """Time both sides in turn (ours, theirs, theirs, ours, ...) until `budget` seconds or `max_pairs`.

    Why paired: the speed of a machine drifts by tens of percent within minutes (clock frequency, heat, neighbours),
    so that two blocks timed one after the other, let alone two runs, differ by more than the sides do. Both halves
    of a pair meet nearly the same machine; the drift cancels in their ratio, and the median of the ratios forgives
    the pair that was hit in the middle. Who goes first changes from pair to pair, for the second may find warmer
    caches or a hotter core.

    The first pair warms caches and allocators and is not counted, and at least two more are, unless the first took
    LONG_PAIR seconds: then it is the only pair, which tells nothing of the spread.
    """
    started = time.perf_counter()
    warm_up = (seconds(ours), seconds(theirs))
    if sum(warm_up) >= LONG_PAIR:
        return Paired([warm_up[0]], [warm_up[1]])
    pairs: list[tuple[float, float]] = []
    while len(pairs) < 2 or (len(pairs) < max_pairs and time.perf_counter() - started < budget):
        if len(pairs) % 2:
            second, first = seconds(theirs), seconds(ours)
            pairs.append((first, second))
        else:
            pairs.append((seconds(ours), seconds(theirs)))
    return Paired([a for a, _ in pairs], [b for _, b in pairs])


def seconds(work: Callable[[], object]) -> float:
    """Wall-clock seconds of one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
