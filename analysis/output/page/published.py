"""Paper versus ours: the papers' tables regenerated, each printed number beside ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from analysis.figures.batch_size import SPLITS
from analysis.output.page.templates import Section
from analysis.published.paper_versus_ours import (
    CONSISTENT,
    NOT_CONSISTENT,
    NOT_DECIDABLE,
    NOT_RUN,
    TableComparison,
    heading,
    quantity,
    shown,
)

MARKS = {CONSISTENT: "✓", NOT_CONSISTENT: "✕", NOT_DECIDABLE: "?", NOT_RUN: "○"}
TONES = {
    CONSISTENT: "supported", NOT_CONSISTENT: "refuted", NOT_DECIDABLE: "inconclusive", NOT_RUN: "not-run",
}  # fmt: skip

Context = dict[str, Any]


def published_section(comparisons: Sequence[TableComparison]) -> Section | None:
    """Tables of which something was run, and one line with the command for each of the others; None if none was."""
    run = [one for one in comparisons if one.was_run]
    if not run:
        return None
    context = {
        "tables": [_comparison(one) for one in run],
        "absent": [
            {"id": table_id(one), "title": one.title, "note": "", "commands": [one.table.command(one.model)]}
            for one in comparisons
            if not one.was_run
        ],
    }
    return Section("published", "Paper versus ours", "The papers' tables: paper versus ours", context)


def table_id(one: TableComparison) -> str:
    """The id of its place on the page."""
    return f"table-{one.table.table}-{one.table.printed_model}-{one.model}"


def _comparison(one: TableComparison) -> Context:
    counts = one.cells["verdict"].value_counts()
    return {
        "id": table_id(one),
        "title": f"{one.title}: {', '.join(f'{counts[word]} {word}' for word in MARKS if word in counts)}",
        "notes": [*one.table.notes, *dict.fromkeys(_misprints(one.cells))],
        "splits": [_split(one, split) for split in one.splits],
    }


def _misprints(cells: pd.DataFrame) -> list[str]:
    """What is known of single numbers, each with where it stands."""
    noted = cells[cells["note"] != ""]
    return [
        f"{', '.join(dict.fromkeys(group['row']))}, {heading({'metric': metric, 'eps': None})}: {note}."
        for (metric, note), group in noted.groupby(["metric", "note"], sort=False)
    ]


def _split(one: TableComparison, split: str) -> Context:
    cells = one.cells[one.cells["split"] == split]
    quantities = {quantity(cell): heading(cell) for cell in cells.to_dict("records")}
    rows, not_run = [], []
    for label, of_row in cells.groupby("row", sort=False):
        if not (of_row["seeds"] > 0).any():
            not_run.append(str(label))
            continue
        found = {quantity(cell): cell for cell in of_row.to_dict("records")}
        seeds = sorted({int(n) for n in of_row["seeds"] if n})
        protocol = next((p for p, n in zip(of_row["protocol"], of_row["seeds"], strict=True) if n and p), "")
        rows.append(
            {
                "label": label,
                "seeds": f"{'–'.join(map(str, seeds))} seed{'s' if seeds != [1] else ''}",
                "protocol": protocol,
                "cells": [_cell(found.get(key)) for key in quantities],
            }
        )
    first = "Batch size" if one.by_batch_size else "Network"
    return {
        "head": [first, *quantities.values()],
        "caption": f"{one.title}: {SPLITS[split]} set",
        "rows": rows,
        "not_run": not_run,
    }


def _cell(cell: Mapping[Any, Any] | None) -> Context | None:
    if cell is None:
        return None
    word = str(cell["verdict"])
    run = bool(cell["seeds"])
    return {
        "word": word,
        "mark": MARKS[word],
        "tone": TONES[word],
        "ours": shown(cell, "ours") if run else "",
        "interval": "" if pd.isna(cell["low"]) else f"[{shown(cell, 'low')}, {shown(cell, 'high')}]",
        "paper": shown(cell, "paper"),
        "difference": shown(cell, "difference", sign="+") if run else "",
        "stable": "" if pd.isna(cell["stable"]) else shown(cell, "stable"),
    }
