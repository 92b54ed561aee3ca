"""Template SPECTRUM: the top eigenvalues of the Hessian by index, one line per network, signs kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np

from analysis.claims.measures import converged
from analysis.figures.batch_size import log_ticks
from analysis.figures.figure import DATA, POWERS, Figure, Spec, file_name, layer, layered, lines, rounded
from analysis.figures.representatives import SPECTRUM, Representative, entries
from analysis.tables.table import StudyTable
from analysis.theme import SeriesStyle

MIN_EIGENVALUES = 2
"""A spectrum of one eigenvalue is lambda1, which has figures of its own."""

LINEAR_SHARE = 1e-3
"""On a symlog axis the part around zero that is linear, as a fraction of the largest modulus."""


def spectrum_figure(
    table: StudyTable, networks: Sequence[Representative], *, size: int, draw: int = 0
) -> Figure | None:
    """The spectra on `size` training images (0: all of them), or None if there are none.

    `draw` numbers the random samples of one size.
    """
    drawn = []
    for network in networks:
        wanted = size or int(network.row["train_size"])
        for entry in entries(table, "spectra", network, SPECTRUM):
            measured = (entry["split"], int(entry["subset_size"]), int(entry["draw"]))
            finite = np.isfinite(entry["eigenvalues"]).all()
            if measured == ("train", wanted, draw) and len(entry["eigenvalues"]) >= MIN_EIGENVALUES and finite:
                drawn.append((network, entry))
                break
    if not drawn:
        return None
    first, count = drawn[0][0], int(drawn[0][1]["subset_size"])
    values = [record for network, entry in drawn for record in _records(network, entry)]
    styles = tuple(network.style for network, _ in drawn)
    sample = f"B_H = {count:,}" + (f" (draw {draw + 1})" if size == 1 else "")
    images = "one image" if count == 1 else f"{count:,} images"
    loose = sum(not value["converged"] for value in values)
    residual = max(float(np.max(np.abs(entry["residuals"]))) for _, entry in drawn)
    seeds = sorted({int(network.row["seed"]) for network, _ in drawn})
    negative = sum(value["value"] < 0 for value in values)
    return Figure(
        name=file_name("spectrum", first.slug, f"{size or 'all'}", f"{draw}"),
        title=f"{first.where}: {sample}",
        template=_template(styles, [value["value"] for value in values]),
        data={DATA: values},
        caption=(
            f"Eigenvalues of the Hessian of the training loss on {images}, largest "
            f"first; {negative} of {len(values)} negative. Seed {', '.join(map(str, seeds))} of each network. Largest "
            f"residual: {residual:.1g}, relative to the top eigenvalue; "
            + (f"{loose} not converged (hollow)." if loose else "all converged.")
        ),
        description=f"{first.where}: top Hessian eigenvalues, {sample}, by index. "
        + " ".join(f"{n.label}: {max(e['eigenvalues']):.3g} down to {min(e['eigenvalues']):.3g}." for n, e in drawn),
        legend=styles,
    )


def _records(network: Representative, entry: dict[Any, Any]) -> list[dict[str, Any]]:
    ordered = sorted((float(value) for value in entry["eigenvalues"]), reverse=True)
    return [
        {
            "cell": network.cell_id,
            "curve": network.label,
            "index": k + 1,
            "value": rounded(value),
            "converged": converged(entry, k),
        }
        for k, value in enumerate(ordered)
    ]


def _template(styles: Sequence[SeriesStyle], values: Sequence[float]) -> Spec:
    if min(values) > 0:
        scale = alt.Scale(type="log", nice=False, padding=8)
    else:
        largest = max(abs(value) for value in values) or 1.0
        scale = alt.Scale(type="symlog", constant=float(f"{LINEAR_SHARE * largest:.2g}"), nice=False, padding=8)
    x = alt.X("index:Q", title="index of the eigenvalue", axis=alt.Axis(values=[1, 5, 10, 15, 20], grid=False))
    ticks = alt.Axis(labelExpr=POWERS, values=_ticks(values), labelOverlap=min(values) > 0)
    y = alt.Y("value:Q", title="eigenvalue", scale=scale, axis=ticks)
    shown = (alt.Tooltip("index:Q"), alt.Tooltip("value:Q", format=".4~g"), alt.Tooltip("converged:N"))
    zero = layer({"type": "rule", "strokeWidth": 0.8, "opacity": 0.15}, "datum.index == 1", y={"datum": 0.0})
    curves = lines(styles, x, y, *shown, hollow_unless="datum.converged")
    return layered(*([zero] if min(values) <= 0 else []), *curves)


def _ticks(values: Sequence[float]) -> list[float]:
    """Those of a log axis; on a symlog axis zero and the powers of ten of the two largest decades on either side."""
    if min(values) > 0:
        return list(log_ticks(min(values), max(values)))
    largest = max(abs(value) for value in values) or 1.0
    top = int(np.floor(np.log10(largest)))
    around = [0.0]
    for sign in (1, -1):
        reach = max((sign * value for value in values), default=0.0)
        around += [sign * 10.0**k for k in range(top - 1, top + 1) if 10.0**k <= 1.5 * reach]
    return sorted(around)
