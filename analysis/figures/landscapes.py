"""Templates LAND1D, LAND2D and INTERP: the loss around the weights, along eigenvectors or between two networks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import altair as alt
import numpy as np
from numpy.typing import NDArray

from analysis.figures.batch_size import log_ticks
from analysis.figures.figure import DATA, POWERS, Figure, Spec, encoded, file_name, layer, layered, lines, rounded
from analysis.figures.representatives import LANDSCAPE, Representative, arrays, entries
from analysis.tables.table import StudyTable
from analysis.theme import SeriesStyle
from search_spaces.large_batch import SUBSET

SURFACES = {
    "train": SeriesStyle("training loss", "#2A6FB0", "circle"),
    "test": SeriesStyle("test loss", "#D62728", "triangle-up"),
    "batch": SeriesStyle(f"loss of {SUBSET} training images", "#1E8E5A", "square"),
}
"""Blue, red and green as in the figures of Yao et al. 2018."""

CELL_SIDE = 2.1
"""Side of a heat map's cells in half steps: a little over 2, since a thin gap shows between edges that only touch."""

MARKS = 12
"""Points drawn on a line, so that its shape identifies it without colour."""


class Landscape(NamedTuple):
    """Losses of one network: `offsets` of shape (n,), `losses` of shape (n,) or (n, n)."""

    network: Representative
    style: SeriesStyle
    surface: str
    offsets: NDArray[np.float64]
    losses: NDArray[np.float64]
    hessian_size: int


def _landscapes(table: StudyTable, networks: Sequence[Representative], kind: str) -> Iterator[Landscape]:
    """The stored landscapes of one kind, network by network."""
    for network in networks:
        stored = arrays(table, network)
        for entry in entries(table, "landscapes", network, LANDSCAPE):
            surface = _surface(entry, network)
            if entry["kind"] == kind and surface and {entry["offsets"], entry["losses"]} <= set(stored):
                offsets, losses = (np.asarray(stored[entry[part]], float) for part in ("offsets", "losses"))
                yield Landscape(network, SURFACES[surface], surface, offsets, losses, int(entry["hessian_size"] or 0))


def _surface(entry: Mapping[Any, Any], network: Representative) -> str | None:
    """Which key of `SURFACES` the losses of an entry belong to."""
    whole = {"train": network.row["train_size"], "test": network.row["test_size"]}
    if entry["subset_size"] == whole.get(str(entry["split"])):
        return str(entry["split"])
    return "batch" if entry["split"] == "train" else None


def line_figures(table: StudyTable, networks: Sequence[Representative], *, kind: str) -> list[Figure]:
    """One figure per network: the losses along the top eigenvector (`line`) or from M_ORI (`interpolation`).

    All have the same axis of losses.
    """
    by_network: dict[str, list[Landscape]] = {}
    for found in _landscapes(table, networks, kind):
        by_network.setdefault(found.network.trial_id, []).append(found)
    drawn = [(lines, [record for line in lines for record in _line(line)]) for lines in by_network.values()]
    losses = [record["loss"] for _, records in drawn for record in records if record["loss"] is not None]
    return [
        _line_figure(lines, records, kind, (min(losses), max(losses)))
        for lines, records in drawn
        if any(record["loss"] is not None for record in records)
    ]


def _line(line: Landscape) -> list[dict[str, Any]]:
    steps = max(1, len(line.offsets) // MARKS)
    return [
        {
            "curve": line.style.label,
            "offset": float(f"{offset:.6g}"),
            "loss": rounded(loss) if loss > 0 else None,
            "mark": k % steps == 0,
        }
        for k, (offset, loss) in enumerate(zip(line.offsets, line.losses, strict=True))
    ]


def _line_figure(
    lines: Sequence[Landscape], records: list[dict[str, Any]], kind: str, span: tuple[float, float]
) -> Figure:
    network = lines[0].network
    styles = tuple(style for style in SURFACES.values() if any(line.style == style for line in lines))
    if kind == "interpolation":
        x_title = "fraction of the way, M_ORI at 0, M_ADV at 1"
        what = f"Loss on the straight line in weight space from M_ORI (0) to {network.label} (1), log axis."
    else:
        x_title = "distance along v₁"
        what = f"Loss along the top eigenvector of the Hessian on {lines[-1].hessian_size:,} training images, log axis."
    at_zero = [r for r in records if r["offset"] == 0.0 and r["loss"] is not None]
    return Figure(
        name=file_name(kind, network.slug, network.label.lower()),
        title=f"{network.where}: {network.label}",
        template=_lines(styles, x_title, span),
        data={DATA: records},
        caption=f"{what} {network.note}",
        description=f"{network.where}, {network.label}: {what} "
        + " ".join(f"{r['curve']} at 0: {r['loss']:.3g}." for r in at_zero),
        legend=styles,
        cell=network.cell_id,
    )


@cache
def _lines(styles: tuple[SeriesStyle, ...], x_title: str, span: tuple[float, float]) -> Spec:
    """The chart of `line_figures`; `span` is the smallest and the largest loss of all networks."""
    x = alt.X("offset:Q", title=x_title, axis=alt.Axis(grid=False, tickCount=5), scale=alt.Scale(nice=False))
    low, high = span[0] / 1.3, span[1] * 1.3
    scale = alt.Scale(type="log", domain=[low, high], nice=False)
    y = alt.Y(
        "loss:Q",
        title="cross-entropy",
        scale=scale,
        axis=alt.Axis(labelExpr=POWERS, values=list(log_ticks(low, high))),
    )
    shown = (alt.Tooltip("offset:Q", format=".3~g"), alt.Tooltip("loss:Q", format=".4~g"))
    return layered(*lines(styles, x, y, *shown, known=["isValid(datum.loss)"], marked=["datum.mark"]))


def plane_figures(table: StudyTable, networks: Sequence[Representative]) -> list[Figure]:
    """Two figures per network: the training and the test loss over the plane of the first two eigenvectors."""
    planes = list(_landscapes(table, networks, "plane"))
    losses = np.concatenate([np.zeros(0), *(plane.losses.ravel() for plane in planes)])
    losses = losses[np.isfinite(losses) & (losses > 0)]
    if not losses.size:
        return []
    limits = float(f"{losses.min():.3g}"), float(f"{losses.max():.3g}")
    return [_plane_figure(plane, limits) for plane in planes]


def _plane_figure(plane: Landscape, limits: tuple[float, float]) -> Figure:
    network, offsets, losses = plane.network, plane.offsets, plane.losses
    half = float(np.diff(offsets).mean()) / 2 if len(offsets) > 1 else 0.5
    values = [
        {
            "v1": rounded(a, 5), "v1_end": rounded(a + CELL_SIDE * half, 5),
            "v2": rounded(b, 5), "v2_end": rounded(b + CELL_SIDE * half, 5),
            "loss": rounded(losses[i, j], 5),
        }
        for i, a in enumerate(offsets - half)
        for j, b in enumerate(offsets - half)
        if np.isfinite(losses[i, j]) and losses[i, j] > 0
    ]  # fmt: skip
    label = plane.style.label
    what = (
        f"{label.capitalize()} over the first two eigenvectors of the Hessian on {plane.hessian_size:,} "
        "training images; log colours, the same for all heat maps of this figure."
    )
    return Figure(
        name=file_name("plane", network.slug, network.label, plane.surface),
        title=f"{network.where}: {network.label}, {label}",
        template=_heat(limits),
        data={DATA: values},
        caption=f"{what} {network.note}",
        description=f"Heat map. {network.where}, {network.label}: {what} Losses from "
        f"{np.nanmin(losses):.3g} to {np.nanmax(losses):.3g}.",
        cell=network.cell_id,
    )


@cache
def _heat(limits: tuple[float, float]) -> Spec:
    plain: dict[str, Any] = {"scale": alt.Scale(nice=False, zero=False), "axis": alt.Axis(grid=False)}
    colours = alt.Scale(type="log", scheme="viridis", domain=list(limits), nice=False)
    legend = alt.Legend(labelExpr=POWERS)
    shown = (
        alt.Tooltip("v1:Q", title="from v₁", format=".3~g"),
        alt.Tooltip("v2:Q", title="from v₂", format=".3~g"),
        alt.Tooltip("loss:Q", format=".4~g"),
    )
    return layered(
        layer(
            {"type": "rect"},
            x=encoded(alt.X("v1:Q", title="distance along v₁", **plain)),
            x2={"field": "v1_end"},
            y=encoded(alt.Y("v2:Q", title="distance along v₂", **plain)),
            y2={"field": "v2_end"},
            color=encoded(alt.Color("loss:Q", title="cross-entropy", scale=colours, legend=legend)),
            tooltip=[encoded(one) for one in shown],
        )
    )
