"""Template LAM: top eigenvalue of the Hessian against batch size."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.figures.batch_size import ValueAxis, batch_sizes, records, template
from analysis.figures.curve_sets import CurveSet, Setup
from analysis.figures.figure import DATA, Figure
from analysis.figures.figure_data import FigureData
from analysis.figures.words import ends, gaps_and_marks, replicates
from analysis.theme import number

MOST_OVERHANG = 4.0
"""An interval of two or three seeds can span decades: the axis follows it this factor beyond the means at most."""

SPLITS = {"train": "training", "test": "test"}


def lambda1_figure(data: FigureData, setup: Setup, curves: CurveSet, *, split: str) -> Figure | None:
    """lambda1 of `setup` along `curves` on a split, log axis; None when no eigenvalue of it is known.

    Means are geometric. A cell with an eigenvalue that is not positive has no place on a log axis and is a gap.
    """
    eigenvalues = data.of("lambda1", setup)
    cells = curves.of(eigenvalues[eigenvalues["split"] == split])
    if not cells["drawn"].any():
        return None
    values = records(cells, curves, "eigenvalue", number)
    chart = template(batch_sizes(values), ("eigenvalue",), curves.styles, lambda1_axis(cells, split))
    return Figure(
        name="-".join((*setup.slug, curves.slug, f"lambda1-{split}")),
        title=f"{setup.title}: λ₁ on the {SPLITS[split]} set",
        template=chart,
        data={DATA: values},
        caption=f"Top eigenvalue λ₁ of the loss Hessian on the whole {SPLITS[split]} set, log axis, geometric means. "
        f"{replicates(cells)}{_gaps(cells)}",
        description=f"{setup.title}, {curves.title}: top Hessian eigenvalue on the {SPLITS[split]} set against batch "
        f"size, log axis. {ends(cells, curves, number)}",
        legend=curves.styles,
    )


def lambda1_axis(cells: pd.DataFrame, split: str) -> ValueAxis:
    """The log axis of some cells' eigenvalues."""
    span = _span(cells)
    return ValueAxis(f"λ₁ ({SPLITS[split]} set)", "~g", ".4~g", span, _ticks(*span))


def _gaps(cells: pd.DataFrame) -> str:
    text = gaps_and_marks(cells, hollow="the eigenvalue has not converged")
    return text.replace("Other gaps: no value.", "Other gaps: no value, or one that is not positive.")


def _span(cells: pd.DataFrame) -> tuple[float, float]:
    """What the log axis shows: every mean and interval, with a little room; a wide interval may be cut."""
    drawn = cells[cells["drawn"]]
    means = drawn["mean"].to_numpy(dtype=float)
    limits = drawn[["mean", "low", "high"]].to_numpy(dtype=float)
    least, most = float(means.min()), float(means.max())
    low = max(float(np.nanmin(limits)), least / MOST_OVERHANG)
    high = min(float(np.nanmax(limits)), most * MOST_OVERHANG)
    return low / 1.15, high * 1.15


def _ticks(low: float, high: float) -> tuple[float, ...]:
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
