"""The figures of whatever was run, data set by data set: its regimes and its momenta; and the first of the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.figures.batch_size import accuracy_figure, clean_figure, lambda1_figure
from analysis.figures.curve_sets import CurveSet, Setup, curve_sets
from analysis.figures.figure import DATA, Figure
from analysis.figures.figure_data import FigureData
from analysis.tables.words import name
from search_spaces.probe import LOSSES

LOSS_NAMES = {name(loss) for loss in LOSSES}
"""The losses of an attack that can lead a report."""


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
    figures += [data.once(lambda1_figure, setup, curves, split=split) for split in ("train", "test")]
    shown = headline if headline in epsilons or not epsilons else epsilons[-1]
    return FigureGroup(setup, curves, tuple(f for f in figures if f is not None), shown)


@dataclass(frozen=True)
class Lead:
    """The first picture of a report: two figures of the regimes `curves` of `setup`, one of `settings` with attacks."""

    figures: tuple[Figure, ...]
    setup: Setup
    curves: CurveSet
    settings: int


def lead(data: FigureData, groups: Sequence[FigureGroup]) -> Lead | None:
    """Accuracy under attack and lambda1 of the regimes with most networks under attack; None if none was attacked.

    The attack is the strongest of those that most networks met.
    """
    regimes = [group for group in groups if group.curves.by == "regime"]
    attacked = [(group, figure) for group in regimes for figure in group.figures if _may_lead(group, figure)]
    if not attacked:
        return None
    group, strongest = max(attacked, key=lambda one: _networks_and_errors(one[1]))
    shown = group.setup, group.curves
    accuracy = accuracy_figure(data, *shown, attack=strongest.attack, epsilon=group.epsilon, alone=True)
    curvature = data.once(lambda1_figure, *shown, split="train")
    settings = len({group.setup for group, _ in attacked})
    return Lead(tuple(figure for figure in (accuracy, curvature) if figure), *shown, settings)


def _may_lead(group: FigureGroup, figure: Figure) -> bool:
    return figure.epsilon == group.epsilon and any(record["kind"] in LOSS_NAMES for record in figure.data[DATA])


def _networks_and_errors(figure: Figure) -> tuple[int, float]:
    """How many networks are in a figure of accuracies, and the mean error of its cells."""
    drawn = [record for record in figure.data[DATA] if record["mean"] is not None]
    networks = {record["cell"]: record["seeds"] for record in drawn}
    return sum(networks.values()), -float(np.mean([record["mean"] for record in drawn]))
