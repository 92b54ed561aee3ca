"""Sentences of captions and of the texts read aloud in place of a figure, taken from the cells that are drawn."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from analysis.figures.curve_sets import Curves


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
    columns = ("drawn", "hollow", "diverged", "missing")
    drawn, marked, diverged, missing = (np.concatenate([part[c].to_numpy() for part in parts]) for c in columns)
    said = []
    other = ~drawn & (diverged == 0)
    if (~drawn & (diverged > 0)).any():
        said.append("✕ and a gap: training diverged.")
    if (other & (missing > 0)).any():
        said.append("Other gaps: not run yet.")
    if (other & (missing == 0)).any():
        said.append("Other gaps: no value.")
    if (drawn & marked.astype(bool)).any():
        said.append(f"Hollow marks: {hollow}.")
    return "".join(f" {sentence}" for sentence in said)


def ends(cells: pd.DataFrame, curves: Curves, show: Callable[[float], str]) -> str:
    """Each curve's first and last value in words."""
    drawn = cells[cells["drawn"]]
    values: dict[str, list[tuple[float, int]]] = {style.label: [] for style in curves.styles}
    for style, mean, size in zip(curves.styles_of(drawn), drawn["mean"], drawn["batch_size"], strict=True):
        values[style.label].append((mean, size))
    return " ".join(
        f"{label}: {show(curve[0][0])} at batch {curve[0][1]}, {show(curve[-1][0])} at {curve[-1][1]}."
        for label, curve in values.items()
        if curve
    )
