"""The papers' numbered panels along the batch size: what each shows, drawn from our rows, and how to run it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from analysis.figures.batch_size import (
    CLEAN,
    ValueAxis,
    clean_and_attacked_figure,
    curve_figure,
    eigenvalue_figure,
    lambda1_figure,
    limits,
)
from analysis.figures.curve_sets import CurveSet, Setup
from analysis.figures.figure import Figure
from analysis.figures.figure_data import FigureData
from analysis.reports.commands import run_command
from analysis.tables.lookup import agreeing
from analysis.tables.table import ALIKE, PROTOCOL
from analysis.tables.words import name, network_name
from analysis.theme import percent
from search_spaces.natural_training import BATCH_SIZES

LAMBDA1 = "lambda1"

MIN_CURVES = {"regime": 1, "momentum": 2, "configuration": 2}
"""`CurveSet.by` -> the least number of curves that make a panel: a single momentum, for instance, compares nothing."""


@dataclass(frozen=True, kw_only=True)
class Panel(ABC):
    """One panel of a paper. Called with the figures' data it returns its figures; empty if too little was run."""

    grid: ClassVar[str]
    source: str
    number: str
    dataset: str
    model: str
    curves: CurveSet
    attacks: tuple[str, ...] = ()
    note: str = ""

    @property
    def id(self) -> str:
        """Paper and number: `A-1L`."""
        return f"{self.source}-{self.number}"

    @property
    @abstractmethod
    def title(self) -> str:
        """What it shows, in a line."""

    @property
    def where(self) -> str:
        """Data set and model in words."""
        return network_name(self.dataset, self.model)

    @abstractmethod
    def __call__(self, data: FigureData) -> list[Figure]:
        """Its figures, drawn at the largest protocol that was run."""

    def not_measured(self, data: FigureData, *epsilons: float) -> str:
        """Which of its attacks its networks did not meet, and at which epsilons they were attacked; "" if none."""
        cells = data.cells[(data.cells["split"] == "test") & (data.cells["n_seeds"] > 0)]
        met = self.curves.select(cells[(cells["dataset"] == self.dataset) & (cells["model"] == self.model)])
        lacking = []
        for epsilon in epsilons:
            there = set(met.loc[np.isclose(met["epsilon"].astype(float), epsilon), "attack"])
            attacks = [name(attack) for attack in self.attacks if attack not in there]
            lacking += [f"{' and '.join(attacks)} at ε = {epsilon:g}"] if attacks else []
        instead = ", ".join(f"{epsilon:g}" for epsilon in sorted(met["epsilon"].unique()))
        attacked = f"attacked at ε = {instead}" if instead else "not attacked"
        return f"Not measured: {'; '.join(lacking)} (these networks were {attacked})." if lacking else ""

    def commands(self, results: str) -> list[str]:
        """The commands that run exactly its cells into the folder `results`."""
        rows = [dict(zip(self.curves.columns, map(_text, key), strict=True)) for key, _ in self.curves.curves]
        rows = _joined(_joined(rows, "optimizer" if "optimizer" in self.curves.columns else "momentum"), "regime")
        where = {"dataset": self.dataset, "model": self.model}
        return [run_command(self.grid, where | row, results=results) for row in rows]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def _joined(rows: list[dict[str, str]], column: str) -> list[dict[str, str]]:
    """Rows that agree in all other columns as one, whose `column` lists their values."""
    values: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for row in rows:
        others = tuple((key, value) for key, value in row.items() if key != column)
        values.setdefault(others, []).append(row[column])
    return [
        {key: ",".join(dict.fromkeys(found)) if key == column else dict(others)[key] for key in rows[0]}
        for others, found in values.items()
    ]


@dataclass(frozen=True, kw_only=True)
class NaturalTrainingPanel(Panel):
    """A panel of paper A: clean and adversarial accuracy under `attacks` at `epsilon`; without attacks lambda1.

    Where most networks met the attacks at another epsilon, it is drawn there.
    """

    grid = "natural_training"
    epsilon: float = 0.0

    @property
    def title(self) -> str:
        """What it shows, in a line."""
        shown = " and ".join(f"{name(a)} accuracy, ε = {self.epsilon:g}" for a in self.attacks) or "λ₁"
        return f"{self.where}: {shown}; {self.curves.title[0].lower()}{self.curves.title[1:]}"

    def __call__(self, data: FigureData) -> list[Figure]:
        """One figure per attack, without those of which fewer than `MIN_CURVES` were run."""
        drawn = []
        for shown in self.attacks or (LAMBDA1,):
            figure = self._draw(data, shown)
            if figure is not None:
                drawn.append(replace(figure, name=self.id + (f"-{shown}" if len(self.attacks) > 1 else "")))
        return drawn

    def _draw(self, data: FigureData, shown: str) -> Figure | None:
        for setup in data.setups:
            if (setup["dataset"], setup["model"]) != (self.dataset, self.model):
                continue
            absent, sizes = self._absent(data, setup)
            if len(self.curves.curves) - len(absent) < MIN_CURVES[self.curves.by]:
                continue
            if shown == LAMBDA1:
                figure = data.once(lambda1_figure, setup, self.curves, splits=("train",))
            else:
                figure = self._attacked(data, setup, shown)
            if figure is not None:
                return _with_missing(
                    figure,
                    self.not_measured(data, self.epsilon) if self.attacks else "",
                    [*absent, *([f"batch sizes {', '.join(map(str, sizes))}"] if sizes else [])],
                    setup.protocol,
                )
        return None

    def _attacked(self, data: FigureData, setup: Setup, attack: str) -> Figure | None:
        """At the paper's epsilon, or else at the setup's own."""
        for epsilon in dict.fromkeys((self.epsilon, data.headline_epsilon(setup))):
            figure = data.once(clean_and_attacked_figure, setup, self.curves, attack=attack, epsilon=epsilon)
            if figure is not None:
                papers = "" if epsilon == self.epsilon else f" (the paper's is {self.epsilon:g})"
                return replace(figure, title=f"{figure.title}{papers}")
        return None

    def _absent(self, data: FigureData, setup: Setup) -> tuple[list[str], list[int]]:
        """The curves with fewer than two batch sizes that were run, and the batch sizes that no curve has."""
        cells = self.curves.select(data.rows("clean", setup))
        cells = cells[(cells["ok"] > 0) | (cells["diverged"] > 0)]
        sizes = cells.groupby(list(self.curves.columns))["batch_size"].nunique()
        run = set(sizes[sizes > 1].index)
        absent = [style.label for curve, style in self.curves.curves if curve not in run]
        return absent, sorted(set(BATCH_SIZES) - set(cells["batch_size"].astype(int)))


@dataclass(frozen=True, kw_only=True)
class VariantPanel(Panel):
    """A panel of paper B (template VARIANT), whose curves are any optimizers, momenta and weight decays.

    It has a figure of clean accuracy, of the attack ratios (adversarial over clean accuracy) at the first epsilon, of
    lambda1, and of the attack ratios at further epsilons.
    """

    grid = "sgd_variants"
    epsilons: tuple[float, ...]
    attacks: tuple[str, ...] = ("fgsm", "pgd")

    @property
    def title(self) -> str:
        """What it shows, in a line."""
        attacks = " and ".join(map(name, self.attacks))
        strength = " and ".join(f"{e:g}" for e in self.epsilons)
        return f"{self.where}: clean accuracy, {attacks} attack ratio at ε = {strength}, λ₁; {self.curves.title}"

    def __call__(self, data: FigureData) -> list[Figure]:
        """Its figures at the largest protocol at which `MIN_CURVES` curves were run."""
        for setup in self._protocols(data):
            clean = self._cells(data.clean, setup)
            run = {style.label for style in self.curves.styles_of(clean[clean["drawn"]])}
            absent = [style.label for style in self.curves.styles if style.label not in run]
            if len(self.curves.curves) - len(absent) >= MIN_CURVES[self.curves.by]:
                epochs, train, test = (int(setup[c]) for c in ("epochs", "train_size", "test_size"))
                sizes = f"{epochs:,} epochs, {train:,} training images, {test:,} test images"
                unmet = self.not_measured(data, *self.epsilons)
                return [_with_missing(figure, unmet, absent, sizes) for figure in self._figures(data, setup, clean)]
        return []

    def _protocols(self, data: FigureData) -> list[Setup]:
        """One setup per protocol, the largest first. Optimizer and decay differ within a panel and do not count."""
        unique: dict[tuple[str, ...], Setup] = {}
        for setup in data.setups:
            if (setup["dataset"], setup["model"]) == (self.dataset, self.model):
                unique.setdefault(tuple(str(setup[column]) for column in PROTOCOL), setup)
        return list(unique.values())

    def _cells(self, frame: pd.DataFrame, setup: Setup) -> pd.DataFrame:
        """The cells on the panel's curves, under the protocol of `setup`."""
        shared = {column: setup[column] for column in ALIKE}
        return self.curves.select(agreeing(frame, shared | {"adversarial_training": "none"}))

    def _figures(self, data: FigureData, setup: Setup, clean: pd.DataFrame) -> Iterator[Figure]:
        first, *others = ([*self._ratios(data, setup, epsilon)] for epsilon in self.epsilons)
        yield self._fraction({CLEAN: clean}, CLEAN, "clean test accuracy", "Clean test accuracy")
        yield from first
        eigenvalues = self._cells(data.lambda1[data.lambda1["split"] == "train"], setup)
        if eigenvalues["drawn"].any():
            yield eigenvalue_figure({"train": eigenvalues}, self.curves, self.where, f"{self.id}-lambda1")
        for ratios in others:
            yield from ratios

    def _ratios(self, data: FigureData, setup: Setup, epsilon: float) -> Iterator[Figure]:
        ratios = data.attack_ratio
        ratios = self._cells(ratios[(ratios["split"] == "test") & np.isclose(ratios["epsilon"], epsilon)], setup)
        for attack in self.attacks:
            mine = ratios[ratios["attack"] == attack]
            parts = {name(loss): mine[mine["loss"] == loss] for loss in data.losses}
            parts = {loss: cells for loss, cells in parts.items() if cells["drawn"].any()}
            if parts:
                what = f"{name(attack)} attack ratio, ε = {epsilon:g}"
                caption = f"Accuracy under {name(attack)} at ε = {epsilon:g} over clean accuracy"
                yield replace(self._fraction(parts, f"{attack}-eps{epsilon:g}", what, caption), attack=attack)

    def _fraction(self, parts: dict[str, pd.DataFrame], slug: str, what: str, caption: str) -> Figure:
        return curve_figure(
            parts,
            self.curves,
            ValueAxis(what.split(", ")[0], "~%", ".2%", limits(pd.concat(parts.values()))),
            percent,
            name=f"{self.id}-{slug}",
            title=f"{self.where}: {what}",
            caption=f"{caption}.",
            description=f"{self.where}, {self.curves.title}: {what} against batch size.",
        )


def _with_missing(figure: Figure, not_measured: str, absent: list[str], protocol: str) -> Figure:
    not_run = f"Not run: {'; '.join(absent)}." if absent else ""
    missing = " ".join(filter(None, (not_measured, not_run)))
    return replace(figure, caption=f"{figure.caption} {protocol}.", missing=missing)
