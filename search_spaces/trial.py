"""A trial: everything that determines one network's trained weights."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

PRECISIONS = ("float32", "tf32", "bf16")
"""Of the arithmetic of training; weights and every probe are float32."""

_ID_LENGTH = 16
"""64 bits of SHA-256: a clash among a million trials has a chance of 3e-8."""


@dataclass(frozen=True)
class Trial:
    """One training run: frozen, flat and hashable.

    Its id is a hash of the required fields and of those that differ from their defaults, so a field that is
    added later (with today's behaviour as its default) orphans no stored result.

    `learning_rate` is the rate of the first epoch; `schedule` names how it changes. Sizes count images.
    `target_loss` stops training at the first epoch whose full-pass training loss is at most this value.
    `adversarial_training` names the attack that perturbs every minibatch, by `adversarial_epsilon` in units of
    pixels in [0, 1]. `parent` is the trial whose trained weights this one starts from, of the same seed.
    `precision`, one of PRECISIONS, is that of training's convolutions and matrix products.
    """

    dataset: str
    model: str
    learning_rate: float
    batch_size: int
    epochs: int
    train_size: int
    val_size: int
    test_size: int
    seed: int = 0
    optimizer: str = "sgd"
    schedule: str = "constant"
    momentum: float = 0.0
    weight_decay: float = 0.0
    target_loss: float | None = None
    augmentation: str = "none"
    adversarial_training: str = "none"
    adversarial_epsilon: float = 0.0
    parent: Trial | None = None
    precision: str = "float32"

    def __post_init__(self) -> None:
        """Give every number its declared type, so that 0 and 0.0 cannot become two trials.

        Raises:
            ValueError: a size, rate or count that no training run can have.
        """
        for name in ("learning_rate", "momentum", "weight_decay", "adversarial_epsilon"):
            object.__setattr__(self, name, float(getattr(self, name)))
        for name in ("batch_size", "epochs", "train_size", "val_size", "test_size", "seed"):
            value = getattr(self, name)
            if int(value) != value:
                raise ValueError(f"{name} must be a whole number, got {value!r}")
            object.__setattr__(self, name, int(value))
            if not 0 <= value < (2**63 if name == "seed" else 2**31):
                raise ValueError(f"{name} {value!r} is out of range")
        for name in ("learning_rate", "batch_size", "epochs", "train_size", "test_size"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)!r}")
        if (self.adversarial_training != "none") != (self.adversarial_epsilon > 0):
            raise ValueError("adversarial training needs an attack and an epsilon above 0, or neither")
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision {self.precision!r} is not one of {', '.join(PRECISIONS)}")
        if self.parent is not None:
            for name in ("dataset", "model", "seed"):
                if getattr(self.parent, name) != getattr(self, name):
                    raise ValueError(f"a trial has the {name} of its parent, got {getattr(self, name)!r}")

    @property
    def lr_bs_ratio(self) -> float:
        """Learning rate over batch size, the noise scale that the `lr_bs` regime holds constant."""
        return self.learning_rate / self.batch_size

    @cached_property
    def trial_id(self) -> str:
        """Sixteen hexadecimal digits, the same on every machine and for ever."""
        return _digest(_identity(self))

    @cached_property
    def cell_id(self) -> str:
        """The trial's id without its seed: trials of one cell are replicates of each other."""
        return _digest(_identity(self, without=("seed",)))

    @property
    def generation(self) -> int:
        """How many trials must be trained before this one."""
        return 0 if self.parent is None else 1 + self.parent.generation

    def with_seed(self, seed: int) -> Trial:
        """The same cell, another replicate; so is its parent."""
        parent = None if self.parent is None else self.parent.with_seed(seed)
        return replace(self, seed=seed, parent=parent)

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values, in their order; the parent as its trial id."""
        values = {name: getattr(self, name) for name in TRIAL_FIELDS}
        return values | {"parent": None if self.parent is None else self.parent.trial_id}


TRIAL_FIELDS = tuple(field.name for field in fields(Trial))
_REQUIRED = frozenset(
    (
        "dataset",
        "model",
        "learning_rate",
        "batch_size",
        "epochs",
        "train_size",
        "val_size",
        "test_size",
        "seed",
    )
)
_DEFAULTS = {field.name: field.default for field in fields(Trial)}


def _identity(trial: Trial, *, without: tuple[str, ...] = ()) -> dict[str, Any]:
    values = {name: getattr(trial, name) for name in TRIAL_FIELDS if name not in without}
    told = {name: value for name, value in values.items() if name in _REQUIRED or value != _DEFAULTS[name]}
    if trial.parent is not None:
        told["parent"] = _identity(trial.parent, without=without)
    return told


def _digest(identity: dict[str, Any]) -> str:
    canonical = json.dumps(identity, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:_ID_LENGTH]
