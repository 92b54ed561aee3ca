"""Template VARIANT: clean accuracy, attack ratios and lambda1 of several settings against batch size."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from analysis.claims.sweeps import Setting
from analysis.figures.batch_size import ValueAxis, batch_sizes, records, template
from analysis.figures.curve_sets import Setup
from analysis.figures.figure import DATA, Figure
from analysis.figures.figure_data import FigureData
from analysis.figures.lambda1 import lambda1_axis
from analysis.figures.words import ends, gaps_and_marks, replicates
from analysis.tables.table import PROTOCOL
from analysis.tables.words import name
from analysis.theme import SeriesStyle, number, percent

GRID = "sgd_variants"

NOT_CONVERGED = "the eigenvalue has not converged"


@dataclass(frozen=True)
class VariantCurves:
    """The curves of a panel: settings of any optimizer and decay, each with its style."""

    title: str
    curves: tuple[tuple[Setting, SeriesStyle], ...]

    @property
    def styles(self) -> tuple[SeriesStyle, ...]:
        """The styles of all curves, in order."""
        return tuple(style for _, style in self.curves)

    def styles_of(self, cells: pd.DataFrame) -> list[SeriesStyle]:
        """The style of the curve that each cell is on."""
        styles = dict(self.curves)
        return [styles[setting] for setting in _settings(cells)]

    def of(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The rows of `frame` on its curves."""
        mine = {setting for setting, _ in self.curves}
        return frame[np.array([setting in mine for setting in _settings(frame)], dtype=bool)]


@dataclass(frozen=True)
class VariantPanel:
    """One figure of a paper in the template VARIANT; called with the figures' data it draws itself from the rows.

    Clean accuracy, then FGSM and PGD attack ratios at the first epsilon; lambda1, then the ratios at the second.
    """

    source: str
    number: str
    dataset: str
    model: str
    curves: VariantCurves
    epsilons: tuple[float, ...]
    attacks: tuple[str, ...] = ("fgsm", "pgd")
    note: str = ""

    @property
    def id(self) -> str:
        """Paper and number: `B-1`."""
        return f"{self.source}-{self.number}"

    @property
    def title(self) -> str:
        """What it shows, in a line."""
        attacks = " and ".join(map(name, self.attacks))
        strength = " and ".join(f"{e:g}" for e in self.epsilons)
        shown = f"clean accuracy, {attacks} attack ratio at ε = {strength}, λ₁"
        return f"{name(self.dataset)} · {name(self.model)}: {shown}; {self.curves.title}"

    def commands(self, results: str) -> list[str]:
        """The commands that run its cells, and no others, into the folder `results`."""
        optimizers: dict[tuple[str, float, float], list[str]] = {}
        for s in dict.fromkeys(setting for setting, _ in self.curves.curves):
            optimizers.setdefault((s.regime, s.momentum, s.weight_decay), []).append(s.optimizer)
        regimes: dict[tuple[str, float, float], list[str]] = {}
        for (regime, momentum, weight_decay), names in optimizers.items():
            regimes.setdefault((",".join(names), momentum, weight_decay), []).append(regime)
        return [
            f"python -m study.run --grid {GRID} --results {shlex.quote(results)} --select dataset={self.dataset} "
            f"model={self.model} optimizer={names} regime={','.join(alike)} momentum={momentum:g} "
            f"weight_decay={weight_decay:g}"
            for (names, momentum, weight_decay), alike in regimes.items()
        ]

    def __call__(self, data: FigureData) -> list[Figure]:
        """Its figures at the largest protocol of which two curves were run; none where there is no such."""
        for setup in _protocols(data, self.dataset, self.model):
            clean = self._cells(data.clean, setup)
            absent = self._absent(clean)
            if len(absent) <= len(self.curves.curves) - 2:
                missing = f" Not run: {', '.join(absent)}." if absent else ""
                words = f"{missing} {_sizes(setup)}."
                lacking = ", ".join(absent)
                figures = self._figures(data, setup, clean)
                return [replace(f, caption=f"{f.caption}{words}", missing=lacking) for f in figures]
        return []

    def _figures(self, data: FigureData, setup: Setup, clean: pd.DataFrame) -> Iterator[Figure]:
        first, *more = ([*self._ratios(data, setup, epsilon)] for epsilon in self.epsilons)
        yield self._figure("clean", clean, "clean test accuracy", "Clean test accuracy")
        yield from first
        eigenvalues = self._cells(data.lambda1[data.lambda1["split"] == "train"], setup)
        if eigenvalues["drawn"].any():
            yield self._eigenvalues(eigenvalues)
        for ratios in more:
            yield from ratios

    def _ratios(self, data: FigureData, setup: Setup, epsilon: float) -> Iterator[Figure]:
        asked = data.attack_ratio
        asked = asked[(asked["loss"] == "ce") & (asked["split"] == "test") & np.isclose(asked["epsilon"], epsilon)]
        for attack in self.attacks:
            cells = self._cells(asked[asked["attack"] == attack], setup)
            if cells["drawn"].any():
                what = f"{name(attack)} attack ratio, ε = {epsilon:g}"
                said = f"Accuracy under {name(attack)} at ε = {epsilon:g}, {name('ce')}, over clean accuracy"
                yield replace(self._figure(f"{attack}-eps{epsilon:g}", cells, what, said), attack=attack)

    def _figure(self, slug: str, cells: pd.DataFrame, what: str, said: str) -> Figure:
        values = records(cells, self.curves, slug, percent)
        axis = ValueAxis(what.split(", ")[0], "~%", ".2%", _span(cells))
        return self._made(
            slug, what, said, cells, template(batch_sizes(values), (slug,), self.curves.styles, axis), values
        )

    def _eigenvalues(self, cells: pd.DataFrame) -> Figure:
        values = records(cells, self.curves, "eigenvalue", number)
        chart = template(batch_sizes(values), ("eigenvalue",), self.curves.styles, lambda1_axis(cells, "train"))
        said = "Top eigenvalue λ₁ of the loss Hessian on the whole training set, log axis, geometric means"
        return self._made("lambda1", "λ₁ on the training set", said, cells, chart, values, NOT_CONVERGED)

    def _made(
        self,
        slug: str,
        what: str,
        said: str,
        cells: pd.DataFrame,
        chart: dict[str, Any],
        values: list[dict[str, Any]],
        hollow: str | None = None,
    ) -> Figure:
        show = number if slug == "lambda1" else percent
        marks = gaps_and_marks(cells, hollow=hollow) if hollow else gaps_and_marks(cells)
        where = f"{name(self.dataset)} · {name(self.model)}"
        return Figure(
            name=f"{self.id}-{slug}",
            title=f"{where}: {what}",
            template=chart,
            data={DATA: values},
            caption=f"{said}. {replicates(cells)}{marks}",
            description=f"{where}, {self.curves.title}: {what} against batch size. {ends(cells, self.curves, show)}",
            legend=self.curves.styles,
        )

    def _cells(self, frame: pd.DataFrame, setup: Setup) -> pd.DataFrame:
        keep = (frame["dataset"] == self.dataset) & (frame["model"] == self.model)
        keep &= frame["adversarial_training"] == "none"
        for column in PROTOCOL:
            keep &= frame[column].isna() if pd.isna(setup[column]) else frame[column] == setup[column]
        return self.curves.of(frame[keep])

    def _absent(self, cells: pd.DataFrame) -> list[str]:
        there = {style.label for style in self.curves.styles_of(cells[cells["drawn"]])}
        return [style.label for style in self.curves.styles if style.label not in there]


def _settings(cells: pd.DataFrame) -> list[Setting]:
    keys = ("regime", "momentum", "optimizer", "weight_decay")
    return [Setting.of(dict(zip(keys, cell, strict=True))) for cell in zip(*(cells[k] for k in keys), strict=True)]


def _protocols(data: FigureData, dataset: str, model: str) -> list[Setup]:
    """One setup a protocol, the largest first: they differ in it and no longer in optimizer or decay."""
    unique: dict[tuple[Any, ...], Setup] = {}
    for setup in data.setups:
        if (setup["dataset"], setup["model"]) == (dataset, model):
            unique.setdefault(tuple(str(setup[column]) for column in PROTOCOL), setup)
    return list(unique.values())


def _sizes(setup: Setup) -> str:
    epochs, train, test = (int(setup[c]) for c in ("epochs", "train_size", "test_size"))
    return f"{epochs:,} epochs, {train:,} training images, {test:,} test images"


def _span(cells: pd.DataFrame) -> tuple[float, float]:
    """Every mean with the part of its interval that is nearby, so that one wide interval cannot flatten the rest."""
    drawn = cells[cells["drawn"]]
    least, most = float(drawn["mean"].min()), float(drawn["mean"].max())
    room = max(most - least, 0.01)
    limits = drawn[["mean", "low", "high"]].to_numpy(dtype=float)
    low, high = max(float(np.nanmin(limits)), least - room), min(float(np.nanmax(limits)), most + room)
    pad = 0.06 * (high - low)
    return max(0.0, low - pad), high + pad
