"""The figures of whatever was run: for each data set, model and protocol, its regimes and its momenta."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from analysis.figures.batch_size import accuracy_figure, clean_figure, lambda1_figure
from analysis.figures.curve_sets import CurveSet, Setup, curve_sets
from analysis.figures.figure import Figure
from analysis.figures.figure_data import FigureData


@dataclass(frozen=True)
class FigureGroup:
    """The figures of one setup and curve set: clean accuracy, accuracy under each attack, lambda1 on both splits.

    `epsilons` are those that a picker on the page offers, `epsilon` the one drawn first.
    """

    setup: Setup
    curves: CurveSet
    figures: tuple[Figure, ...]
    epsilons: tuple[float, ...]
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
    epsilons = tuple(sorted(float(e) for e in measured["epsilon"].unique()))
    headline = data.headline_epsilon(setup)
    epsilon = headline if headline in epsilons or not epsilons else epsilons[-1]
    others = epsilons if len(epsilons) > 1 else ()
    figures = [data.once(clean_figure, setup, curves)]
    for attack in sorted(measured["attack"].unique()):
        figures.append(data.once(accuracy_figure, setup, curves, attack=attack, epsilon=epsilon, others=others))
    figures += [data.once(lambda1_figure, setup, curves, split=split) for split in ("train", "test")]
    return FigureGroup(setup, curves, tuple(f for f in figures if f is not None), epsilons, epsilon)
