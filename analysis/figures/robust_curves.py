"""Robust accuracy against epsilon, from the smallest perturbation found of each image: a line a batch size."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.figures.curve_sets import SHARED, Setup
from analysis.figures.figure import DATA, Figure, Spec, file_name, layer, layered, lines, rounded
from analysis.figures.figure_data import FigureData
from analysis.tables.lookup import agreeing
from analysis.tables.words import curve_name, value_text
from analysis.theme import SeriesStyle, batch_styles, percent

POINTS = 60
"""Epsilons of a line."""

SHOWN = 0.01
"""The axis ends where no line is above this accuracy."""


def robust_curves(data: FigureData) -> list[Figure]:
    """A figure for each setup, regime and momentum of which networks have the measure; none without any."""
    measured = data.table.points
    measured = measured[measured["minimal_epsilon_area"].notna() & (measured["status"] == "ok")]
    figures = []
    for setup in data.setups if len(measured) else []:
        mine = agreeing(measured, dict(zip(SHARED, setup.values, strict=True)))
        for (regime, momentum), curve in mine.groupby(["regime", "momentum"], sort=True):
            figures.append(_figure(data, setup, curve_name(regime, momentum), curve))
    return figures


def _figure(data: FigureData, setup: Setup, curve: str, points: pd.DataFrame) -> Figure:
    quantiles = data.table.trials.set_index("trial_id")["minimal_epsilon_quantiles"]
    lines = {
        int(str(size)): np.array([quantiles[trial_id] for trial_id in one["trial_id"]], dtype=float)
        for size, one in points.groupby("batch_size")
    }
    end = max(float(np.quantile(np.minimum(found, 1.0), 1 - SHOWN)) for found in lines.values()) or 1.0
    epsilons = np.linspace(0.0, end, POINTS)
    means = {size: robust_accuracy(found, epsilons) for size, found in lines.items()}
    clean = {int(str(size)): float(one["test_acc"].mean()) for size, one in points.groupby("batch_size")}
    styles = tuple(batch_styles(lines).values())
    records = [
        {"curve": style.label, "epsilon": rounded(float(epsilon), 4), "accuracy": rounded(float(accuracy), 4)}
        for style, size in zip(styles, sorted(lines), strict=True)
        for epsilon, accuracy in zip(epsilons, means[size], strict=True)
    ]
    counts = sorted({len(found) for found in lines.values()})
    seeds = " to ".join(str(count) for count in dict.fromkeys((counts[0], counts[-1])))
    headline = data.headline_epsilon(setup)
    usual = headline if headline <= end else None
    middle = {size: float(np.median(found[:, found.shape[1] // 2])) for size, found in lines.items()}
    return Figure(
        name=file_name(*setup.slug, curve.lower(), "robust-curve"),
        title=f"{setup.title}: robust accuracy over ε, {curve}",
        template=_template(styles, usual),
        data={DATA: records},
        caption=f"Share of test images whose smallest perturbation found is larger than ε: an upper bound on robust "
        f"accuracy at every ε. Means of {seeds} {'seed' if counts[-1] == 1 else 'seeds'}"
        f"{'.' if usual is None else '; the dotted line is the ε of the other figures.'}",
        description=f"{setup.title}, {curve}: robust accuracy against epsilon. Median smallest perturbation: "
        + ", ".join(f"{value_text(rounded(value, 3))} at batch {size}" for size, value in sorted(middle.items()))
        + f". Clean: {', '.join(f'{percent(clean[size])} at batch {size}' for size in sorted(clean))}.",
        legend=styles,
    )


def robust_accuracy(quantiles: NDArray[np.float64], epsilons: NDArray[np.float64]) -> NDArray[np.float64]:
    """Robust accuracy at each epsilon, mean over networks, from the quantiles (networks, k) of each."""
    found: NDArray[np.float64] = (quantiles[:, :, None] > epsilons).mean(axis=(0, 1))
    return found


def _template(styles: Sequence[SeriesStyle], usual: float | None) -> Spec:
    x = alt.X("epsilon:Q", title="ε (pixels in [0, 1])", scale=alt.Scale(nice=False))
    y = alt.Y("accuracy:Q", title="robust accuracy", axis=alt.Axis(format="~%"), scale=alt.Scale(domain=[0, 1]))
    shown = (alt.Tooltip("epsilon:Q", format=".3~g"), alt.Tooltip("accuracy:Q", format=".1%"))
    rule = layer({"type": "rule", "strokeDash": [1, 3], "opacity": 0.6}, x={"datum": usual})
    return layered(*lines(styles, x, y, *shown, marked=None), *([rule] if usual is not None else []))
