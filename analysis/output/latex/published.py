"""paper_versus_ours.tex: each printed table of the papers beside ours."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from analysis.output.latex.longtable import Column, longtable
from analysis.output.latex.text import decimal as fixed
from analysis.output.latex.text import escape, interval, significant
from analysis.published.paper_versus_ours import LOGARITHMIC, NOT_CONSISTENT, NOT_DECIDABLE, TableComparison
from analysis.tables.words import name

HEADINGS = {
    "clean_acc": r"Clean, \%",
    "lambda1_theta": r"$\lambda_1$",
    "lambda1_x": r"$\lambda_1$ of the input",
    "grad_x_norm": "Input gradient",
    "mean_adv_acc": r"Mean of attacks, \%",
}

SPLITS = {"train": "training set", "test": "test set"}

MARKS = {NOT_CONSISTENT: r"$^\ast$", NOT_DECIDABLE: r"$^?$"}

Key = tuple[str, float | None]
"""Metric and epsilon (None: not attacked)."""


def published_tables(comparisons: Sequence[TableComparison]) -> list[str]:
    """A longtable for each printed table and split of which anything was run."""
    return [
        _table(one, split)
        for one in comparisons
        if one.was_run
        for split in ("train", "test")
        if (one.cells["split"] == split).any()
    ]


def absent_notes(comparisons: Sequence[TableComparison]) -> list[str]:
    """Of each printed table of which nothing was run: that, and the command that runs it."""
    return [
        f"Not run: {one.table.title}, read as {name(one.model)}; {one.table.command(one.model)}"
        for one in comparisons
        if not one.was_run
    ]


def _table(one: TableComparison, split: str) -> str:
    cells = one.cells[one.cells["split"] == split]
    keys = list(dict.fromkeys(_key(cell) for cell in cells.to_dict("records")))
    rows: list[Sequence[str]] = []
    for label, of_row in cells.groupby("row", sort=False):
        found = {_key(cell): cell for cell in of_row.to_dict("records")}
        rows += [[]] if rows else []
        rows += _rows(str(label), [found.get(key) for key in keys])
    reading = f", read as {name(one.model)}" if len(one.table.models) > 1 else ""
    caption = (
        f"{escape(one.table.title + reading)}, {SPLITS[split]}: the printed numbers beside ours, means over seeds with "
        r"95\,\% Student $t$ intervals (geometric for curvatures and gradients). $^\ast$: the printed number lies "
        "outside our interval, widened by the rounding of the print; $^?$: fewer than two seeds, not decidable."
        f"{_protocols(cells)}"
    )
    heads = [Column(_heading(*key), "r") for key in keys]
    slug = f"{one.table.table}-{one.model}-{split}".lower().replace("_", "-")
    columns = [Column("Batch" if str(cells["row"].iloc[0]).isdigit() else "Network"), Column(""), *heads]
    return longtable(columns, rows, caption=caption, label=f"tab:{slug}", size="scriptsize")


def _key(cell: Mapping[Any, Any]) -> Key:
    return str(cell["metric"]), None if pd.isna(cell["eps"]) else float(cell["eps"])


def _heading(metric: str, epsilon: float | None) -> str:
    if metric in HEADINGS:
        return HEADINGS[metric]
    at = "" if epsilon is None else rf" {epsilon:g}"
    return rf"{escape(name(metric.removesuffix('_acc')))}{at}, \%"


def _rows(label: str, cells: Sequence[Mapping[Any, Any] | None]) -> list[list[str]]:
    """The printed line and ours; below them our intervals, where there is one."""
    seeds = sorted({int(cell["seeds"]) for cell in cells if cell and cell["seeds"]})
    several = f"{'--'.join(map(str, dict.fromkeys((seeds[0], seeds[-1]))))} seeds" if seeds else ""
    count = f" ({'1 seed' if seeds == [1] else several})" if seeds else ""
    paper = [_paper(cell) for cell in cells]
    ours = [_ours(cell) for cell in cells]
    limits = [_limits(cell) for cell in cells]
    rows = [[escape(label), "paper", *paper], ["", f"ours{count}", *ours]]
    return [*rows, ["", "", *limits]] if any(limits) else rows


def _paper(cell: Mapping[Any, Any] | None) -> str:
    """The printed number with the digits it has in print."""
    return "--" if cell is None else fixed(cell["paper"], _decimals(cell))


def _decimals(cell: Mapping[Any, Any]) -> int:
    """Decimals of the printed number: `rounding` is half a unit of the last."""
    return max(0, round(-math.log10(2 * cell["rounding"])))


def _ours(cell: Mapping[Any, Any] | None) -> str:
    if cell is None:
        return "--"
    shown = significant(cell["ours"]) if cell["metric"] in LOGARITHMIC else fixed(cell["ours"], _ours_decimals(cell))
    return shown + MARKS.get(str(cell["verdict"]), "")


def _ours_decimals(cell: Mapping[Any, Any]) -> int:
    return min(2, max(1, _decimals(cell)))


def _limits(cell: Mapping[Any, Any] | None) -> str:
    if cell is None or pd.isna(cell["low"]):
        return ""
    if cell["metric"] in LOGARITHMIC:
        return f"[{significant(cell['low'])}, {significant(cell['high'])}]"
    return interval(cell["low"], cell["high"], _ours_decimals(cell))


def _protocols(cells: pd.DataFrame) -> str:
    """How our runs departed from the papers' protocol."""
    run = cells[cells["seeds"] > 0]
    said = [protocol for protocol in dict.fromkeys(run["protocol"]) if protocol]
    return f" Not the paper's protocol: {escape('; '.join(said))}." if said else ""
