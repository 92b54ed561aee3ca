"""The plane of curvature and robustness: cells as points, counterexamples as arrows."""

from __future__ import annotations

from functools import cache
from typing import Any

import altair as alt
import pandas as pd

from analysis.figures.batch_size import SPLITS
from analysis.figures.curve_sets import Setup
from analysis.figures.figure import DATA, HEIGHT, WIDTH, Figure, Spec, curve_channels, rounded, specification
from analysis.figures.figure_data import FigureData
from analysis.tables.words import name
from analysis.theme import PAPER, SeriesStyle, regime_style

PAIRS = "pairs"

CONFIRMED, UNCONFIRMED = "#C2378A", "#7A7A7A"

MAX_ARROWS = 6
"""A curve along which everything rises has a pair for every two of its cells: only the most severe are drawn."""


def scatter_figure(
    data: FigureData, setup: Setup, *, attack: str, loss: str, epsilon: float, curvature: str
) -> Figure | None:
    """The cells of one setup under one attack: lambda1 (log axis) against adversarial accuracy, by regime."""
    cells = _cells(data, setup, attack=attack, loss=loss, epsilon=epsilon, curvature=curvature)
    if cells.empty:
        return None
    styles, split = _styles(cells), curvature.removeprefix("lambda1_")
    under = f"{name(attack)} at ε = {epsilon:g}, {name(loss)}"
    return Figure(
        name="-".join((*setup.slug, "plane", attack, loss, split)),
        title=f"{setup.title}: λ₁ and accuracy under {under}",
        template=_plane(styles, split),
        data={DATA: _records(cells)},
        caption=f"{under}. One point per cell ({len(cells)} cells, means over seeds).",
        description=f"Scatter plot. {setup.title}: top Hessian eigenvalue against adversarial accuracy under {under}.",
        legend=styles,
        attack=attack,
    )


def arrow_figure(data: FigureData, setup: Setup, pairs: pd.DataFrame) -> Figure | None:
    """The pairs of one setup, attack and curvature as arrows from the smaller batch size to the larger.

    `pairs`: rows of `CounterexampleReport.found` that agree in everything but regime, momentum and batch sizes.
    """
    first, found = pairs.iloc[0], len(pairs)
    counts = ", ".join(f"{n} {label}" for label, n in pairs["label"].value_counts().items())
    pairs = pairs.sort_values("severity", ascending=False, kind="stable").head(MAX_ARROWS)
    attack, loss, epsilon = str(first["attack"]), str(first["loss"]), float(first["epsilon"])
    curvature = str(first["curvature"])
    cells = _cells(data, setup, attack=attack, loss=loss, epsilon=epsilon, curvature=curvature)
    if cells.empty:
        return None
    styles, split = _styles(cells), curvature.removeprefix("lambda1_")
    under = f"{name(attack)} at ε = {epsilon:g}, {name(loss)}"
    shown = f"; the {len(pairs)} most severe are drawn" if len(pairs) < found else ""
    return Figure(
        name="-".join((*setup.slug, "counterexamples", attack, f"eps{epsilon:g}", loss, split)),
        title=f"{setup.title}: counterexamples under {under}",
        template=_arrows(styles, split),
        data={DATA: _records(cells), PAIRS: _arrow_ends(pairs, data)},
        caption=f"{under}: {counts}{shown}. Each arrow runs from the smaller batch (thin) to the larger (thick).",
        description=f"Scatter plot with arrows. {setup.title}: pairs of cells of which the sharper is the more "
        f"robust, under {under}: {counts}.",
        legend=styles,
        attack=attack,
    )


@cache
def _plane(styles: tuple[SeriesStyle, ...], split: str) -> Spec:
    return specification(_points(styles, _axes(split)).properties(width=WIDTH, height=HEIGHT))


@cache
def _arrows(styles: tuple[SeriesStyle, ...], split: str) -> Spec:
    axes = _axes(split)
    ends = alt.Chart(alt.NamedData(name=PAIRS))
    colour = alt.condition("datum.label == 'confirmed'", alt.value(CONFIRMED), alt.value(UNCONFIRMED))
    width = alt.Size("end:Q", scale=alt.Scale(domain=[0, 1], range=[0.5, 4.5]), legend=None)
    arrows = ends.mark_trail(opacity=0.85).encode(
        x=axes[0], y=axes[1], detail="pair:N", order="end:Q", fill=colour, size=width
    )
    return specification(alt.layer(arrows, _points(styles, axes)).properties(width=WIDTH, height=HEIGHT))


def _cells(data: FigureData, setup: Setup, *, attack: str, loss: str, epsilon: float, curvature: str) -> pd.DataFrame:
    cells = data.answers("cells", setup, attack=attack, loss=loss, split="test", epsilon=epsilon)
    return cells.assign(lambda1=2.0 ** cells[f"log2_{curvature}"]).dropna(subset=["lambda1", "accuracy"])


def _styles(cells: pd.DataFrame) -> tuple[SeriesStyle, ...]:
    return tuple(regime_style(str(regime)) for regime in sorted(cells["regime"].unique(), key=_rank))


def _rank(regime: str) -> tuple[int, str]:
    order = ("lr", "lr_bs", "benchmark")
    return (order.index(regime) if regime in order else len(order), regime)


def _records(cells: pd.DataFrame) -> list[dict[str, Any]]:
    columns = ("cell_id", "regime", "momentum", "batch_size", "lambda1", "accuracy", "n_seeds", "sound")
    return [
        {
            "cell": str(cell_id),
            "curve": regime_style(str(regime)).label,
            "momentum": float(momentum),
            "batch_size": int(batch_size),
            "lambda1": rounded(lambda1),
            "accuracy": rounded(accuracy),
            "seeds": int(n_seeds),
            "hollow": not sound,
        }
        for cell_id, regime, momentum, batch_size, lambda1, accuracy, n_seeds, sound in zip(
            *(cells[column].tolist() for column in columns), strict=True
        )
    ]


def _arrow_ends(pairs: pd.DataFrame, data: FigureData) -> list[dict[str, Any]]:
    return [
        {
            "pair": number,
            "end": end,
            "cell": data.cell_id(pair | {"batch_size": pair[f"batch_{side}"]}),
            "lambda1": rounded(pair[f"lambda1_{side}"]),
            "accuracy": rounded(pair[f"accuracy_{side}"]),
            "label": str(pair["label"]),
        }
        for number, pair in enumerate(pairs.to_dict("records"))
        for end, side in enumerate(("i", "j"))
    ]


def _axes(split: str) -> tuple[alt.X, alt.Y]:
    x = alt.X(
        "lambda1:Q",
        title=f"λ₁ ({SPLITS[split]} set)",
        scale=alt.Scale(type="log", base=2, nice=False, padding=12),
        axis=alt.Axis(format="~g", tickCount=5, grid=False),
    )
    y = alt.Y(
        "accuracy:Q",
        title="adversarial accuracy",
        scale=alt.Scale(zero=False, padding=10, nice=True),
        axis=alt.Axis(format="~%", tickCount=5),
    )
    return x, y


def _points(styles: tuple[SeriesStyle, ...], axes: tuple[alt.X, alt.Y]) -> alt.Chart:
    channels = curve_channels(styles)
    points: alt.Chart = (
        alt.Chart(alt.NamedData(name=DATA))
        .mark_point(size=52, strokeWidth=1.5, opacity=1)
        .encode(
            x=axes[0],
            y=axes[1],
            color=channels.color,
            shape=channels.shape,
            fill=alt.condition("datum.hollow", alt.value(PAPER), channels.fill),
            tooltip=[
                alt.Tooltip("curve:N", title="regime"),
                alt.Tooltip("momentum:Q"),
                alt.Tooltip("batch_size:Q", title="batch size", format="d"),
                alt.Tooltip("lambda1:Q", title="λ₁", format=".4~g"),
                alt.Tooltip("accuracy:Q", format=".2%"),
                alt.Tooltip("seeds:Q"),
            ],
        )
    )
    return points
