"""Template LAM: top eigenvalue of the Hessian against batch size."""

from __future__ import annotations

import altair as alt

from analysis.figures.batch_axis import layers, records
from analysis.figures.curves import FigureData, with_gaps
from analysis.figures.figure import Figure
from analysis.figures.sweep import Setting, Sweep
from analysis.figures.words import ends, gaps_and_marks, replicates
from analysis.theme import number

SPLITS = {"train": "training", "test": "test"}


def lambda1_figure(data: FigureData, setting: Setting, sweep: Sweep, *, split: str, id: str) -> Figure | None:
    """lambda1 of `setting` along `sweep` on a split, log axis; None when no eigenvalue of it is known.

    Means are geometric. A cell with an eigenvalue that is not positive has no place on a log axis and is a gap.
    """
    frame = data.lambda1
    cells = with_gaps(sweep.of(setting.of(frame[frame["split"] == split])))
    if not cells["drawn"].any():
        return None
    chart = layers(
        records(cells, sweep, "eigenvalue"),
        sweep,
        title=f"λ₁ ({SPLITS[split]} set)",
        scale=alt.Scale(type="log", nice=False),
        axis=alt.Axis(format="~g", tickCount=5),
        value_format=".4~g",
    )
    return Figure(
        name=id,
        title=f"{setting.title}: λ₁ on the {SPLITS[split]} set",
        chart=chart,
        caption=f"Top eigenvalue λ₁ of the loss Hessian on the whole {SPLITS[split]} set, log axis, geometric means. "
        f"{replicates(cells)}{gaps_and_marks(cells, hollow='the eigenvalue has not converged')}",
        description=f"{setting.title}, {sweep.title}: top Hessian eigenvalue on the {SPLITS[split]} set against batch "
        f"size, log axis. {ends(cells, sweep, number)}",
        legend=sweep.styles,
    )
