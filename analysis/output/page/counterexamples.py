"""The counterexample section: pairs of cells of which the sharper is the more robust."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from analysis.findings import CURVATURE, Findings, on_test_images
from analysis.output.page.charts import Charts, group
from analysis.output.page.templates import Section
from analysis.reports.counterexamples import COUNTEREXAMPLE, REVERSE
from analysis.statistics.thresholds import LOOKS, LOSS_RATIO
from analysis.tables.words import name
from analysis.theme import number, percent, regime_style

MAX_ROWS = 12

HEAD = (
    "Curve and attack",
    "Batch",
    "λ₁ (training set)",
    "Adversarial accuracy",
    "Clean",
    "Training loss",
    "q",
    "Severity",
    "Label",
)

NOTES = {"loss-confounded": "training losses differ", "clean-confounded": "clean accuracy may explain it"}
"""Note of the report -> its words on the page, explained below the table."""

Context = dict[str, Any]


def counterexample_section(findings: Findings, charts: Charts) -> Section:
    """The counts for both losses, the arrows, the table and how to run a pair again."""
    report = findings.counterexamples
    found = on_test_images(report.found)
    shown = found[(found["curvature"] == CURVATURE) & (found["direction"] == COUNTEREXAMPLE)]
    headings = [figure.title.replace(": counterexamples under", ",") for figure in findings.arrows]
    context = {
        "waiting": report.waiting,
        "first": LOOKS[0],
        "losses": [
            {"loss": loss, "found": report.summary(CURVATURE, loss, COUNTEREXAMPLE)}
            | {"reverse": report.summary(CURVATURE, loss, REVERSE)}
            for loss in list(dict.fromkeys(report.families["loss"])) or ["ce"]
        ],
        "reverse": REVERSE,
        "of_both_sets": bool((findings.table.attacks["split"] != "test").any()),
        "arrows": group(charts, findings.arrows, headings, columns="two"),
        "shown": _pairs(shown),
    }
    return Section("counterexamples", "Counterexamples", "Higher curvature, yet more robust", context)


def _pairs(shown: pd.DataFrame) -> Context:
    """The first of the pairs and the command that trains the first of them again."""
    rows, found = shown.head(MAX_ROWS).to_dict("records"), len(shown)
    more = f" The first {len(rows)} of {found}; counterexamples.csv holds them all." if found > len(rows) else ""
    return {
        "head": HEAD,
        "rows": [_row(row) for row in rows],
        "caption": f"Pairs, confirmed ones first, then by severity.{more} Accuracies with 95 % intervals over seeds.",
        "ratio": f"{LOSS_RATIO:g}",
        "rerun": str(rows[0]["rerun"]) if rows else "",
    }


def _row(row: dict[Any, Any]) -> Context:
    regime = regime_style(str(row["regime"])).label
    notes = (NOTES[note] for note in str(row["note"]).split(", ") if note)
    return {
        "curve": f"{name(row['dataset'])} {name(row['model'])}, {regime}, m={row['momentum']:g}",
        "attack": f"{name(row['attack'])}, ε = {row['epsilon']:g}, {name(row['loss'])}",
        "batch": f"{row['batch_i']} → {row['batch_j']}",
        "lambda1": f"{number(row['lambda1_i'])} → {number(row['lambda1_j'])}",
        "accuracy": [_accuracy(row, "i"), _accuracy(row, "j")],
        "clean": f"{100 * row['clean_i']:.1f} → {percent(row['clean_j'])}",
        "train_loss": f"{number(row['train_loss_i'], 2)} → {number(row['train_loss_j'], 2)}",
        "q": "–" if np.isnan(row["q"]) else number(row["q"], 2),
        "severity": number(row["severity"], 2),
        "label": " · ".join(filter(None, (row["label"], row["reason"], *notes))),
    }


def _accuracy(row: dict[Any, Any], side: str) -> str:
    low, high = row[f"accuracy_low_{side}"], row[f"accuracy_high_{side}"]
    limits = "" if np.isnan(low) else f" [{100 * low:.1f}, {100 * high:.1f}]"  # one seed each has none
    return f"{percent(row[f'accuracy_{side}'])}{limits}"
