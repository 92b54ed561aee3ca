"""Template SPECTRUM: the top eigenvalues of the Hessian by index, one line a network, signs kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np

from analysis.claims.large_batch_measures import converged
from analysis.figures.figure import DATA, Figure, Spec, encoded, layer, layered
from analysis.figures.representatives import SPECTRUM, Representative, Representatives, decades, entries, heading
from analysis.tables.table import StudyTable
from analysis.theme import PAPER, SeriesStyle

LEAST = 2
"""A spectrum of one eigenvalue is lambda1, which has figures of its own."""

LINEAR_SHARE = 1e-3
"""On a symlog axis the part around zero that is linear, as a share of the largest modulus."""


def spectrum_figure(
    table: StudyTable, dataset: str, model: str, representatives: Representatives, *, size: int, draw: int = 0
) -> Figure | None:
    """The spectra on `size` training images (0: all of them), or None where there are none."""
    drawn = []
    for network in representatives(table, dataset, model):
        wanted = size or int(network.row["train_size"])
        for entry in entries(table, "spectra", network, SPECTRUM):
            number = 0 if entry["draw"] is None or np.isnan(entry["draw"]) else int(entry["draw"])
            asked = (entry["split"], int(entry["subset_size"]), number)
            if asked == ("train", wanted, draw) and len(entry["eigenvalues"]) >= LEAST:
                drawn.append((network, entry))
                break
    if not drawn:
        return None
    values = [record for network, entry in drawn for record in _records(network, entry)]
    styles = tuple(network.style for network, _ in drawn)
    sample = f"B_H = {int(drawn[0][1]['subset_size']):,}" + (f" (draw {draw + 1})" if size == 1 else "")
    loose = sum(not value["converged"] for value in values)
    residual = max(float(np.max(np.abs(entry["residuals"]))) for _, entry in drawn)
    seeds = sorted({int(network.row["seed"]) for network, _ in drawn})
    negative = sum(value["value"] < 0 for value in values)
    return Figure(
        name=f"spectrum-{dataset}-{model}-{size or 'all'}-{draw}",
        title=f"{heading(dataset, model)}: {sample}",
        template=_template(styles, [value["value"] for value in values]),
        data={DATA: values},
        caption=(
            f"Eigenvalues of the Hessian of the training loss on {_images(drawn[0][1])}, largest "
            f"first; {negative} of {len(values)} negative. Seed {', '.join(map(str, seeds))} of each network. Largest "
            f"residual {residual:.1g} of the top eigenvalue; "
            + (f"{loose} not converged (hollow)." if loose else "all converged.")
        ),
        description=f"{heading(dataset, model)}: top Hessian eigenvalues, {sample}, by index. "
        + " ".join(f"{p.label}: {max(e['eigenvalues']):.3g} down to {min(e['eigenvalues']):.3g}." for p, e in drawn),
        legend=styles,
    )


def _images(entry: dict[Any, Any]) -> str:
    size = int(entry["subset_size"])
    return "one image" if size == 1 else f"{size:,} images"


def _records(network: Representative, entry: dict[Any, Any]) -> list[dict[str, Any]]:
    ordered = sorted((float(value) for value in entry["eigenvalues"]), reverse=True)
    return [
        {
            "cell": network.cell_id,
            "curve": network.label,
            "index": k + 1,
            "value": float(f"{value:.6g}"),
            "converged": converged(entry, k),
        }
        for k, value in enumerate(ordered)
    ]


def _template(styles: Sequence[SeriesStyle], values: Sequence[float]) -> Spec:
    largest = max(abs(value) for value in values) or 1.0
    if min(values) > 0:
        scale = alt.Scale(type="log", nice=False, padding=8)
    else:
        scale = alt.Scale(type="symlog", constant=float(f"{LINEAR_SHARE * largest:.2g}"), nice=False, padding=8)
    names = [style.label for style in styles]
    colours = alt.Scale(domain=names, range=[style.colour for style in styles])
    shapes = alt.Scale(domain=names, range=[style.shape for style in styles])
    x = encoded(alt.X("index:Q", title="index of the eigenvalue", axis=alt.Axis(values=[1, 5, 10, 15, 20], grid=False)))
    ticks = alt.Axis(format="~r", values=_ticks(values), labelOverlap=min(values) > 0)
    y = encoded(alt.Y("value:Q", title="eigenvalue", scale=scale, axis=ticks))
    colour = encoded(alt.Color("curve:N", scale=colours, legend=alt.Legend(title=None, symbolOpacity=1)))
    own = encoded(alt.Fill("curve:N", scale=colours, legend=None))
    shape = encoded(alt.Shape("curve:N", scale=shapes, legend=alt.Legend(title=None)))
    fill = {"condition": {"test": "datum.converged", **own}, "value": PAPER}
    shown = ("curve:N", "index:Q", alt.Tooltip("value:Q", format=".4~g"), "converged:N")
    tooltip = [encoded(alt.Tooltip(one) if isinstance(one, str) else one) for one in shown]
    zero = layer({"type": "rule", "strokeWidth": 0.8, "opacity": 0.15}, "datum.index == 1", y={"datum": 0.0})
    line = layer({"type": "line", "strokeWidth": 1.3, "opacity": 0.75}, x=x, y=y, color=colour)
    point = layer(
        {"type": "point", "size": 26, "strokeWidth": 1.3, "opacity": 1},
        x=x, y=y, color=colour, shape=shape, fill=fill, tooltip=tooltip,
    )  # fmt: skip
    return layered(*([zero] if min(values) <= 0 else []), line, point)


def _ticks(values: Sequence[float]) -> list[float]:
    """Powers of ten; on a symlog axis zero and those of the two largest decades on either side."""
    if min(values) > 0:
        ticks = decades(min(values), max(values))
        return [step * tick for tick in ticks for step in ((1, 2, 5) if len(ticks) < 4 else (1,))]
    largest = max(abs(value) for value in values) or 1.0
    top = int(np.floor(np.log10(largest)))
    around = [0.0]
    for sign in (1, -1):
        reach = max((sign * value for value in values), default=0.0)
        around += [sign * 10.0**k for k in range(top - 1, top + 1) if 10.0**k <= 1.5 * reach]
    return sorted(around)
