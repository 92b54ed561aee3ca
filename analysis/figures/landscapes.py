"""Templates LAND1D, LAND2D and INTERP: the loss around the weights, along eigenvectors or between two networks."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import altair as alt
import numpy as np

from analysis.figures.figure import DATA, HEIGHT, WIDTH, Figure, Spec, specification
from analysis.figures.representatives import (
    LANDSCAPE,
    Representative,
    Representatives,
    arrays,
    decades,
    entries,
    heading,
)
from analysis.tables.table import StudyTable
from analysis.theme import SeriesStyle
from search_spaces.large_batch import SUBSET

SURFACES = {
    "train": SeriesStyle("training loss", "#2A6FB0", "circle"),
    "test": SeriesStyle("test loss", "#D62728", "triangle-up"),
    "batch": SeriesStyle(f"loss of {SUBSET} training images", "#1E8E5A", "square"),
}
"""Blue, red and green as in the figures of Yao et al. 2018."""

SEAM = 2.1
"""Sides of a heat map's cells in half steps: a little over 2, since edges that only touch let the paper through."""

MARKS = 12
"""Points drawn on a line, so that its shape tells it apart without colour."""


def line_figures(
    table: StudyTable, dataset: str, model: str, representatives: Representatives, *, kind: str
) -> list[Figure]:
    """One figure a network: the losses along the top eigenvector (`line`) or from M_ORI (`interpolation`)."""
    found = []
    for network in representatives(table, dataset, model):
        stored = arrays(table, network.trial_id)
        records, hessian = [], 0
        for entry in entries(table, "landscapes", network, LANDSCAPE):
            surface = _surface(entry, network)
            if entry["kind"] != kind or surface is None or not {entry["offsets"], entry["losses"]} <= set(stored):
                continue
            records += _line(SURFACES[surface].label, stored[entry["offsets"]], stored[entry["losses"]])
            hessian = int(entry["hessian_size"] or 0)
        if any(record["loss"] is not None for record in records):
            found.append((network, records, hessian))
    losses = [r["loss"] for _, records, _ in found for r in records if r["loss"] is not None]
    return [_line_figure(dataset, model, *one, kind, (min(losses), max(losses))) for one in found]


def _surface(entry: Mapping[Any, Any], network: Representative) -> str | None:
    whole = {"train": network.row["train_size"], "test": network.row["test_size"]}
    if entry["subset_size"] == whole.get(str(entry["split"])):
        return str(entry["split"])
    return "batch" if entry["split"] == "train" else None


def _line(label: str, offsets: Any, losses: Any) -> list[dict[str, Any]]:
    steps = max(1, len(offsets) // MARKS)
    return [
        {
            "curve": label,
            "offset": float(f"{offset:.6g}"),
            "loss": float(f"{loss:.6g}") if np.isfinite(loss) and loss > 0 else None,
            "mark": k % steps == 0,
        }
        for k, (offset, loss) in enumerate(zip(np.asarray(offsets, float), np.asarray(losses, float), strict=True))
    ]


def _line_figure(
    dataset: str,
    model: str,
    network: Representative,
    records: list[dict[str, Any]],
    hessian: int,
    kind: str,
    span: tuple[float, float],
) -> Figure:
    drawn = tuple(style for style in SURFACES.values() if any(r["curve"] == style.label for r in records))
    between = kind == "interpolation"
    x_title = "fraction of the way, M_ORI at 0, M_ADV at 1" if between else "distance along v₁"
    what = (
        f"Loss on the straight line in weight space from M_ORI (0) to {network.label} (1), log axis."
        if between
        else f"Loss along the top eigenvector of the Hessian on {hessian:,} training images, log axis."
    )
    at_zero = [r for r in records if r["offset"] == 0.0 and r["loss"] is not None]
    return Figure(
        name=f"{kind}-{dataset}-{model}-{network.label.replace(' ', '-').lower()}",
        title=f"{heading(dataset, model)}: {network.label}",
        template=_lines(drawn, x_title, span),
        data={DATA: records},
        caption=f"{what} {network.told}",
        description=f"{heading(dataset, model)}, {network.label}: {what} "
        + " ".join(f"{r['curve']} at 0: {r['loss']:.3g}." for r in at_zero),
        legend=drawn,
        cell=network.cell_id,
    )


@cache
def _lines(styles: tuple[SeriesStyle, ...], x_title: str, span: tuple[float, float]) -> Spec:
    """`span`: least and largest loss of all networks, so that their figures share one axis."""
    names = [style.label for style in styles]
    colours = alt.Scale(domain=names, range=[style.colour for style in styles])
    shapes = alt.Scale(domain=names, range=[style.shape for style in styles])
    base = alt.Chart(alt.NamedData(name=DATA)).transform_filter("isValid(datum.loss)")
    x = alt.X("offset:Q", title=x_title, axis=alt.Axis(grid=False, tickCount=5), scale=alt.Scale(nice=False))
    scale = alt.Scale(type="log", domain=[span[0] / 1.3, span[1] * 1.3], nice=False)
    axis = alt.Axis(format="~r", values=decades(*span))
    y = alt.Y("loss:Q", title="cross-entropy", scale=scale, axis=axis)
    colour = alt.Color("curve:N", scale=colours, legend=alt.Legend(title=None, symbolOpacity=1))
    chart = alt.layer(
        base.mark_line(strokeWidth=1.7).encode(x=x, y=y, color=colour),
        base.transform_filter("datum.mark")
        .mark_point(size=34, strokeWidth=1.4, opacity=1, filled=True)
        .encode(
            x=x,
            y=y,
            color=colour,
            shape=alt.Shape("curve:N", scale=shapes, legend=alt.Legend(title=None)),
            tooltip=["curve:N", alt.Tooltip("offset:Q", format=".3~g"), alt.Tooltip("loss:Q", format=".4~g")],
        ),
    )
    return specification(chart.properties(width=WIDTH, height=HEIGHT))


def plane_figures(table: StudyTable, dataset: str, model: str, representatives: Representatives) -> list[Figure]:
    """Two figures a network: the training and the test loss over the plane of the first two eigenvectors."""
    found = []
    for network in representatives(table, dataset, model):
        stored = arrays(table, network.trial_id)
        for entry in entries(table, "landscapes", network, LANDSCAPE):
            surface = _surface(entry, network)
            if entry["kind"] != "plane" or surface not in SURFACES:
                continue
            if {entry["offsets"], entry["losses"]} <= set(stored):
                losses = np.asarray(stored[entry["losses"]], float)
                found.append((network, surface, np.asarray(stored[entry["offsets"]], float), losses, entry))
    everything = [losses[np.isfinite(losses) & (losses > 0)] for *_, losses, _ in found]
    if not any(part.size for part in everything):
        return []
    low, high = min(part.min() for part in everything if part.size), max(part.max() for part in everything if part.size)
    limits = float(f"{low:.3g}"), float(f"{high:.3g}")
    return [_plane_figure(dataset, model, *one, limits) for one in found]


def _plane_figure(
    dataset: str,
    model: str,
    network: Representative,
    surface: str,
    offsets: Any,
    losses: Any,
    entry: Mapping[Any, Any],
    limits: tuple[float, float],
) -> Figure:
    half = float(np.diff(offsets).mean()) / 2 if len(offsets) > 1 else 0.5
    values = [
        {
            "v1": float(f"{a:.5g}"), "v1_end": float(f"{a + SEAM * half:.5g}"),
            "v2": float(f"{b:.5g}"), "v2_end": float(f"{b + SEAM * half:.5g}"),
            "loss": float(f"{losses[i, j]:.5g}"),
        }
        for i, a in enumerate(offsets - half)
        for j, b in enumerate(offsets - half)
        if np.isfinite(losses[i, j]) and losses[i, j] > 0
    ]  # fmt: skip
    label = SURFACES[surface].label
    what = (
        f"{label.capitalize()} over the first two eigenvectors of the Hessian on {int(entry['hessian_size']):,} "
        "training images; log colours, the same for all heat maps of this figure."
    )
    return Figure(
        name=f"plane-{dataset}-{model}-{network.label.replace(' ', '-')}-{surface}",
        title=f"{heading(dataset, model)}: {network.label}, {label}",
        template=_heat(limits),
        data={DATA: values},
        caption=f"{what} {network.told}",
        description=f"Heat map. {heading(dataset, model)}, {network.label}: {what} Losses from "
        f"{np.nanmin(losses):.3g} to {np.nanmax(losses):.3g}.",
        cell=network.cell_id,
    )


@cache
def _heat(limits: tuple[float, float]) -> Spec:
    plain: dict[str, Any] = {"scale": alt.Scale(nice=False, zero=False), "axis": alt.Axis(grid=False)}
    colours = alt.Scale(type="log", scheme="viridis", domain=list(limits), nice=False)
    chart = (
        alt.Chart(alt.NamedData(name=DATA))
        .mark_rect()
        .encode(
            x=alt.X("v1:Q", title="distance along v₁", **plain),
            x2="v1_end:Q",
            y=alt.Y("v2:Q", title="distance along v₂", **plain),
            y2="v2_end:Q",
            color=alt.Color("loss:Q", title="cross-entropy", scale=colours),
            tooltip=[
                alt.Tooltip("v1:Q", title="from v₁", format=".3~g"),
                alt.Tooltip("v2:Q", title="from v₂", format=".3~g"),
                alt.Tooltip("loss:Q", format=".4~g"),
            ],
        )
    )
    return specification(chart.properties(width=WIDTH, height=HEIGHT))
