"""Curvature while training against the edge of stability, and the density of the Hessian's eigenvalues."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.figures.batch_size import log_ticks
from analysis.figures.curve_sets import SHARED, Setup, shared_values
from analysis.figures.figure import (
    DATA,
    POWERS,
    Figure,
    Spec,
    curve_channels,
    encoded,
    file_name,
    layer,
    layered,
    lines,
    rounded,
)
from analysis.tables.table import StudyTable
from analysis.tables.words import curve_name
from analysis.theme import SOLID, SeriesStyle, batch_styles

CURVE = [*SHARED, "regime", "momentum"]
"""What the networks of one chart share; batch size and seed vary in it."""

TRACKS = {"lambda1": "λ₁ of {} training images", "batch_sharpness": "The minibatches' own sharpness"}
"""Column of `table.tracked` -> heading of its chart; the rate times each is drawn."""

AXIS_UNIT = 1e-3
"""On the axis of eigenvalues the part around zero that is nearly linear, as a fraction of the largest."""

BELL = 0.25
"""Standard deviation, on the axis as it is drawn, of the bell that a mass of a density becomes."""

GRID = 240
"""Points of a density."""

LEAST_DENSITY = 1e-6
"""Smaller densities are not drawn."""


# -- while training


@dataclass(frozen=True)
class Track:
    """The networks of one curve while they trained: two charts, and where they ended.

    Attributes:
        title: data set, model, regime and momentum.
        figures: the rate times the top eigenvalue, and times the minibatches' own sharpness, against the epoch.
        ends: rate times top eigenvalue after the last epoch of each network.
        peaks: the largest such product of each network, in the same order.
        edge: the product at which gradient descent with this momentum becomes unstable.
    """

    title: str
    figures: tuple[Figure, ...]
    ends: NDArray[np.float64]
    peaks: NDArray[np.float64]
    edge: float


def tracks(table: StudyTable) -> list[Track]:
    """The curves whose networks were tracked, in the order of the table."""
    found = []
    for values, epochs in table.tracked.groupby(CURVE, dropna=False, sort=False):
        where, slug = _named(values)
        images = f"{int(epochs['lambda1_images'].max()):,}"
        figures = [_track(epochs, column, text.format(images), where, slug) for column, text in TRACKS.items()]
        ordered = epochs.sort_values("epoch")
        products = (ordered["lr"] * ordered["lambda1"]).groupby(ordered["trial_id"])
        ends, peaks = (one.to_numpy(dtype=float) for one in (products.last(), products.max()))
        edge = edges_of_stability(float(epochs["momentum"].iloc[0]))[-1]
        found.append(Track(where, tuple(figures), ends, peaks, edge))
    return found


def edges_of_stability(momentum: float) -> list[float]:
    """Rate times curvature at which gradient descent, without and with this momentum, becomes unstable on a quadratic:
    2 and 2 (1 + momentum) (Cohen et al. 2021, arXiv:2103.00065).
    """
    return sorted({2.0, 2 * (1 + momentum)})


def _track(epochs: pd.DataFrame, column: str, title: str, where: str, slug: str) -> Figure:
    products = (epochs["lr"] * epochs[column]).astype(float)
    positive = epochs.assign(product=products)[products > 0]
    styles = batch_styles(positive["batch_size"].astype(int))
    records: list[dict[str, Any]] = []
    for (size, epoch), seeds in positive.groupby(["batch_size", "epoch"]):
        found = seeds["product"].to_numpy(dtype=float)
        values = {"value": np.exp(np.log(found).mean()), "low": found.min(), "high": found.max()}
        of = {
            "cell": str(seeds["cell_id"].iloc[0]),
            "curve": styles[int(str(size))].label,
            "epoch": int(str(epoch)),
        }
        records.append(of | {name: rounded(float(value)) for name, value in values.items()})
    last = {record["curve"]: record for record in records}
    shown = tuple(styles.values())
    edges = edges_of_stability(float(epochs["momentum"].iloc[0]))
    dashed = f", dashed: 2 (1 + momentum) = {edges[1]:g}" if len(edges) > 1 else ""
    reach = [record[end] for record in records for end in ("low", "high")]
    return Figure(
        name=f"track-{column}-{slug}",
        title=f"{where}: {title}",
        template=_track_template(shown, [*reach, *edges], sorted(set(epochs["epoch"].astype(int))), edges),
        data={DATA: records},
        caption=(
            f"The learning rate of an epoch times the curvature after it: geometric mean and range of the seeds, "
            f"{epochs['trial_id'].nunique()} networks in all. Grey line: 2, the edge of stability{dashed}."
        ),
        description=f"{where}: rate times curvature against epoch. {title}. "
        + " ".join(f"{curve}: {end['value']:.3g} after epoch {end['epoch']}." for curve, end in last.items()),
        legend=shown,
    )


def _track_template(
    styles: Sequence[SeriesStyle], reach: Sequence[float], epochs: Sequence[int], edges: Sequence[float]
) -> Spec:
    first, last = epochs[0], epochs[-1]
    log = alt.Scale(type="log", domain=[first / 1.1, last * 1.1], nice=False)
    round_ones = [epoch for epoch in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if first <= epoch <= last]
    ticks = round_ones if len(round_ones) > 1 else [first, last]
    x = alt.X("epoch:Q", title="epoch", scale=log, axis=alt.Axis(grid=False, values=ticks, format="d"))
    low, high = min(reach) / 1.3, max(reach) * 1.3
    scale = alt.Scale(type="log", domain=[low, high], nice=False)
    axis = alt.Axis(labelExpr=POWERS, values=list(log_ticks(low, high)), labelOverlap=True)
    y = alt.Y("value:Q", title="rate × curvature", scale=scale, axis=axis)
    rules: list[Spec] = [
        {"data": {"values": [{}]}}
        | layer({"type": "rule", "strokeWidth": 1.2, "opacity": 0.45, "strokeDash": dash}, y={"datum": edge})
        for edge, dash in zip(edges, (SOLID, [5, 3]), strict=False)
    ]
    along, up, colour = encoded(x), encoded(y), encoded(curve_channels(styles).color)
    bar = layer(
        {"type": "rule", "strokeWidth": 1.1, "opacity": 0.45},
        x=along, y=up | {"field": "low"}, y2={"field": "high"}, color=colour,
    )  # fmt: skip
    return layered(*rules, bar, *lines(styles, x, y, *_numbers("epoch:Q", "value:Q", "low:Q", "high:Q")))


# -- the density


def density_figures(table: StudyTable) -> list[Figure]:
    """A chart for each curve with spectral densities: a line for each batch size, of the network of the first seed."""
    found = table.sharpness[table.sharpness["measure"] == "density"]
    known = [isinstance(nodes, list) and bool(nodes) and bool(np.isfinite(nodes).all()) for nodes in found["nodes"]]
    curves = found[np.array(known, dtype=bool)].groupby(CURVE, dropna=False, sort=False)
    return [_density(entries, *_named(values)) for values, entries in curves]


def _density(entries: pd.DataFrame, where: str, slug: str) -> Figure:
    first = entries.sort_values(["seed", "subset_size"]).drop_duplicates("batch_size").sort_values("batch_size")
    masses = {
        int(size): (np.asarray(nodes, dtype=float), np.asarray(weights, dtype=float))
        for size, nodes, weights in zip(first["batch_size"], first["nodes"], first["weights"], strict=True)
    }
    largest = max(float(np.abs(nodes).max()) for nodes, _ in masses.values()) or 1.0
    unit = float(f"{AXIS_UNIT * largest:.2g}")
    ends = np.concatenate([position(nodes, unit) for nodes, _ in masses.values()])
    grid = np.linspace(ends.min() - 4 * BELL, ends.max() + 4 * BELL, GRID)
    values = np.sign(grid) * unit * np.expm1(np.abs(grid))
    styles = batch_styles(masses)
    records = [
        {
            "cell": str(cell),
            "curve": styles[size].label,
            "value": rounded(float(value), 5),
            "density": rounded(float(height), 4),
        }
        for cell, (size, (nodes, weights)) in zip(first["cell_id"], masses.items(), strict=True)
        for value, height in zip(values, smoothed(nodes, weights, grid, unit), strict=True)
        if height >= LEAST_DENSITY
    ]
    shown = tuple(styles.values())
    images, parameters = int(first["subset_size"].iloc[0]), int(first["n_params"].iloc[0])
    seeds = ", ".join(map(str, sorted(set(first["seed"].astype(int)))))
    return Figure(
        name=f"density-{slug}",
        title=f"{where}: density of the Hessian's eigenvalues",
        template=_density_template(shown, largest, unit),
        data={DATA: records},
        caption=(
            f"Share of the {parameters:,} eigenvalues per unit of the axis as drawn, of the Hessian on {images:,} "
            f"training images; each mass of the quadrature is drawn as a bell. Seed {seeds} of each network."
        ),
        description=f"{where}: spectral density. "
        + " ".join(
            f"Batch {size}: eigenvalues from {n.min():.3g} to {n.max():.3g}." for size, (n, _) in masses.items()
        ),
        legend=shown,
    )


def position(values: NDArray[np.float64], unit: float) -> NDArray[np.float64]:
    """Where values are on the axis: linear within `unit` of zero, logarithmic beyond (Vega's symlog)."""
    placed: NDArray[np.float64] = np.sign(values) * np.log1p(np.abs(values) / unit)
    return placed


def smoothed(
    nodes: NDArray[np.float64], weights: NDArray[np.float64], grid: NDArray[np.float64], unit: float
) -> NDArray[np.float64]:
    """Density (k,) at the positions `grid` of masses `weights` at `nodes`, each a normal density on the axis."""
    distance = (grid[:, None] - position(nodes, unit)[None, :]) / BELL
    bells: NDArray[np.float64] = np.exp(-(distance**2) / 2) / (BELL * (2 * np.pi) ** 0.5)
    return bells @ weights


def _density_template(styles: Sequence[SeriesStyle], largest: float, unit: float) -> Spec:
    powers = range(int(np.ceil(np.log10(unit))), int(np.floor(np.log10(largest))) + 1)
    ticks = sorted([0.0, *(sign * 10.0**power for power in powers for sign in (-1, 1))])
    scale = alt.Scale(type="symlog", constant=unit, nice=False)
    axis = alt.Axis(grid=False, values=ticks, labelExpr=POWERS, labelOverlap=True)
    x = alt.X("value:Q", title="eigenvalue", scale=scale, axis=axis)
    heights = alt.Axis(labelExpr=POWERS, values=list(log_ticks(LEAST_DENSITY, 10.0)))
    y = alt.Y("density:Q", title="density", scale=alt.Scale(type="log", nice=False), axis=heights)
    return layered(*lines(styles, x, y, *_numbers("value:Q", "density:Q"), marked=None))


# -- both


def _named(values: Any) -> tuple[str, str]:
    """What a group of `CURVE` is called in text and in file names."""
    setup, regime, momentum = Setup(shared_values(values[: len(SHARED)])), str(values[-2]), float(values[-1])
    name = f"{setup.title}: {curve_name(regime, momentum)}"
    return name, file_name(*setup.slug, regime, f"m{momentum:g}")


def _numbers(*fields: str) -> list[alt.Tooltip]:
    return [alt.Tooltip(field, format=".3~g") for field in fields]
