"""Accuracy (template ACC) and lambda1 (template LAM) against batch size: charts, captions and figures."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import chain
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from analysis.figures.curve_sets import CurveSet, Setup
from analysis.figures.figure import (
    DATA,
    HEIGHT,
    POWERS,
    Figure,
    Spec,
    curve_channels,
    encoded,
    file_name,
    layer,
    layered,
    rounded,
)
from analysis.figures.figure_data import FigureData
from analysis.figures.labels import END_LABELS, ROOM, end_labels, fits_beside, label_layers
from analysis.tables.words import name
from analysis.theme import DASHES, OTHER_DASHES, PAPER, SOLID, SeriesStyle, number, percent

Record = dict[str, Any]

SPLITS = {"train": "training", "test": "test"}
CLEAN = "clean"

WITHOUT_KIND = "eigenvalue"
"""The kind of the lines of a figure with one line a curve that stands for no loss."""

REACH = 0.2
"""The interval of a few seeds can be much wider than all their values: the axis follows it by at most this fraction of
the span of the values."""

MOST_FINE = 400
"""A log axis that spans less is labelled at 1, 2 and 5 times powers of ten."""

DODGE = 14.0
"""Pixels over which the marks of one batch size are spread, so that curves do not hide each other."""


# -- the figures


def clean_figure(data: FigureData, setup: Setup, curves: CurveSet) -> Figure | None:
    """Clean test accuracy of a setup; None if it is not known."""
    cells = curves.select(data.rows("clean", setup))
    if not cells["drawn"].any():
        return None
    return curve_figure(
        {CLEAN: cells},
        curves,
        ValueAxis("clean test accuracy", "~%", ".2%", limits(cells)),
        percent,
        name=file_name(*setup.slug, curves.slug, "clean"),
        title=f"{setup.title}: Clean accuracy",
        caption="Clean test accuracy.",
        description=f"{setup.title}, {curves.title}: clean test accuracy against batch size.",
    )


def accuracy_figure(
    data: FigureData, setup: Setup, curves: CurveSet, *, attack: str, epsilon: float, alone: bool = False
) -> Figure | None:
    """Adversarial test accuracy of a setup under each loss; None if no network has the attack's result at `epsilon`.

    All attacks of one epsilon have the same axis, but a figure that is shown `alone`.
    """
    question = {"attack": attack, "split": "test", "epsilon": epsilon}
    found = {
        name(loss): curves.select(data.answers("adversarial", setup, loss=loss, **question)) for loss in data.losses
    }
    shown = {loss: cells for loss, cells in found.items() if cells["drawn"].any()}
    if not shown:
        return None
    under = f"{name(attack)} at ε = {epsilon:g}"
    span = limits(pd.concat(shown.values())) if alone else data.once(_accuracy_limits, setup, curves)[epsilon]
    figure = curve_figure(
        shown,
        curves,
        ValueAxis("adversarial accuracy", "~%", ".2%", span),
        percent,
        name=file_name(*setup.slug, curves.slug, attack, f"eps{epsilon:g}"),
        title=f"{setup.title}: accuracy under {under}",
        caption=f"Test accuracy under {under}.",
        description=f"{setup.title}, {curves.title}: adversarial test accuracy against batch size under {under}.",
    )
    return replace(figure, attack=attack, epsilon=epsilon)


def _accuracy_limits(data: FigureData, setup: Setup, curves: CurveSet) -> dict[float, tuple[float, float]]:
    """Epsilon -> limits of the axis of all attacks."""
    cells = data.rows("adversarial", setup)
    cells = curves.select(cells[cells["split"] == "test"])
    return {float(str(epsilon)): limits(mine) for epsilon, mine in cells.groupby("epsilon")}


def clean_and_attacked_figure(
    data: FigureData, setup: Setup, curves: CurveSet, *, attack: str, epsilon: float
) -> Figure | None:
    """Clean accuracy and that under an attack on the published loss, on one axis as paper A draws them; None if no
    network has the attack's result at `epsilon`.
    """
    question = {"attack": attack, "loss": "ce", "split": "test", "epsilon": epsilon}
    attacked = curves.select(data.answers("adversarial", setup, **question))
    if not attacked["drawn"].any():
        return None
    parts = {CLEAN: curves.select(data.rows("clean", setup)), name("ce"): attacked}
    under = f"{name(attack)} at ε = {epsilon:g}"
    figure = curve_figure(
        parts,
        curves,
        ValueAxis("test accuracy", "~%", ".2%", limits(pd.concat(parts.values()))),
        percent,
        name=file_name(*setup.slug, curves.slug, "clean-and", attack, f"eps{epsilon:g}"),
        title=f"{setup.title}: accuracy under {under}",
        caption=f"Test accuracy, clean and under {under}.",
        description=f"{setup.title}, {curves.title}: clean test accuracy and that under {under} against batch size.",
    )
    return replace(figure, attack=attack, epsilon=epsilon)


def lambda1_figure(
    data: FigureData, setup: Setup, curves: CurveSet, *, splits: tuple[str, ...] = ("train", "test")
) -> Figure | None:
    """lambda1 of a setup on its splits, on one log axis; None if no eigenvalue is known."""
    cells = curves.select(data.rows("lambda1", setup))
    found = {split: mine for split in splits if (mine := cells[cells["split"] == split])["drawn"].any()}
    figure_name = file_name(*setup.slug, curves.slug, "lambda1", *splits)
    return eigenvalue_figure(found, curves, setup.title, figure_name) if found else None


def eigenvalue_figure(cells: Mapping[str, pd.DataFrame], curves: CurveSet, where: str, figure_name: str) -> Figure:
    """lambda1 of the `cells` (rows of `FigureData.lambda1`) of each split on a log axis; `where` names their data set
    and model.

    Means are geometric. Eigenvalues that are not positive are counted in the caption; their cells have no mean.
    """
    sets = [f"{SPLITS[split]} set" for split in cells]
    kinds = sets if len(sets) > 1 else [WITHOUT_KIND]
    on_sets = f"on the {' and the '.join(sets)}"
    span = limits(pd.concat(cells.values()), logarithmic=True)
    return curve_figure(
        dict(zip(kinds, cells.values(), strict=True)),
        curves,
        ValueAxis("λ₁" if len(sets) > 1 else f"λ₁ ({sets[0]})", "", ".4~g", span, log_ticks(*span)),
        number,
        name=figure_name,
        title=f"{where}: λ₁ {on_sets}",
        caption=f"Top eigenvalue λ₁ of the loss Hessian {on_sets}, log axis, geometric means."
        + "".join(not_positive(mine, curves, split) for split, mine in cells.items()),
        description=f"{where}, {curves.title}: top Hessian eigenvalue {on_sets} against batch size, log axis.",
        doubtful="the eigenvalue has not converged",
    )


def curve_figure(
    parts: Mapping[str, pd.DataFrame],
    curves: CurveSet,
    axis: ValueAxis,
    show: Callable[[float], str],
    *,
    name: str,
    title: str,
    caption: str,
    description: str,
    **marks: str,
) -> Figure:
    """A figure of one quantity; kinds of lines, seeds, gaps and the ends of the curves are added to its texts.

    `parts` holds the cells of each kind of line (a loss, if there are several). `show` formats a value, `marks` are
    options of `gaps_and_marks`. A curve without a mark is not in the legend.
    """
    kinds, cells = tuple(parts), list(parts.values())
    values = [record for kind, mine in parts.items() for record in records(mine, curves, kind, show)]
    sentences = [caption, kinds_in_words(kinds), replicates(*cells), gaps_and_marks(*cells, **marks)]
    first = f"{kinds[0].capitalize()}: " if len(kinds) > 1 else ""
    marked = {record["curve"] for record in values if record["state"] in ("ok", "diverged")}
    styles = tuple(style for style in curves.styles if style.label in marked)
    return Figure(
        name=name,
        title=title,
        template=template(batch_sizes(values), kinds, styles, axis),
        data={DATA: values, END_LABELS: end_labels(values, styles, kinds, axis.position, axis.value)},
        caption=" ".join(sentence for sentence in sentences if sentence),
        description=f"{description} {first}{ends(cells[0], curves, show)}",
        legend=styles,
    )


# -- limits and ticks


def limits(cells: pd.DataFrame, *, logarithmic: bool = False) -> tuple[float, float]:
    """Limits of an axis that shows every seed, and the intervals as far as `REACH` allows."""
    seeds = np.fromiter(chain.from_iterable(cells["values"]), dtype=float)
    drawn = np.concatenate([cells[side].to_numpy(dtype=float)[cells["drawn"].to_numpy()] for side in ("low", "high")])
    drawn = drawn[np.isfinite(drawn)]
    if not seeds.size:
        return (0.1, 10.0) if logarithmic else (0.0, 1.0)
    scale = np.log10 if logarithmic else np.asarray
    seeds, drawn = scale(seeds), scale(drawn)
    least, most = float(seeds.min()), float(seeds.max())
    reach = max(REACH * (most - least), 0.15 if logarithmic else 0.01)
    low = max(drawn.min(initial=least), least - reach)
    high = min(drawn.max(initial=most), most + reach)
    pad = max(0.05 * (high - low), 1e-3)
    if logarithmic:
        return short(10 ** (low - pad)), short(10 ** (high + pad))
    return short(max(0.0, low - pad)), short(min(max(1.0, most), high + pad))


def short(value: float) -> float:
    """A limit to four digits."""
    return float(f"{value:.4g}")


def log_ticks(low: float, high: float) -> tuple[float, ...]:
    """1, 2 and 5 times powers of ten between the limits, powers of ten alone when they are far apart.

    When the limits are so close that fewer than two of these lie between them: numbers of two digits.
    """
    decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    steps = (1, 2, 5) if high / low < MOST_FINE else (1,)
    every = max(1, round(len(decades) / 6))
    powers = [decade for decade in decades if decade % every == 0]
    ticks = tuple(t for t in (float(f"{step}e{power}") for power in powers for step in steps) if low <= t <= high)
    if len(ticks) > 1:
        return ticks
    fine = [t for t in (float(f"{n}e{decade - 1}") for decade in decades for n in range(10, 100)) if low <= t <= high]
    return tuple(fine[:: max(1, len(fine) // 3)]) or (float(f"{low:.2g}"),)


# -- records: what the charts read of the cells

_FLAGS = {
    "floor": "below 1 %",
    "untrained": "untrained",
    "suspect": "attack unreliable",
    "overstated": "PGD beaten by auto-PGD",
}
_UNFINISHED = ("diverged", "failed", "missing")
_READ = {
    *("cell_id", "batch_size", "mean", "low", "high", "n", "values", "drawn", "segment", "doubtful"),
    *("converged", "not_positive", *_UNFINISHED, *_FLAGS),
}


def records(cells: pd.DataFrame, curves: CurveSet, kind: str, show: Callable[[float], str]) -> list[Record]:
    """One record per cell (a row of `FigureData`), with None where there is no number; `show` formats a value."""
    drawn = cells["drawn"].to_numpy(dtype=bool)
    shown = [[rounded(value) for value in cells[key].where(drawn).tolist()] for key in ("mean", "low", "high")]
    names = [name for name in cells if name in _READ]  # column by column is faster than `to_dict`
    read = (dict(zip(names, values, strict=True)) for values in zip(*(cells[n].tolist() for n in names), strict=True))
    rows = zip(read, curves.styles_of(cells), *shown, strict=True)
    return [
        {
            "cell": str(cell["cell_id"]),
            "curve": style.label,
            "kind": kind,
            "batch_size": int(cell["batch_size"]),
            "mean": mean,
            "low": low,
            "high": high,
            "values": [rounded(value, 4) for value in cell["values"]],
            "seeds": int(cell["n"]),
            "state": "ok" if cell["drawn"] else next((s for s in _UNFINISHED if cell[s]), "no value"),
            "segment": int(cell["segment"]),
            "doubtful": bool(cell["doubtful"]),
            "interval": "–" if low is None else f"{show(cell['low'])} to {show(cell['high'])}",
            "note": _note(cell),
        }
        for cell, style, mean, low, high in rows
    ]


def _note(cell: dict[Any, Any]) -> str:
    notes = [f"{cell[state]} {state}" for state in _UNFINISHED if cell[state]]
    notes += [text for flag, text in _FLAGS.items() if cell.get(flag)]
    notes += [f"λ₁ ≤ 0 in {cell['not_positive']} of {cell['n']}"] if cell.get("not_positive") else []
    if cell.get("converged") is False:
        notes.append("eigenvalue not converged")
    return ", ".join(notes) or "–"


def batch_sizes(data: Iterable[Record]) -> tuple[int, ...]:
    """The batch sizes of some records, ascending."""
    return tuple(sorted({record["batch_size"] for record in data}))


# -- sentences for captions and for screen readers, from the cells that are drawn


def kinds_in_words(kinds: Sequence[str]) -> str:
    """Which marks belong to which kind of line; empty for a figure of clean accuracy or of eigenvalues alone."""
    if len(kinds) == 1 and kinds[0] in (CLEAN, WITHOUT_KIND):
        return ""
    drawn = {tuple(SOLID): "Filled marks, solid lines", (4, 3): "Hollow marks, dashed lines"}
    return " ".join(f"{drawn.get(tuple(dashes(kind)), 'Hollow marks, dotted lines')}: {kind}." for kind in kinds)


def replicates(*parts: pd.DataFrame) -> str:
    """How many seeds are behind the means, and how seeds and intervals are drawn."""
    counts = np.concatenate([part.loc[part["drawn"], "n"].to_numpy() for part in parts])
    low, high = (int(counts.min()), int(counts.max())) if counts.size else (0, 0)
    if high <= 1:
        return "One seed, so no interval."
    seeds = f"{low} seeds" if low == high else f"{low} to {high} seeds"
    return f"Dots are seeds, marks the means of {seeds}. Thin bars are 95 % Student t intervals over seeds."


def gaps_and_marks(
    *parts: pd.DataFrame,
    doubtful: str = "accuracy below 1 %, untrained, attack unreliable, or PGD beaten by auto-PGD",
) -> str:
    """What gaps, crosses and pale marks in a panel mean; empty if it has none."""
    columns = ("drawn", "doubtful", "diverged", "missing")
    drawn, doubted, diverged, missing = (np.concatenate([part[c].to_numpy() for part in parts]) for c in columns)
    below = np.concatenate([part.get("not_positive", pd.Series(0, part.index)).to_numpy() > 0 for part in parts])
    other = ~drawn & (diverged == 0) & ~below
    gaps = {
        "✕ and a gap: training diverged.": ~drawn & (diverged > 0),
        "Gaps: not run yet.": other & (missing > 0),
        "Gaps: no value.": other & (missing == 0),
    }
    sentences = [sentence for sentence, cells in gaps.items() if cells.any()]
    sentences[1:] = [sentence.replace("Gaps", "Other gaps") for sentence in sentences[1:]]
    pale = [f"Pale marks: {doubtful}."] if (drawn & doubted.astype(bool)).any() else []
    return " ".join([*sentences, *pale])


def not_positive(cells: pd.DataFrame, curves: CurveSet, split: str) -> str:
    """How many networks have an eigenvalue that a log axis cannot show, and which; empty if none has."""
    mine = cells[cells["not_positive"] > 0]
    if mine.empty:
        return ""
    places: dict[str, list[str]] = {}
    for style, size in zip(curves.styles_of(mine), mine["batch_size"], strict=True):
        places.setdefault(style.short, []).append(f"{size}")
    where = "; ".join(f"{curve} at batch {', '.join(sizes)}" for curve, sizes in places.items())
    # a cell on two curves counts once
    count, all_of_them = (int(f.drop_duplicates("cell_id")[c].sum()) for f, c in ((mine, "not_positive"), (cells, "n")))
    return (
        f" λ₁ ≤ 0 on the {SPLITS[split]} set in {count} of {all_of_them} networks ({where}): they have no place on a "
        "log axis, and their settings no mean."
    )


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
    """The vertical axis: its title, d3 formats of labels and tooltips, and its limits.

    With `ticks` it is logarithmic and labelled there, else linear.
    """

    title: str
    label_format: str
    value_format: str
    limits: tuple[float, float]
    ticks: tuple[float, ...] = ()

    def encode(self, field: str, *, axis: bool = False) -> Spec:
        """The encoding of `field` along this axis; one layer of a chart draws the axis."""
        scale = {"type": "log"} if self.ticks else {"type": "linear", "zero": False}
        numbers = {"format": self.label_format, "tickCount": 5}
        drawn = {"labelExpr": POWERS, "values": list(self.ticks)} if self.ticks else numbers
        return {
            "field": field,
            "type": "quantitative",
            "scale": scale | {"domain": list(self.limits), "nice": False},
            "title": self.title,
            **({"axis": drawn} if axis else {}),
        }

    def position(self, value: float) -> float:
        """How far below the upper limit a value is drawn, as a fraction of the axis."""
        low, high = map(self._scaled, self.limits)
        return float((high - self._scaled(value)) / (high - low))

    def value(self, position: float) -> float:
        """The value at such a position."""
        low, high = map(self._scaled, self.limits)
        found = high - position * (high - low)
        return 10**found if self.ticks else found

    def _scaled(self, value: float) -> float:
        return math.log10(value) if self.ticks else value


@cache
def template(
    sizes: tuple[int, ...], kinds: tuple[str, ...], styles: tuple[SeriesStyle, ...], value_axis: ValueAxis
) -> Spec:
    """The panel: seeds, intervals, lines, means (pale where the record is doubtful), a cross where training diverged.

    It reads the records of the data set `DATA` and the names of the curves in `END_LABELS`. The band of a curve is
    seen while the pointer is on one of its marks.
    """
    drawn, seeded = "isValid(datum.mean)", "isValid(datum.low)"
    beside = fits_beside(styles)
    colour, shape, fill = (encoded(channel) for channel in curve_channels(styles, legend=not beside))
    mean, low, high = value_axis.encode("mean", axis=True), value_axis.encode("low"), {"field": "high"}
    line = [{"field": field, "type": "nominal"} for field in _LINE]
    pointed = {"type": "point", "on": "pointerover", "clear": "pointerout", "fields": _LINE}
    near = {"name": "near", "select": pointed, "views": ["means"]}
    band = {"condition": {"param": "near", "empty": False, "value": 0.16}, "value": 0}
    aside, tooltip = {"xOffset": {"expr": "datum.dodge"}}, _tooltip(kinds, value_axis)
    unvalued = [line for line in tooltip if line["field"] not in _OF_VALUES]
    quiet = {**aside, "aria": False, "clip": True}
    marks = [
        layer({"type": "area", **quiet}, seeded, y=low, y2=high, detail=line, fillOpacity=band),
        layer({"type": "rule", **quiet, "strokeWidth": 1}, seeded,
              y=low, y2=high, opacity=_unless_doubtful(0.55)),
        layer({"type": "line", **quiet, "strokeWidth": 1.7}, drawn,
              y=mean, strokeDash=stroke_dash(kinds), detail=line),
        layer({"type": "circle", **quiet, "size": 11},
              y=value_axis.encode("value"), opacity=_unless_doubtful(0.8)) | {"transform": [SEEDS]},
        layer({"type": "point", **aside, "size": 44, "strokeWidth": 1.6}, drawn,
              y=mean, shape=shape, fill=hollow(fill, kinds), opacity=_unless_doubtful(1), tooltip=tooltip)
        | {"name": "means"},
        layer({"type": "text", **aside, "text": "✕", "fontWeight": "bold"},
              "datum.state == 'diverged'", y={"value": HEIGHT - 7}, tooltip=unvalued),
    ]  # fmt: skip
    if beside:
        marks += label_layers(value_axis.encode("at"), shape)
    moved = {"calculate": _dodge([style.label for style in styles], kinds), "as": "dodge"}
    shared: Spec = {"encoding": {"x": _batch_axis(sizes), "color": colour}, "transform": [moved], "params": [near]}
    return layered(*marks, **shared, **(ROOM if beside else {}))


_LINE = ["curve", "kind", "segment"]
"""The fields that tell lines apart."""

SEEDS = {"flatten": ["values"], "as": ["value"]}
"""The transform that makes a record for each seed of a cell."""


def _unless_doubtful(opacity: float) -> Spec:
    return {"condition": {"test": "datum.doubtful", "value": 0.3 * opacity}, "value": opacity}


def _dodge(curves: Sequence[str], kinds: Sequence[str]) -> str:
    """The expression of a mark's distance in pixels from its batch size."""
    count = len(curves) * len(kinds)
    step = min(4.0, DODGE / max(1, count - 1))
    place = f"indexof({json.dumps(curves)}, datum.curve) * {len(kinds)} + indexof({json.dumps(kinds)}, datum.kind)"
    return f"({place} - {(count - 1) / 2:g}) * {step:.3g}"


def dashes(kind: str) -> list[int]:
    """The dashes of a kind of line."""
    return DASHES.get(kind, OTHER_DASHES)


def hollow(fill: Spec, kinds: Sequence[str]) -> Spec:
    """The fill of a curve's marks, hollow for the kinds whose lines are dashed."""
    dashed = [kind for kind in kinds if dashes(kind) != SOLID]
    test = {"test": f"indexof({json.dumps(dashed)}, datum.kind) >= 0", "value": PAPER}
    return fill | ({"condition": test} if dashed else {})


def stroke_dash(kinds: Sequence[str]) -> Spec:
    """The channel that draws each kind of line in its dashes."""
    legend = alt.Legend(title=None, symbolType="stroke") if len(kinds) > 1 else None
    scale = alt.Scale(domain=list(kinds), range=[dashes(kind) for kind in kinds])
    return encoded(alt.StrokeDash("kind:N", scale=scale, legend=legend))


_OF_VALUES = ("mean", "interval", "seeds", "values")
"""Fields of a tooltip that a cell without a value lacks."""


def _tooltip(kinds: Sequence[str], value_axis: ValueAxis) -> list[Spec]:
    kind = [alt.Tooltip("kind:N", title="attacked")] if len(kinds) > 1 else []
    lines = [
        alt.Tooltip("curve:N", title="curve"),
        *kind,
        alt.Tooltip("batch_size:Q", title="batch size", format="d"),
        alt.Tooltip("mean:Q", format=value_axis.value_format),
        alt.Tooltip("interval:N", title="95 % interval"),
        alt.Tooltip("seeds:Q", title="seeds"),
        alt.Tooltip("values:N", title="each seed"),
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
