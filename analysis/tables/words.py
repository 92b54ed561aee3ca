"""What identifiers and settings in rows are called in text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from search_spaces import PLAIN, REGIME_NAMES, TRIAL_FIELDS

OPTIMIZER_NAMES: dict[str, str] = TRIAL_FIELDS["optimizer"].metadata["names"]

NAMES: dict[str, str] = {
    "mnist": "MNIST",
    "fashion-mnist": "Fashion-MNIST",
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "digits": "Digits",
    "digits_8x8": "Digits 8×8",
    "mlp_256": "MLP",
    "m1": "M1",
    "m1_8": "M1 (8-8)",
    "m1_20": "M1 (20-20)",
    "stdcnn": "StdCNN",
    "c1": "C1",
    "c2": "C2",
    "c3": "C3",
    "m1_lenet": "M1 (LeNet)",
    "resnet20": "ResNet20",
    "resnet20_x4": "ResNet20 (width 4)",
    "vgg11": "VGG11",
    "resnet18": "ResNet18",
    "fgsm": "FGSM",
    "pgd": "PGD",
    "apgd_ce": "auto-PGD",
    "apgd_t": "targeted auto-PGD",
    "worst": "all attacks",
    "fgsm10": "FGSM10",
    "l2grad": "L2GRAD",
    "fhsm": "FHSM",
    "l2hess": "L2HESS",
    "ce": "published loss",
    "stable": "stable loss",
    "dlr": "DLR loss",
    "any_loss": "any loss",
}
"""Data set, model, attack or loss in rows -> its name in text; one that is not here is written as it is."""


def name(identifier: str) -> str:
    """The name of a data set, model, attack or loss as the papers write it, with the settings that follow it."""
    known, bracket, settings = identifier.partition(" (")
    return NAMES.get(known, known) + bracket + settings


def network_name(dataset: object, model: object) -> str:
    """Data set and model: "MNIST · M1 (20-20)"."""
    return f"{name(str(dataset))} · {name(str(model))}"


def curve_name(regime: object, momentum: Any) -> str:
    """A curve of one data set and model: "LR constant, momentum 0.9"."""
    return f"{REGIME_NAMES.get(str(regime), regime)}, momentum {momentum:g}"


def listed(parts: Sequence[str]) -> str:
    """Several things in a sentence: "a, b and c"."""
    return " and ".join(filter(None, (", ".join(parts[:-1]), *parts[-1:])))


def label(field: str) -> str:
    """What a trial's field is called: "training images"."""
    return str(TRIAL_FIELDS[field].metadata["label"])


def value_text(value: Any) -> str:
    """A setting's value: "1,000", "0.01", "none"; text as it is, "?" for NaN."""
    if isinstance(value, str):
        return value
    if value is None:
        return "none"
    if pd.isna(value):
        return "?"
    return f"{value:,.6g}" if value < 1 or value != int(value) else f"{int(value):,}"


def said(field: str, value: Any) -> str:
    """How a network was trained, by one field: "FGSM training", "random flips", "weight decay 0.01", "5 epochs"."""
    about = TRIAL_FIELDS[field].metadata
    if value in about["names"]:
        return str(about["names"][value])
    words = str(about["phrase"].format(name(value) if isinstance(value, str) else value_text(value)))
    return words.removesuffix("s") if value == 1 else words


def departures(values: Mapping[str, Any], fields: Iterable[str]) -> list[str]:
    """The settings among `fields` that are not plain, in words: ["SVRG", "weight decay 0.01"]."""
    told = [name for name in fields if name in PLAIN and TRIAL_FIELDS[name].metadata["phrase"] is not None]
    return [said(name, values[name]) for name in told if not pd.isna(values[name]) and values[name] != PLAIN[name]]


def departs(ours: Mapping[Any, Any], paper: Mapping[str, Any], fields: Iterable[str]) -> list[str]:
    """How settings differ from a paper's: ["1,000 instead of 60,000 training images"]; None and NaN are equal."""
    values = {field: [None if pd.isna(of[field]) else of[field] for of in (ours, paper)] for field in fields}
    return [
        f"{value_text(own)} instead of {value_text(its)} {label(field)}"
        for field, (own, its) in values.items()
        if own != its
    ]


def phrase(text: str) -> str:
    """Text with the identifiers in it written as the papers do: "lr_bs against lr" is "LR/BS against LR"."""
    if text in REGIME_NAMES:
        return REGIME_NAMES[text]
    return re.sub(r"[^\s,;:]+", lambda found: _WORDS.get(found[0], found[0]), text)


_WORDS = {
    **NAMES,
    **OPTIMIZER_NAMES,
    "lambda1": "λ₁",
    "lambda1_x": "λ₁ of the input Hessian",
    "grad_x_norm": "the norm of the input gradient",
    "lr": "LR",
    "lr_bs": "LR/BS",
    "lr_0.1": "LR 0.1",
    "lr_0.0005": "LR 0.0005",
    "step": "LR in steps",
    "step_0.1": "LR 0.1 in steps",
}
