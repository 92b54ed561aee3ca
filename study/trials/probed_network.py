"""What a trained network is asked with, and what its answers are gathered in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt
from torch import Tensor, nn

from study.attacks.evaluate import CleanGradient

Split = tuple[Tensor, Tensor]
Entry = dict[str, Any]


@dataclass
class Asked:
    """A trained network in eval mode, the data it is asked about, and what several answers share."""

    model: nn.Module
    splits: Mapping[str, Split]
    seed: int
    parent: nn.Module | None = None
    clean: dict[tuple[str, str, str], CleanGradient] = field(default_factory=dict)
    directions: dict[int, Sequence[Tensor]] = field(default_factory=dict)

    def source(self, name: str) -> nn.Module:
        """The network whose weights make adversarial images.

        Raises:
            ValueError: the parent's are asked for and the trial has none.
        """
        if name == "self":
            return self.model
        if self.parent is None:
            raise ValueError("a probe asks for the parent's weights, but this trial has no parent")
        return self.parent


@dataclass
class Answers:
    """What the probes of one trial gave: entries of list columns, scalar columns, arrays beside the row."""

    lists: dict[str, list[Entry]] = field(default_factory=dict)
    columns: dict[str, float | int] = field(default_factory=dict)
    arrays: dict[str, npt.NDArray[Any]] = field(default_factory=dict)

    def add(self, column: str, entry: Entry) -> None:
        """One more entry of a list column."""
        self.lists.setdefault(column, []).append(entry)
