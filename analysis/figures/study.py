"""The figures of whatever was run: for each data set, model and protocol, its regimes and its momenta."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from analysis.figures.accuracy import accuracy_figure
from analysis.figures.curve_sets import CurveSet, Setup, momentum_curves, regime_curves
from analysis.figures.figure import Figure
from analysis.figures.figure_data import FigureData
from analysis.figures.lambda1 import lambda1_figure
from search_spaces import HEADLINE_EPSILON


@dataclass(frozen=True)
class FigureGroup:
    """Figures of one setup and curves: a row for each loss (accuracies, then lambda1), side by side.

    `epsilons` are those that a picker offers, `epsilon` the one drawn first.
    """

    setup: Setup
    curves: CurveSet
    figures: tuple[Figure, ...]
    epsilons: tuple[float, ...]
    epsilon: float


def study_figures(data: FigureData) -> list[FigureGroup]:
    """Every group that has something to draw, in the order of the setups, regimes first."""
    groups = []
    for setup in data.setups:
        run = _curves(data.of("clean", setup))
        if not run:
            continue
        for curves in (regime_curves(run), *momentum_curves(run)):
            group = _group(data, setup, curves)
            if group.figures:
                groups.append(group)
    return groups


def _curves(cells: pd.DataFrame) -> set[tuple[str, float]]:
    """The curves that were run; a lone cell, shared from another curve, is none where others have more."""
    run = cells[(cells["ok"] > 0) | (cells["diverged"] > 0)]
    sizes = run.groupby(["regime", "momentum"])["batch_size"].nunique()
    long_enough = sizes[sizes >= min(2, int(sizes.max()))] if len(sizes) else sizes
    return {(str(regime), float(momentum)) for regime, momentum in long_enough.index}


def _group(data: FigureData, setup: Setup, curves: CurveSet) -> FigureGroup:
    asked = curves.of(data.of("adversarial", setup))
    asked = asked[(asked["split"] == "test") & (asked["n"] > 0)]
    epsilons = tuple(sorted(float(e) for e in asked["epsilon"].unique()))
    headline = HEADLINE_EPSILON.get(str(setup["dataset"]), 0.0)
    epsilon = headline if headline in epsilons else (epsilons[-1] if epsilons else headline)
    figures: list[Figure | None] = []
    for loss, split in (("ce", "train"), ("stable", "test")):
        for attack in sorted(asked["attack"].unique()):
            figures.append(
                data.figure(
                    accuracy_figure, setup, curves, attack=attack, epsilon=epsilon, loss=loss,
                    others=epsilons if len(epsilons) > 1 else (),
                )
            )  # fmt: skip
        figures.append(data.figure(lambda1_figure, setup, curves, split=split))
    drawn = tuple(figure for figure in figures if figure is not None)
    return FigureGroup(setup, curves, drawn, epsilons, epsilon)
