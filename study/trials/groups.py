"""Which trials can be trained as one program."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Container, Iterable

from search_spaces import Planned

MOST = 64
"""Trials in a group at most. Our choice: by then memory traffic, not launches, bounds even small networks on a GPU."""

SHARED = (
    *("dataset", "model", "batch_size", "augmentation", "precision"),
    *("train_size", "val_size", "test_size"),
)
"""What the trials of one program have in common."""


def groups(
    work: Iterable[Planned],
    trained: Container[str],
    *,
    most: int,
    parts: int = 1,
    cost: Callable[[Planned], float] = lambda planned: 1.0,
) -> list[list[Planned]]:
    """The trials that can be trained together, at least two and at most `most` in each group.

    They agree in SHARED and differ in seeds, rates, momenta, weight decays, schedules and how long they train; the
    longest come first, so that those of one length end together. `trained` are those whose weights are stored. A kind
    is cut further where its share of the whole `cost` is more than one of `parts`, the GPUs, has to do.
    """
    kinds: dict[tuple[object, ...], list[Planned]] = {}
    for planned in work:
        trial = planned.trial
        plain = trial.optimizer == "sgd" and trial.adversarial_training == "none" and trial.parent is None
        if plain and trial.trial_id not in trained:
            kinds.setdefault(tuple(getattr(trial, name) for name in SHARED), []).append(planned)
    found: list[list[Planned]] = []
    everything = sum(cost(planned) for members in kinds.values() for planned in members)
    for members in kinds.values():
        members.sort(key=lambda planned: -planned.trial.epochs)  # stable: within a length in the order of the work
        share = math.ceil(parts * sum(map(cost, members)) / everything - 1e-9)
        count = max(1, -(-len(members) // most), min(share, len(members) // 2))
        bounds = [i * len(members) // count for i in range(count + 1)]
        cut = [members[start:end] for start, end in itertools.pairwise(bounds)]
        found += [group for group in cut if len(group) > 1]
    return found
