"""Which trials can be trained as one program."""

from __future__ import annotations

from collections.abc import Container, Iterable

from search_spaces import Planned

MOST = 64
"""Networks in one program at most. Our choice: by then a GPU's memory traffic, not the launches, bounds the small ones."""


def groups(work: Iterable[Planned], trained: Container[str], *, most: int, parts: int = 1) -> list[list[Planned]]:
    """The trials that can be trained together, at least two and at most `most` in each group.

    They share what makes the program (data, architecture, batch size, augmentation, precision) and differ in seeds,
    rates, momenta, schedules and how long they train; the longest come first, so that those of one length end together.
    `trained` are those whose weights are stored. Where there are enough, each kind makes at least `parts` groups: one
    for each GPU.
    """
    kinds: dict[tuple[object, ...], list[Planned]] = {}
    for planned in work:
        trial = planned.trial
        plain = trial.optimizer == "sgd" and trial.adversarial_training == "none" and trial.parent is None
        if plain and trial.trial_id not in trained:
            sizes = (trial.train_size, trial.val_size, trial.test_size, trial.batch_size)
            kinds.setdefault((trial.dataset, trial.model, *sizes, trial.augmentation, trial.precision), []).append(
                planned
            )
    found: list[list[Planned]] = []
    for members in kinds.values():
        members.sort(key=lambda planned: -planned.trial.epochs)  # stable: the order of the work within a length
        count = min(max(-(-len(members) // most), parts), max(1, len(members) // 2))
        size = -(-len(members) // count)
        found += [part for start in range(0, len(members), size) if len(part := members[start : start + size]) > 1]
    return found
