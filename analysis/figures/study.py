"""The figures of whatever was run, data set by data set: its regimes and its momenta; and the first of the report."""

from __future__ import annotations

import math
from collections.abc import Container, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.figures.batch_size import accuracy_figure, clean_figure, lambda1_figure
from analysis.figures.curve_sets import CurveSet, Setup, curve_sets
from analysis.figures.figure import DATA, Figure, styles_of
from analysis.figures.figure_data import FigureData
from analysis.figures.plane import curves, scatter_figure
from analysis.statistics.thresholds import SIGNIFICANCE
from analysis.tables.words import name
from analysis.theme import SeriesStyle
from search_spaces.probe import LOSSES

MOST_LEADING = 3
"""Figures in the first picture."""


@dataclass(frozen=True)
class FigureGroup:
    """The figures of one setup and curve set: clean accuracy, accuracy under each attack at each epsilon, lambda1 on
    both splits. The page shows those at `epsilon` first.
    """

    setup: Setup
    curves: CurveSet
    figures: tuple[Figure, ...]
    epsilon: float


def study_figures(data: FigureData) -> list[FigureGroup]:
    """Every group that has a figure, in the order of the setups, regimes before momenta."""
    groups = []
    for setup in data.setups:
        if run := _curves(data.rows("clean", setup)):
            groups += [_group(data, setup, curves) for curves in curve_sets(run)]
    return [group for group in groups if group.figures]


def _curves(cells: pd.DataFrame) -> set[tuple[str, float]]:
    """The curves that were run. One with a single cell (shared with another curve) counts only if none has more."""
    run = cells[(cells["ok"] > 0) | (cells["diverged"] > 0)]
    sizes = run.groupby(["regime", "momentum"])["batch_size"].nunique()
    long_enough = sizes[sizes >= min(2, int(sizes.max()))] if len(sizes) else sizes
    return {(str(regime), float(momentum)) for regime, momentum in long_enough.index}


def _group(data: FigureData, setup: Setup, curves: CurveSet) -> FigureGroup:
    measured = curves.select(data.rows("adversarial", setup))
    measured = measured[(measured["split"] == "test") & (measured["n"] > 0)]
    asked = sorted(measured[["epsilon", "attack"]].drop_duplicates().itertuples(index=False, name=None))
    epsilons = [float(epsilon) for epsilon, _ in asked]
    headline = data.headline_epsilon(setup)
    figures = [data.once(clean_figure, setup, curves)]
    for epsilon, (_, attack) in zip(epsilons, asked, strict=True):
        figures.append(data.once(accuracy_figure, setup, curves, attack=attack, epsilon=epsilon))
    figures.append(data.once(lambda1_figure, setup, curves))
    shown = headline if headline in epsilons or not epsilons else epsilons[-1]
    return FigureGroup(setup, curves, tuple(f for f in figures if f is not None), shown)


@dataclass(frozen=True)
class Lead:
    """The first picture of a report: the curves of `regimes`, a figure a data set and model; `others` are left out."""

    figures: tuple[Figure, ...]
    regimes: tuple[SeriesStyle, ...]
    others: int


def lead(data: FigureData, groups: Sequence[FigureGroup]) -> Lead | None:
    """lambda1 on the training set against accuracy under attack, of the data sets and models with most networks.

    The attack of each is the strongest of those that most networks met. Where no network has lambda1: accuracy against
    batch size, of the setup with most networks. None if none was attacked.
    """
    regimes = list({group.setup: group for group in reversed(groups) if group.curves.by == "regime"}.values())[::-1]
    asked = [(group, found) for group in regimes if (found := _strongest(data, group)) is not None]
    if not asked:
        return None
    asked.sort(key=lambda one: -one[1].networks)
    first = {(group.setup["dataset"], group.setup["model"]): (group, found) for group, found in reversed(asked)}
    planes = {group.setup: _scatter(data, group, first_of) for group, first_of in reversed(first.values())}
    drawn = {setup: plane for setup, plane in planes.items() if plane is not None}
    if not drawn:
        group, strongest = asked[0]
        shown = accuracy_figure(
            data, group.setup, group.curves, attack=strongest.attack, epsilon=group.epsilon, alone=True
        )
        return Lead((shown,), shown.legend, len(regimes) - 1) if shown else None
    shown_setups = list(drawn)[:MOST_LEADING]
    datasets = [str(setup["dataset"]) for setup in shown_setups]
    figures, shared = [], _shared([drawn[setup] for setup in shown_setups])
    for setup in shown_setups:
        where = name(str(setup["dataset"])) if len(set(datasets)) == len(datasets) else setup.title
        if seen := seen_along(drawn[setup], shared):
            where = ", ".join([where, *(style.short for style in drawn[setup].legend if style.label in shared)])
        figures.append(replace(drawn[setup], name=f"lead-{drawn[setup].name}", title=f"{where}{seen and ': '}{seen}"))
    return Lead(tuple(figures), styles_of(figures), len(regimes) - len(figures))


class _Attack(NamedTuple):
    """An attack and its loss, and how many networks met it."""

    networks: int
    attack: str
    loss: str


def _strongest(data: FigureData, group: FigureGroup) -> _Attack | None:
    """At the group's epsilon, of the attacks that most networks met: the stable loss first, then the strongest."""
    cells = data.rows("cells", group.setup)
    cells = cells[(cells["split"] == "test") & (cells["epsilon"] == group.epsilon) & (cells["n_seeds"] > 0)]
    cells = cells[cells["loss"].isin(LOSSES)]
    found = [
        (int(of["n_seeds"].sum()), loss == "stable", -float(of["accuracy"].mean()), str(attack), str(loss))
        for (attack, loss), of in cells.groupby(["attack", "loss"])
    ]
    if not found:
        return None
    networks, *_, attack, loss = max(found)
    return _Attack(networks, attack, loss)


def _scatter(data: FigureData, group: FigureGroup, under: _Attack) -> Figure | None:
    """The figure of a setup; None if no curve has two cells in it."""
    asked = {"attack": under.attack, "loss": under.loss, "epsilon": group.epsilon, "curvature": "lambda1_train"}
    figure = data.once(scatter_figure, group.setup, **asked)
    return figure if figure and any(len(on) > 1 for on in curves(figure.data[DATA]).values()) else None


def _shared(planes: Sequence[Figure]) -> frozenset[str]:
    """The regimes of which every plot has curves; none where no plot has other regimes as well."""
    regimes = [frozenset(regime for regime, _ in _lines(plane)) for plane in planes]
    common = frozenset.intersection(*regimes)
    return common if any(one != common for one in regimes) else frozenset()


def _lines(plane: Figure) -> dict[tuple[str, float], list[int]]:
    """The curves of a scatter plot that have two cells or more."""
    return {key: on for key, on in curves(plane.data[DATA]).items() if len(on) > 1}


def seen_along(plane: Figure, regimes: Container[str] = ()) -> str:
    """What every curve of a scatter plot shows, over its whole range; "" where one does not, or chance could show it.

    All cells that are drawn count. That they are in this order on all curves by chance has the probability 2 / Π n!.

    Args:
        plane: the plot.
        regimes: those whose curves count; none: all.
    """
    records = plane.data[DATA]
    drawn = [on for (regime, _), on in _lines(plane).items() if not regimes or regime in regimes]
    by_sharpness = [sorted(on, key=lambda n: records[n]["lambda1"]) for on in drawn]
    steps = [np.diff([records[n]["accuracy"] for n in on]) for on in by_sharpness]
    if 2 / math.prod(math.factorial(len(on)) for on in drawn) > SIGNIFICANCE:
        return ""
    if all((step < 0).all() for step in steps):
        return "sharper, less robust"
    return "sharper, more robust" if all((step > 0).all() for step in steps) else ""
