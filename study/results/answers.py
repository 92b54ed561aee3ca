"""What a row answers: the probe behind each entry, and the headline columns that follow from the entries."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Literal

from search_spaces import (
    HEADLINE_ATTACKS,
    PGD_STEPS,
    AttackProbe,
    InputCurvatureProbe,
    InputHessianProbe,
    LandscapeProbe,
    MinimalEpsilonProbe,
    Probe,
    SharpnessProbe,
    SpectrumProbe,
    headline_epsilon,
)
from study.results.schema import Row

SPLITS: tuple[Literal["train", "test"], ...] = ("train", "test")

LOSS_SUFFIXES = {"ce": "", "stable": "_stable"}
"""Loss -> end of the name of its headline columns."""

ENTRIES = {
    "attacks": ("attack", "epsilon", "loss", "split", "source", "steps"),
    "spectra": ("split", "subset_size", "eigenvalues", "tolerance", "draw", "method"),
    "landscapes": ("kind", "split", "subset_size", "hessian_size"),
    "sharpness": ("measure", "subset_size", "split", "radius"),
}
"""Column of a row -> the fields of its entries that tell which probe an entry answers."""


def answered(row: Row) -> frozenset[tuple[object, ...]]:
    """The keys of the probes that a row answers."""
    return frozenset(probe.key for probe in answered_probes(row))


def answered_probes(row: Row) -> frozenset[Probe]:
    """The probes that a row answers, read from its columns."""
    found: set[Probe] = {read(entry) for column, read in READERS.items() for entry in row.get(column) or ()}
    found |= {InputCurvatureProbe(split) for split in SPLITS if row.get(f"lambda1_x_{split}") is not None}
    if row.get("psd_violation") is not None:
        found.add(InputHessianProbe())
    if row.get("minimal_epsilon_area") is not None:
        found.add(MinimalEpsilonProbe())
    return frozenset(found)


def _attack(entry: Row) -> AttackProbe:
    probe = AttackProbe(entry["attack"], entry["epsilon"], entry["loss"], entry["split"], entry["source"])
    return replace(probe, steps=entry["steps"]) if probe.attack == "pgd" else probe


def _spectrum(entry: Row) -> SpectrumProbe:
    count = len(entry["eigenvalues"])
    return SpectrumProbe(entry["split"], entry["subset_size"], count, entry["tolerance"], entry["draw"])


def _landscape(entry: Row) -> LandscapeProbe:
    return LandscapeProbe(entry["kind"], entry["split"], entry["subset_size"], hessian_size=entry["hessian_size"])


def _sharpness(entry: Row) -> SharpnessProbe:
    return SharpnessProbe(**{name: entry[name] for name in ENTRIES["sharpness"]})


READERS: Mapping[str, Callable[[Row], Probe]] = {
    "attacks": _attack,
    "spectra": _spectrum,
    "landscapes": _landscape,
    "sharpness": _sharpness,
}
"""Column of entries -> the probe that an entry answers."""


def headline(row: Row) -> dict[str, float | None]:
    """The headline columns from a row's attacks and spectra, at the headline epsilon among its attacks.

    None: not attacked so at this epsilon, but perhaps at another.
    Of PGD with several numbers of steps the published one counts, else the largest.
    """
    own = [a for a in row["attacks"] or () if a["split"] == "test" and a["source"] == "self"]
    attacks = [attack for attack in own if attack["attack"] in HEADLINE_ATTACKS and attack["loss"] in LOSS_SUFFIXES]
    epsilon = headline_epsilon(row["dataset"], (attack["epsilon"] for attack in attacks))
    columns: dict[str, float | None] = {}
    if epsilon is not None:
        names = [f"{attack}_acc{suffix}" for attack in HEADLINE_ATTACKS for suffix in LOSS_SUFFIXES.values()]
        columns = dict.fromkeys(names) | {"headline_epsilon": epsilon}
    for attack in sorted(attacks, key=lambda attack: (attack["steps"] == PGD_STEPS, attack["steps"])):
        if attack["epsilon"] == epsilon:
            columns[f"{attack['attack']}_acc{LOSS_SUFFIXES[attack['loss']]}"] = attack["accuracy"]
    for spectrum in sorted(row["spectra"] or (), key=lambda spectrum: -len(spectrum["eigenvalues"])):
        if spectrum["subset_size"] == row[f"{spectrum['split']}_size"] and spectrum["method"] == "lanczos":
            columns[f"lambda1_{spectrum['split']}"] = spectrum["eigenvalues"][0]
    return columns
