"""A trial: everything that determines one network's trained weights."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from functools import cached_property
from typing import Any, Literal

PRECISIONS = ("float32", "tf32", "bf16")
"""Number formats of training's convolutions and matrix products."""

_ID_LENGTH = 16
"""Hexadecimal digits of an id. With 64 bits, two of a million trials share one with probability 3e-8."""


def _about(
    label: str,
    description: str,
    *,
    unit: str = "",
    role: Literal["setting", "protocol"] | None = None,
    phrase: str | None = "",
    names: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The metadata of a field: the only place that says what it is called and what it means.

    Args:
        label: the field in text: "training images".
        description: its meaning, for column metadata and `docs/columns.md`.
        unit: of its numbers.
        role: "setting" and "protocol" fields are constant along a curve. Trials of different protocols share neither a
            panel's axes nor a statistical test; settings are what a study may compare.
        phrase: how text states a value, `{}`; by default label and value. None: text states it with another field.
        names: words for single values, in place of the phrase.
    """
    return {
        "label": label,
        "description": description,
        "unit": unit,
        "role": role,
        "phrase": f"{label} {{}}" if phrase == "" else phrase,
        "names": names or {},
    }


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One training run: frozen, flat and hashable.

    A field's default is what was done before the field existed; reports do not mention it. The id is a hash of the
    required fields and of those that differ from their defaults, so a field that is added later orphans no stored
    result.
    """

    dataset: str = field(metadata=_about("data set", "data set", role="setting"))
    model: str = field(metadata=_about("model", "network architecture", role="setting"))
    optimizer: str = field(
        default="sgd",
        metadata=_about(
            "optimizer",
            "rule that updates the weights",
            role="setting",
            names={
                "sgd": "SGD",
                "svrg": "SVRG",
                "msgd": "noisy SGD",
                "selective_backprop": "selective backprop",
                "adam": "Adam",
                "adamw": "AdamW",
            },
        ),
    )
    adversarial_training: str = field(
        default="none",
        metadata=_about(
            "adversarial training",
            "attack that perturbs every minibatch of training; none: natural training",
            role="setting",
            phrase="{} training",
        ),
    )
    adversarial_epsilon: float = field(
        default=0.0,
        metadata=_about(
            "adversarial epsilon",
            "strength of the attack in adversarial training",
            unit="pixels in [0, 1]",
            role="setting",
            phrase=None,
        ),
    )
    weight_decay: float = field(
        default=0.0, metadata=_about("weight decay", "coefficient of weight decay", role="setting")
    )
    momentum: float = field(default=0.0, metadata=_about("momentum", "momentum of SGD"))
    learning_rate: float = field(metadata=_about("learning rate", "learning rate of the first epoch"))
    schedule: str = field(
        default="constant", metadata=_about("schedule", "how the learning rate changes from epoch to epoch")
    )
    batch_size: int = field(metadata=_about("batch size", "images in a minibatch", unit="images"))
    epochs: int = field(metadata=_about("epochs", "epochs planned", role="protocol", phrase="{} epochs"))
    target_loss: float | None = field(
        default=None,
        metadata=_about(
            "target loss",
            "training stops after the first epoch with at most this loss on the whole training set; null: none",
            unit="nats",
            role="protocol",
            phrase="until training loss ≤ {}",
        ),
    )
    train_size: int = field(
        metadata=_about(
            "training images", "images trained on", unit="images", role="protocol", phrase="{} training images"
        )
    )
    val_size: int = field(
        metadata=_about(
            "validation images",
            "images held out of training to follow its progress",
            unit="images",
            role="protocol",
            phrase="{} validation images",
        )
    )
    test_size: int = field(
        metadata=_about("test images", "images tested on", unit="images", role="protocol", phrase="{} test images")
    )
    augmentation: str = field(
        default="none",
        metadata=_about(
            "augmentation",
            "random changes of the training images",
            role="protocol",
            names={"none": "no augmentation", "flip": "random flips", "crop_flip": "random crops and flips"},
        ),
    )
    precision: str = field(
        default="float32",
        metadata=_about(
            "precision",
            "number format of training's convolutions and matrix products; weights and probes are float32",
            role="protocol",
            phrase="trained in {}",
        ),
    )
    parent: Trial | None = field(
        default=None,
        metadata=_about("parent", "trial_id of the network whose trained weights training starts from; null: none"),
    )
    seed: int = field(
        default=0, metadata=_about("seed", "seed of everything random; a parent and its child have the same")
    )

    def __post_init__(self) -> None:
        """Give every number its declared type, so that 0 and 0.0 cannot become two trials.

        Raises:
            ValueError: a size, rate or count that no training run can have.
        """
        for name, declared in TRIAL_FIELDS.items():
            value = getattr(self, name)
            if declared.type == "float" or (declared.type == "float | None" and value is not None):
                object.__setattr__(self, name, float(value))
                if not (math.isfinite(value) and value >= 0):
                    raise ValueError(f"{name} must be finite and not negative, got {value!r}")
            elif declared.type == "int":
                if int(value) != value:
                    raise ValueError(f"{name} must be a whole number, got {value!r}")
                object.__setattr__(self, name, int(value))
                if not 0 <= value < (2**63 if name == "seed" else 2**31):
                    raise ValueError(f"{name} {value!r} is out of range")
        for name in ("learning_rate", "batch_size", "epochs", "target_loss", "train_size", "test_size"):
            if getattr(self, name) == 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)!r}")
        if self.adversarial_epsilon > 1:
            raise ValueError(f"adversarial_epsilon must be in [0, 1], got {self.adversarial_epsilon!r} (8/255, not 8)")
        if (self.adversarial_training != "none") != (self.adversarial_epsilon > 0):
            raise ValueError("adversarial training needs an attack and an epsilon above 0, or neither")
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision {self.precision!r} is not one of {', '.join(PRECISIONS)}")
        if self.parent is not None:
            for name in ("dataset", "model", "seed"):
                if getattr(self.parent, name) != getattr(self, name):
                    raise ValueError(f"{name} must equal the parent's, got {getattr(self, name)!r}")

    @property
    def lr_bs_ratio(self) -> float:
        """Learning rate over batch size, the noise scale that the `lr_bs` regime holds constant."""
        return self.learning_rate / self.batch_size

    @cached_property
    def trial_id(self) -> str:
        """Sixteen hexadecimal digits, the same on every machine and in every version."""
        return _digest(_identity(self))

    @cached_property
    def cell_id(self) -> str:
        """The trial's id without its seed: trials of one cell are replicates of each other."""
        return _digest(_identity(self, without="seed"))

    @property
    def generation(self) -> int:
        """How many trials must be trained before this one."""
        return 0 if self.parent is None else 1 + self.parent.generation

    def with_seed(self, seed: int) -> Trial:
        """The same cell with another seed, and so its parent."""
        parent = None if self.parent is None else self.parent.with_seed(seed)
        return replace(self, seed=seed, parent=parent)

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values, in their order; the parent as its trial id."""
        values = {name: getattr(self, name) for name in TRIAL_FIELDS}
        return values | {"parent": None if self.parent is None else self.parent.trial_id}


TRIAL_FIELDS: dict[str, Field[Any]] = {declared.name: declared for declared in fields(Trial)}
"""Name -> field; its `metadata` is that of `_about`."""

PLAIN: dict[str, Any] = {n: f.default for n, f in TRIAL_FIELDS.items() if f.default is not MISSING and n != "seed"}
"""Field -> the value that text does not mention."""


def fields_with_role(role: str) -> tuple[str, ...]:
    """The names of the fields with this role, in their order."""
    return tuple(name for name, declared in TRIAL_FIELDS.items() if declared.metadata["role"] == role)


def _identity(trial: Trial, *, without: str = "") -> dict[str, Any]:
    values = {name: getattr(trial, name) for name in TRIAL_FIELDS if name != without}
    identity = {n: value for n, value in values.items() if n not in PLAIN or value != PLAIN[n]}
    if trial.parent is not None:
        identity["parent"] = _identity(trial.parent, without=without)
    return identity


def _digest(identity: dict[str, Any]) -> str:
    canonical = json.dumps(identity, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:_ID_LENGTH]
