"""A numbered panel of a paper: which cells it shows, drawn from ours, and the command that runs them."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace

from analysis.figures.accuracy import accuracy_figure
from analysis.figures.curve_sets import CurveSet, Setup
from analysis.figures.figure import Figure
from analysis.figures.figure_data import FigureData
from analysis.figures.lambda1 import lambda1_figure
from analysis.tables.words import name
from search_spaces.natural_training import BATCH_SIZES

GRID = "natural_training"

LEAST_CURVES = {"regime": 1, "momentum": 2}
"""Curves without which a panel says nothing: a regime speaks alone, a momentum only beside another."""


@dataclass(frozen=True)
class Panel:
    """One panel of one paper; called with the figures' data it draws itself from the rows.

    `attacks` and `epsilon` are those of an accuracy panel; without attacks the panel shows lambda1.
    """

    source: str
    number: str
    dataset: str
    models: tuple[str, ...]
    curves: CurveSet
    attacks: tuple[str, ...] = ()
    epsilon: float = 0.0
    note: str = ""

    @property
    def id(self) -> str:
        """Paper and number: `A-1L`."""
        return f"{self.source}-{self.number}"

    @property
    def title(self) -> str:
        """What it shows, in a line."""
        models = " and ".join(name(model) for model in self.models)
        shown = " and ".join(f"{name(a)} accuracy, ε = {self.epsilon:g}" for a in self.attacks) or "λ₁"
        return f"{name(self.dataset)} · {models}: {shown}; {self.curves.title.lower()}"

    def commands(self, results: str) -> list[str]:
        """The commands that run its cells, and no others, into the folder `results`."""
        momenta: dict[str, list[str]] = {}
        for regime, momentum in self.curves.curves:
            momenta.setdefault(regime, []).append(f"{momentum:g}")
        regimes: dict[str, list[str]] = {}
        for regime, of_regime in momenta.items():
            regimes.setdefault(",".join(of_regime), []).append(regime)
        return [
            f"python -m study.run --grid {GRID} --results {shlex.quote(results)} --select dataset={self.dataset} "
            f"model={','.join(self.models)} regime={','.join(alike)} momentum={shared}"
            for shared, alike in regimes.items()
        ]

    def __call__(self, data: FigureData) -> list[Figure]:
        """One figure a model and attack; those of which fewer than LEAST_CURVES were run are left out.

        Where several protocols were run, the largest one with values is drawn. What the panel shows and was not
        run is said of each figure; a model of which nothing was run, of the first.
        """
        drawn: list[Figure] = []
        unrun = []
        for model in self.models:
            figures = [(attack, self._draw(data, model, attack)) for attack in self.attacks or ("",)]
            unrun += [] if any(figure for _, figure in figures) else [name(model)]
            for attack, figure in figures:
                if figure is not None:
                    parts = [self.id]
                    parts += [model] if len(self.models) > 1 else []
                    parts += [attack] if len(self.attacks) > 1 else []
                    drawn.append(replace(figure, name="-".join(parts)))
        if drawn and unrun:
            drawn[0] = replace(drawn[0], missing=", ".join(filter(None, (*unrun, drawn[0].missing))))
        return drawn

    def _draw(self, data: FigureData, model: str, attack: str) -> Figure | None:
        for setup in data.setups:
            if (setup["dataset"], setup["model"]) != (self.dataset, model):
                continue
            absent, sizes = self._absent(data, setup)
            if len(self.curves.curves) - len(absent) < LEAST_CURVES[self.curves.by]:
                continue
            if attack:
                figure = data.figure(
                    accuracy_figure, setup, self.curves, attack=attack, epsilon=self.epsilon, loss="ce"
                )
            else:
                figure = data.figure(lambda1_figure, setup, self.curves, split="train")
            if figure is not None:
                missing = ", ".join((*absent, *(f"batch size {size}" for size in sizes)))
                said = f" Not run: {missing}." if missing else ""
                return replace(figure, caption=f"{figure.caption}{said} {setup.protocol}.", missing=missing)
        return None

    def _absent(self, data: FigureData, setup: Setup) -> tuple[list[str], list[int]]:
        """The curves of which less than two batch sizes were run, and the batch sizes that no curve has."""
        cells = self.curves.of(data.of("clean", setup))
        cells = cells[(cells["ok"] > 0) | (cells["diverged"] > 0)]
        sizes = cells.groupby(["regime", "momentum"])["batch_size"].nunique()
        curves = set(sizes[sizes > 1].index)
        absent = [self.curves.style(*curve).label for curve in self.curves.curves if curve not in curves]
        return absent, sorted(set(BATCH_SIZES) - set(cells["batch_size"].astype(int)))


def accuracy(
    source: str,
    number: str,
    dataset: str,
    models: tuple[str, ...],
    curves: CurveSet,
    attacks: tuple[str, ...],
    epsilon: float,
    note: str = "",
) -> Panel:
    """A panel of clean and adversarial accuracy against batch size."""
    return Panel(source, number, dataset, models, curves, attacks, epsilon, note)


def lambda1(source: str, number: str, dataset: str, models: tuple[str, ...], curves: CurveSet) -> Panel:
    """A panel of the top Hessian eigenvalue against batch size."""
    return Panel(source, number, dataset, models, curves)
