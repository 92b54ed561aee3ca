"""Paper versus ours: the papers' tables regenerated, each printed number beside ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from analysis.figures.batch_size import SPLITS
from analysis.output.page.html import Content, Html, details, element, note, section, table
from analysis.published.paper_versus_ours import (
    CONSISTENT,
    NOT_CONSISTENT,
    NOT_DECIDABLE,
    NOT_RUN,
    TableComparison,
    quantity,
)
from analysis.tables.words import name

MARKS = {CONSISTENT: "✓", NOT_CONSISTENT: "✕", NOT_DECIDABLE: "?", NOT_RUN: "○"}
TONES = {
    CONSISTENT: "supported", NOT_CONSISTENT: "refuted", NOT_DECIDABLE: "inconclusive", NOT_RUN: "not-run",
}  # fmt: skip

QUANTITIES = {
    "clean_acc": "Clean accuracy, %",
    "lambda1_theta": "λ₁",
    "lambda1_x": "λ₁ of the input",
    "grad_x_norm": "Input gradient",
    "mean_adv_acc": "Mean of attacks, %",
}


def published_section(comparisons: Sequence[TableComparison]) -> Html:
    """Tables of which something was run, and one line with the command for each of the others."""
    run = [one for one in comparisons if one.was_run]
    absent = [one for one in comparisons if not one.was_run]
    intro = note(
        "First line: our mean over seeds, and where one more run would lie with 95 % probability (Student's t; "
        "geometric for λ₁ and for the curvature and gradient in the input). Second line: the number that the paper "
        "prints, and the difference ours − paper. "
        "Consistent (✓, otherwise ✕): the printed number lies in this interval, widened by the rounding of the "
        "print. With fewer than two seeds this is not decidable (?); a wide interval is consistent with many numbers. "
        "Attacks use the published loss, as in the papers; results under the stable loss are given below."
    )
    return section(
        "published",
        "The papers' tables: paper versus ours",
        intro if run else None,
        [_comparison(one) for one in run],
        _absent(absent),
    )


def table_id(one: TableComparison) -> str:
    """The id of its place on the page."""
    return f"table-{one.table.table}-{one.table.printed_model}-{one.model}"


def _absent(absent: Sequence[TableComparison]) -> Html | None:
    if not absent:
        return None
    items = [
        element("li", f"{one.title}: not run. ", element("code", one.table.command(one.model)), id=table_id(one))
        for one in absent
    ]
    return element("ul", items, class_="panels")


def _comparison(one: TableComparison) -> Html:
    counts = one.cells["verdict"].value_counts()
    verdicts = ", ".join(f"{counts[word]} {word}" for word in MARKS if word in counts)
    remarks = [*one.table.notes, *dict.fromkeys(_misprints(one.cells))]
    return details(
        f"{one.title}: {verdicts}",
        [note(remark) for remark in remarks],
        [_table(one, split) for split in one.splits],
        open=True,
        id=table_id(one),
    )


def _misprints(cells: pd.DataFrame) -> list[str]:
    """What is known of single numbers, each with where it stands."""
    noted = cells[cells["note"] != ""]
    return [
        f"{', '.join(dict.fromkeys(group['row']))}, {_quantity(str(metric), None)}: {note}."
        for (metric, note), group in noted.groupby(["metric", "note"], sort=False)
    ]


def _quantity(metric: str, epsilon: float | None) -> str:
    if metric in QUANTITIES:
        return QUANTITIES[metric]
    at = "" if epsilon is None else f", ε = {epsilon:g}"
    return f"{name(metric.removesuffix('_acc'))}{at}, %"


def _table(one: TableComparison, split: str) -> Html:
    cells = one.cells[one.cells["split"] == split]
    quantities = list(dict.fromkeys(map(quantity, cells.to_dict("records"))))
    rows: list[Sequence[Content]] = []
    for label, of_row in cells.groupby("row", sort=False):
        found = {quantity(cell): cell for cell in of_row.to_dict("records")}
        seeds = sorted({int(n) for n in of_row["seeds"] if n})
        count = "not run" if not seeds else f"{'–'.join(map(str, seeds))} seed{'s' if seeds != [1] else ''}"
        protocol = next((p for p, n in zip(of_row["protocol"], of_row["seeds"], strict=True) if n and p), "")
        same = "–" if not seeds else (protocol or "the paper's")
        rows.append(
            [
                [str(label), element("br"), element("span", count, class_="note")],
                element("span", same, class_="note"),
                *(_cell(found.get(key)) for key in quantities),
            ]
        )
    first = "Batch size" if one.by_batch_size else "Network"
    heads = [first, "Protocol", *(_quantity(metric, epsilon) for metric, epsilon in quantities)]
    return table(heads, rows, caption=f"{one.title}: {SPLITS[split]} set", class_="versus")


def _cell(cell: Mapping[Any, Any] | None) -> Content:
    if cell is None:
        return "–"
    word = str(cell["verdict"])
    mark = element("span", MARKS[word], class_=f"word {TONES[word]}", title=word, role="img", aria_label=word)
    printed = f"paper {_shown(cell['paper'])}"
    if not cell["seeds"]:
        return [mark, " not run", element("br"), printed]
    interval = "" if pd.isna(cell["low"]) else f" [{_shown(cell['low'])}, {_shown(cell['high'])}]"
    content: list[Content] = [
        element("strong", _shown(cell["ours"])), interval, " ", mark, element("br"),
        f"{printed} ({_signed(cell['difference'])})",
    ]  # fmt: skip
    if not pd.isna(cell["stable"]):
        content += [element("br"), element("span", f"stable {_shown(cell['stable'])}", class_="note")]
    return content


def _shown(value: float) -> str:
    text = f"{value:.2f}" if abs(value) >= 0.995 else f"{value:.2g}"
    return text.replace("-", "−")


def _signed(value: float) -> str:
    if abs(value) < 1e-9:
        return "±0"
    text = f"{value:+.2f}" if abs(value) >= 0.995 else f"{value:+.2g}"
    return text.replace("-", "−")
