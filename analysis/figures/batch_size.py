"""Accuracy (template ACC) and lambda1 (template LAM) against batch size: charts, captions and figures."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from analysis.figures.curve_sets import CurveSet, Setup
from analysis.figures.figure import DATA, HEIGHT, Figure, Spec, curve_channels, encoded, layer, layered, rounded
from analysis.figures.figure_data import FigureData
from analysis.tables.words import name
from analysis.theme import ADVERSARIAL_DASH, CLEAN_DASH, PAPER, SeriesStyle, number, percent

Record = dict[str, Any]

SPLITS = {"train": "training", "test": "test"}

MAX_OVERHANG = 4.0
"""The interval of two or three seeds can span decades: the log axis extends at most by this factor beyond the means."""


# -- the two figures


def accuracy_figure(
    data: FigureData,
    setup: Setup,
    curves: CurveSet,
    *,
    attack: str,
    epsilon: float,
    loss: str,
    others: tuple[float, ...] = (),
) -> Figure | None:
    """Clean (solid) and adversarial (dashed) test accuracy of a setup; None if no network has the attack's result.

    A picker on the page can set the chart's parameter `epsilon` to one of `others`.
    """
    clean = curves.select(data.rows("clean", setup))
    adversarial = {
        e: curves.select(data.answers("adversarial", setup, attack=attack, loss=loss, split="test", epsilon=e))
        for e in (epsilon, *others)
    }
    shown = adversarial[epsilon]
    if not shown["drawn"].any():
        return None
    values = records(clean, curves, "clean", percent)
    for cells in adversarial.values():
        values += records(cells, curves, "adversarial", percent)
    axis = ValueAxis("test accuracy", ".0%", ".2%")
    kinds = ("clean", "adversarial")
    under = f"{name(attack)} at ε = {epsilon:g}, {name(loss)}"
    strength = ", ε as chosen above" if others else f", ε = {epsilon:g}"
    return Figure(
        name="-".join((*setup.slug, curves.slug, attack, f"eps{epsilon:g}", loss)),
        title=f"{setup.title}: accuracy under {under}",
        template=template(batch_sizes(values), kinds, curves.styles, axis, epsilon if others else None),
        data={DATA: values},
        caption=f"Clean (solid) and {name(attack)} (dashed) test accuracy{strength}, {name(loss)}. "
        f"{replicates(shown)}{gaps_and_marks(clean, shown)}",
        description=f"{setup.title}, {curves.title}: clean and adversarial test accuracy against batch size under "
        f"{under}. Adversarial accuracy: {ends(shown, curves, percent)}",
        legend=curves.styles,
        attack=attack,
    )


def lambda1_figure(data: FigureData, setup: Setup, curves: CurveSet, *, split: str) -> Figure | None:
    """lambda1 of a setup on a split, log axis; None if no eigenvalue is known."""
    eigenvalues = data.rows("lambda1", setup)
    cells = curves.select(eigenvalues[eigenvalues["split"] == split])
    figure_name = "-".join((*setup.slug, curves.slug, f"lambda1-{split}"))
    return eigenvalue_figure(cells, curves, split, setup.title, figure_name) if cells["drawn"].any() else None


def eigenvalue_figure(cells: pd.DataFrame, curves: CurveSet, split: str, where: str, figure_name: str) -> Figure:
    """lambda1 of `cells` (rows of `FigureData.lambda1`) on a log axis; `where` names their data set and model.

    Means are geometric. A cell with an eigenvalue that is not positive is a gap.
    """
    low, high = _log_limits(cells)
    on_split = f"on the {SPLITS[split]} set"
    return single_figure(
        cells,
        curves,
        ValueAxis(f"λ₁ ({SPLITS[split]} set)", "~g", ".4~g", (low, high), _log_ticks(low, high)),
        "eigenvalue",
        number,
        name=figure_name,
        title=f"{where}: λ₁ {on_split}",
        caption=f"Top eigenvalue λ₁ of the loss Hessian on the whole {SPLITS[split]} set, log axis, geometric means.",
        description=f"{where}, {curves.title}: top Hessian eigenvalue {on_split} against batch size, log axis.",
        hollow="the eigenvalue has not converged",
        no_value="no value, or one that is not positive",
    )


def single_figure(
    cells: pd.DataFrame,
    curves: CurveSet,
    axis: ValueAxis,
    kind: str,
    show: Callable[[float], str],
    *,
    name: str,
    title: str,
    caption: str,
    description: str,
    **marks: str,
) -> Figure:
    """A figure of one quantity; seeds, gaps and the ends of the curves are added to its texts.

    `kind` names the quantity in the records, `show` formats its values, `marks` are options of `gaps_and_marks`.
    """
    values = records(cells, curves, kind, show)
    return Figure(
        name=name,
        title=title,
        template=template(batch_sizes(values), (kind,), curves.styles, axis),
        data={DATA: values},
        caption=f"{caption} {replicates(cells)}{gaps_and_marks(cells, **marks)}",
        description=f"{description} {ends(cells, curves, show)}",
        legend=curves.styles,
    )


def _log_limits(cells: pd.DataFrame) -> tuple[float, float]:
    """Limits of the log axis: all means and intervals with a small margin; a very wide interval is cut."""
    drawn = cells[cells["drawn"]]
    means, limits = (drawn[columns].to_numpy(dtype=float) for columns in ("mean", ["mean", "low", "high"]))
    low = max(float(np.nanmin(limits)), float(means.min()) / MAX_OVERHANG)
    high = min(float(np.nanmax(limits)), float(means.max()) * MAX_OVERHANG)
    return low / 1.15, high * 1.15


def _log_ticks(low: float, high: float) -> tuple[float, ...]:
    """1, 2 and 5 times powers of ten between the limits, powers of ten alone when they are far apart.

    When the limits are so close that fewer than two of these lie between them: numbers of two digits.
    """
    decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    steps = (1, 2, 5) if len(decades) <= 4 else (1,)
    ticks = tuple(t for t in (float(f"{step}e{decade}") for decade in decades for step in steps) if low <= t <= high)
    if len(ticks) > 1:
        return ticks
    fine = [t for t in (float(f"{n}e{decade - 1}") for decade in decades for n in range(10, 100)) if low <= t <= high]
    return tuple(fine[:: max(1, len(fine) // 3)]) or (float(f"{low:.2g}"),)


# -- records: what the charts read of the cells

_FLAGS = {"floor": "attack at its floor", "untrained": "untrained", "suspect": "suspect attack"}
_UNFINISHED = ("diverged", "failed", "missing")
_READ = {
    *("epsilon", "cell_id", "batch_size", "mean", "low", "high", "n", "drawn", "segment", "alone", "hollow"),
    *("converged", *_UNFINISHED, *_FLAGS),
}


def records(cells: pd.DataFrame, curves: CurveSet, kind: str, show: Callable[[float], str]) -> list[Record]:
    """One record per cell (a row of `FigureData`), with None where there is no number; `show` formats a value."""
    out = []
    read = cells[[name for name in cells if name in _READ]]  # converting the other columns would take twice as long
    for cell, style in zip(read.to_dict("records"), curves.styles_of(cells), strict=True):
        drawn = bool(cell["drawn"])
        has_interval = drawn and math.isfinite(cell["low"])
        out.append(
            {
                **({"epsilon": cell["epsilon"]} if "epsilon" in cell else {}),
                "cell": str(cell["cell_id"]),
                "curve": style.label,
                "kind": kind,
                "batch_size": int(cell["batch_size"]),
                **{key: rounded(cell[key]) if drawn else None for key in ("mean", "low", "high")},
                "seeds": int(cell["n"]),
                "state": "ok" if drawn else next((s for s in _UNFINISHED if cell[s]), "no value"),
                "line": f"{style.label} {kind} {cell['segment']}",
                "alone": bool(cell["alone"]),
                "hollow": bool(cell["hollow"]),
                "interval": f"{show(cell['low'])} to {show(cell['high'])}" if has_interval else "–",
                "note": _note(cell),
            }
        )
    return out


def _note(cell: dict[Any, Any]) -> str:
    notes = [f"{cell[state]} {state}" for state in _UNFINISHED if cell[state]]
    notes += [text for flag, text in _FLAGS.items() if cell.get(flag)]
    if cell.get("converged") is False:
        notes.append("eigenvalue not converged")
    return ", ".join(notes) or "–"


def batch_sizes(data: Iterable[Record]) -> tuple[int, ...]:
    """The batch sizes of some records, ascending."""
    return tuple(sorted({record["batch_size"] for record in data}))


# -- sentences for captions and for screen readers, from the cells that are drawn


def replicates(cells: pd.DataFrame) -> str:
    """How many seeds are behind the means, and what the bands are."""
    counts = cells.loc[cells["drawn"], "n"]
    low, high = int(counts.min()), int(counts.max())
    if high == 1:
        return "One seed, so no interval."
    seeds = f"{low} seeds" if low == high else f"{low} to {high} seeds"
    return f"Means of {seeds}; bands are 95 % Student t intervals over seeds."


def gaps_and_marks(
    *parts: pd.DataFrame,
    hollow: str = "the attack is at its floor, or the cell is untrained or suspect",
    no_value: str = "no value",
) -> str:
    """What gaps, crosses and hollow marks in a panel mean; empty if it has none."""
    columns = ("drawn", "hollow", "diverged", "missing")
    drawn, marked, diverged, missing = (np.concatenate([part[c].to_numpy() for part in parts]) for c in columns)
    other = ~drawn & (diverged == 0)
    sentences = {
        " ✕ and a gap: training diverged.": ~drawn & (diverged > 0),
        " Other gaps: not run yet.": other & (missing > 0),
        f" Other gaps: {no_value}.": other & (missing == 0),
        f" Hollow marks: {hollow}.": drawn & marked.astype(bool),
    }
    return "".join(sentence for sentence, cells in sentences.items() if cells.any())


def ends(cells: pd.DataFrame, curves: CurveSet, show: Callable[[float], str]) -> str:
    """The first and last value of each curve in words."""
    drawn = cells[cells["drawn"]]
    values: dict[str, list[tuple[float, int]]] = {style.label: [] for style in curves.styles}
    for style, mean, size in zip(curves.styles_of(drawn), drawn["mean"], drawn["batch_size"], strict=True):
        values[style.label].append((mean, size))
    return " ".join(
        f"{label}: {show(curve[0][0])} at batch {curve[0][1]}, {show(curve[-1][0])} at {curve[-1][1]}."
        for label, curve in values.items()
        if curve
    )


# -- the chart


@dataclass(frozen=True)
class ValueAxis:
    """The vertical axis: its title, d3 formats of labels and tooltips, and its limits (`domain`).

    With `ticks` it is logarithmic and labelled there, else linear.
    """

    title: str
    label_format: str
    value_format: str
    domain: tuple[float, float] = (0.0, 1.0)
    ticks: tuple[float, ...] = ()

    def encode(self, field: str) -> Spec:
        """The encoding of `field` along this axis."""
        scale = alt.Scale(type="log" if self.ticks else "linear", domain=list(self.domain), nice=False)
        labels = {"values": list(self.ticks)} if self.ticks else {"tickCount": 5}
        axis = alt.Axis(format=self.label_format, **labels)
        return encoded(alt.Y(field, title=self.title, scale=scale, axis=axis))


@cache
def template(
    sizes: tuple[int, ...],
    kinds: tuple[str, ...],
    styles: tuple[SeriesStyle, ...],
    value_axis: ValueAxis,
    epsilon: float | None = None,
) -> Spec:
    """The panel: intervals, lines, marks (hollow where the record says so) and a cross where training diverged.

    It reads the records of the data set `DATA`. With `epsilon` the chart has a parameter of that name with this
    initial value, which selects the adversarial records to show.
    """
    every = [] if epsilon is None else ["!isValid(datum.epsilon) || datum.epsilon == epsilon"]
    drawn, seeded = "isValid(datum.mean)", "isValid(datum.low)"
    x, y = _batch_axis(sizes), value_axis.encode("mean:Q")
    limits = {"x": x, "y": value_axis.encode("low:Q"), "y2": encoded(alt.Y2("high:Q"))}
    channels = curve_channels(styles)
    colour, shape, fill = encoded(channels.color), encoded(channels.shape), encoded(channels.fill)
    fill["condition"] = {"test": "datum.hollow", "value": PAPER}
    detail, dash, tooltip = encoded(alt.Detail("line:N")), _dash(kinds), _tooltip(kinds, value_axis)
    spec = layered(
            layer({"type": "area", "opacity": 0.13, "clip": True}, *every, f"{seeded} && !datum.alone",
                  **limits, color=colour, detail=detail),
            layer({"type": "rule", "opacity": 0.6, "strokeWidth": 1.5, "clip": True},
                  *every, f"{seeded} && datum.alone", **limits, color=colour),
            layer({"type": "line", "strokeWidth": 1.9, "clip": True}, *every, drawn,
                  x=x, y=y, color=colour, strokeDash=dash, detail=detail),
            layer({"type": "point", "size": 46, "strokeWidth": 1.6, "opacity": 1, "clip": False}, *every, drawn,
                  x=x, y=y, color=colour, shape=shape, fill=fill, tooltip=tooltip),
            layer({"type": "text", "text": "✕", "fontSize": 11, "fontWeight": "bold", "clip": False},
                  *every, "datum.state == 'diverged'", x=x, y={"value": HEIGHT - 7}, color=colour, tooltip=tooltip),
    )  # fmt: skip
    return spec if epsilon is None else spec | {"params": [{"name": "epsilon", "value": epsilon}]}


def _dash(kinds: Sequence[str]) -> Spec:
    dashes = [CLEAN_DASH, ADVERSARIAL_DASH][: len(kinds)]
    legend = alt.Legend(title=None, symbolType="stroke") if len(kinds) > 1 else None
    return encoded(alt.StrokeDash("kind:N", scale=alt.Scale(domain=list(kinds), range=dashes), legend=legend))


def _tooltip(kinds: Sequence[str], value_axis: ValueAxis) -> list[Spec]:
    kind = [alt.Tooltip("kind:N", title="accuracy")] if len(kinds) > 1 else []
    lines = [
        alt.Tooltip("curve:N", title="curve"),
        *kind,
        alt.Tooltip("batch_size:Q", title="batch size", format="d"),
        alt.Tooltip("mean:Q", format=value_axis.value_format),
        alt.Tooltip("interval:N", title="95 % interval"),
        alt.Tooltip("seeds:Q", title="seeds"),
        alt.Tooltip("note:N", title="note"),
    ]
    return [encoded(line) for line in lines]


def _batch_axis(sizes: Sequence[int]) -> Spec:
    domain = [sizes[0] / 1.25, sizes[-1] * 1.25]
    axis = alt.X(
        "batch_size:Q",
        title="batch size",
        scale=alt.Scale(type="log", base=2, domain=domain, nice=False),
        axis=alt.Axis(values=list(sizes), format="d", grid=False, labelOverlap=True, labelFlush=False),
    )
    return encoded(axis)
