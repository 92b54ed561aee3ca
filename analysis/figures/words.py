"""Sentences of captions and of the texts read aloud in place of a figure, taken from the cells that are drawn."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from analysis.figures.sweep import Curves


def replicates(cells: pd.DataFrame) -> str:
    """How many seeds stand behind the means, and what the bands are."""
    counts = cells.loc[cells["drawn"], "n"]
    low, high = int(counts.min()), int(counts.max())
    if high == 1:
        return "One seed, so no interval."
    seeds = f"{low} seeds" if low == high else f"{low} to {high} seeds"
    return f"Means of {seeds}; bands are 95 % Student t intervals over seeds."


HOLLOW = "the attack is at its floor, or the cell is untrained or suspect"


def gaps_and_marks(*parts: pd.DataFrame, hollow: str = HOLLOW) -> str:
    """What a gap, a cross or a hollow mark in this panel stands for; empty when it has none."""
    cells = pd.concat([part[[*_COLUMNS]] for part in parts], ignore_index=True)
    said = []
    gaps = cells[~cells["drawn"]]
    if (gaps["diverged"] > 0).any():
        said.append("✕ and a gap: training diverged.")
    if ((gaps["diverged"] == 0) & (gaps["missing"] > 0)).any():
        said.append("Other gaps: not run yet.")
    if ((gaps["diverged"] == 0) & (gaps["missing"] == 0)).any():
        said.append("Other gaps: no value.")
    if (cells["drawn"] & cells["hollow"]).any():
        said.append(f"Hollow marks: {hollow}.")
    return "".join(f" {sentence}" for sentence in said)


_COLUMNS = ("drawn", "hollow", "diverged", "missing")


def ends(cells: pd.DataFrame, sweep: Curves, show: Callable[[float], str]) -> str:
    """Each curve's first and last value in words."""
    sentences = []
    drawn = cells[cells["drawn"]]
    labels = pd.Series(
        [sweep.style_of(cell).label for cell in drawn.to_dict("records")], index=drawn.index, dtype=object
    )
    for style in sweep.styles:
        curve = drawn[labels == style.label]
        if curve.empty:
            continue
        first, last = curve.iloc[0], curve.iloc[-1]
        sentences.append(
            f"{style.label}: {show(first['mean'])} at batch {first['batch_size']}, "
            f"{show(last['mean'])} at {last['batch_size']}."
        )
    return " ".join(sentences)
