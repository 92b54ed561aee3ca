"""Probes asked of a trained model: from the questions of a plan to the entries of a row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from torch import Tensor, nn

from search_spaces import HEADLINE_EPSILON, AttackProbe, Probe, SpectrumProbe
from study import streams
from study.attacks.evaluate import CleanGradient, attack_split, measure_clean_gradient
from study.curvature import top_eigenvalues
from study.schema import Row

Split = tuple[Tensor, Tensor]
Entry = dict[str, Any]


def answer(
    model: nn.Module, splits: Mapping[str, Split], probes: Iterable[Probe], *, seed: int
) -> tuple[list[Entry], list[Entry]]:
    """The `attacks` and `spectra` entries that answer `probes`, in a fixed order.

    Every probe draws from a stream named by what it asks, so an answer does not depend on the others asked with it.
    Both losses of an attack share one random start: they differ by the loss alone.
    """
    clean: dict[tuple[str, str], CleanGradient] = {}
    attacks, spectra = [], []
    for probe in sorted(probes, key=lambda probe: tuple(map(str, probe.key))):
        if isinstance(probe, AttackProbe):
            attacks.append(_attack(model, splits[probe.split], probe, seed, clean))
        else:
            spectra.append(_spectrum(model, splits[probe.split], probe, seed))
    return attacks, spectra


def _attack(
    model: nn.Module, split: Split, probe: AttackProbe, seed: int, clean: dict[tuple[str, str], CleanGradient]
) -> Entry:
    x, y = split
    asked = (probe.split, probe.loss)
    if asked not in clean:
        clean[asked] = measure_clean_gradient(model, x, y, loss=probe.loss)
    result = attack_split(
        model,
        x,
        y,
        attack=probe.attack,
        loss=probe.loss,
        epsilon=probe.epsilon,
        generator=streams.generator(seed, "attack", probe.attack, probe.split, probe.epsilon),
        clean_gradient=clean[asked],
    )
    return {"split": probe.split, **asdict(result)}


def _spectrum(model: nn.Module, split: Split, probe: SpectrumProbe, seed: int) -> Entry:
    x, y = split
    result = top_eigenvalues(
        model,
        x,
        y,
        count=probe.count,
        tolerance=probe.tolerance,
        subset_size=None if probe.subset_size == len(y) else probe.subset_size,
        generator=streams.generator(seed, "spectrum", probe.split, probe.subset_size),
    )
    return {"split": probe.split, **asdict(result)}


def headline(row: Row) -> dict[str, float]:
    """The headline columns that a row's attacks and spectra give, at the epsilon of its data set."""
    epsilon = HEADLINE_EPSILON.get(row["dataset"])
    columns: dict[str, float] = {}
    for attack in row["attacks"] or ():
        if attack["split"] == "test" and attack["epsilon"] == epsilon and attack["attack"] in ("fgsm", "pgd"):
            suffix = "_stable" if attack["loss"] == "stable" else ""
            columns[f"{attack['attack']}_acc{suffix}"] = attack["accuracy"]
    for spectrum in row["spectra"] or ():
        if spectrum["subset_size"] == row[f"{spectrum['split']}_size"]:
            columns[f"lambda1_{spectrum['split']}"] = spectrum["eigenvalues"][0]
    return columns
