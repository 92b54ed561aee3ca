"""What fraction of a GPU each trial gets, and how many trials run at once."""

from __future__ import annotations

import math
from collections.abc import Mapping

from study.tuning.cluster import SMALLEST_SHARE, Capacity
from study.tuning.settings import RunSettings

DEFAULT_SHARE = 0.25
"""Of a GPU, where `--gpus-per-trial` is left open. Our choice: small networks leave most of a GPU idle. A trial that
runs out of memory runs again with twice its share."""


def fraction(k: int) -> float:
    """1 / k, rounded down to Ray's resolution, so that k of them never exceed a GPU."""
    steps = round(1 / SMALLEST_SHARE)
    return math.floor(steps / k) / steps


def larger_share(share: float) -> float:
    """The share to try after one was too small: 1 / k again, and at least twice as large."""
    return fraction(max(1, int(1 / min(1.0, 2 * share) + 1e-3)))


def slots(capacity: Capacity, settings: RunSettings) -> int:
    """Trials that run at once on the nodes that are up, at most: what runs out of memory gets more than its share."""
    cpus, share = settings.cpus_per_trial, settings.gpus_per_trial
    share = DEFAULT_SHARE if share is None else share
    on_gpu = math.floor(1 / share + 1e-9) if share else None

    def of_node(node: Mapping[str, float]) -> int:
        by_cpus = int(node.get("CPU", 0) // cpus)
        return by_cpus if on_gpu is None else min(by_cpus, int(node.get("GPU", 0)) * on_gpu)

    there = sum(map(of_node, capacity.nodes))
    return min(there, settings.max_concurrent or there)
