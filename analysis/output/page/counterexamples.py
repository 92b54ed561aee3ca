"""The counterexample section: pairs of cells of which the sharper one is the more robust."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from analysis.figures.plane import styles_of
from analysis.findings import CURVATURE, Findings
from analysis.output.page.charts import Charts, group
from analysis.output.page.html import Content, Html, element, section, table
from analysis.reports.counterexamples import COUNTEREXAMPLE, REVERSE
from analysis.tables.words import name
from analysis.theme import number, percent, regime_style

MOST_ROWS = 12

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


def counterexample_section(findings: Findings, charts: Charts) -> Html:
    """The statement for both losses, the arrows, the table and how to run a pair again."""
    report = findings.counterexamples
    losses = list(dict.fromkeys(report.families["loss"])) or ["ce"]
    statements = [
        element(
            "li",
            element("strong", report.summary(CURVATURE, loss, COUNTEREXAMPLE)),
            f" ({name(loss)}). The reverse, {REVERSE}: {report.summary(CURVATURE, loss, REVERSE)}.",
        )
        for loss in losses
    ]
    found = report.found
    shown = found[(found["curvature"] == CURVATURE) & (found["direction"] == COUNTEREXAMPLE)] if len(found) else found
    return section(
        "counterexamples",
        "Higher curvature, yet more robust",
        element(
            "p",
            "Pairs of cells on one curve, at equal attack and protocol. Confirmed: both differences pass a one-sided t "
            "test over seeds after Benjamini–Yekutieli adjustment over all testable pairs, and the noise of either "
            "cell alone does not explain them (q ≤ .05); λ₁ differs by 1.25× and accuracy by a point and two standard "
            "errors. With fewer than three seeds a pair is only a candidate.",
            class_="note",
        ),
        element("ul", statements),
        group(
            [charts.figure(f, f.title.replace(": counterexamples under", ",")) for f in findings.arrows],
            styles_of(findings.arrows),
            figures=findings.arrows,
            columns="two",
        )
        if findings.arrows
        else None,
        pair_table(shown),
    )


def pair_table(shown: pd.DataFrame) -> Content:
    """The most severe of the pairs and the command that trains the first of them again."""
    rows, found = shown.head(MOST_ROWS).to_dict("records"), len(shown)
    if not rows:
        return element("p", "No pair of cells on one curve is a confirmed or candidate counterexample.")
    more = f" The {len(rows)} most severe of {found}; counterexamples.csv holds them all." if found > len(rows) else ""
    first = rows[0]
    return [
        table(
            HEAD,
            [_row(row) for row in rows],
            caption=f"Pairs, most severe first.{more} Accuracies with 95 % intervals over seeds.",
            class_="pairs",
        ),
        element("p", "To train the first pair again:", class_="note"),
        element("pre", element("code", str(first["rerun"]))),
    ]


def _row(row: dict[Any, Any]) -> list[Content]:
    regime = regime_style(str(row["regime"])).label
    curve = f"{name(row['dataset'])} {name(row['model'])}, {regime}, m={row['momentum']:g}"
    attack = f"{name(row['attack'])}, ε = {row['epsilon']:g}, {name(row['loss'])}"
    label = " · ".join(part for part in (row["label"], row["reason"], row["note"]) if part)
    return [
        [curve, element("br"), attack],
        f"{row['batch_i']} → {row['batch_j']}",
        f"{number(row['lambda1_i'])} → {number(row['lambda1_j'])}",
        [_accuracy(row, "i"), element("br"), "→ ", _accuracy(row, "j")],
        f"{100 * row['clean_i']:.1f} → {percent(row['clean_j'])}",
        f"{number(row['train_loss_i'], 2)} → {number(row['train_loss_j'], 2)}",
        number(row["q"], 2),
        number(row["severity"], 2),
        label,
    ]


def _accuracy(row: dict[Any, Any], side: str) -> str:
    low, high = row[f"accuracy_low_{side}"], row[f"accuracy_high_{side}"]
    limits = "" if np.isnan(low) else f" [{100 * low:.1f}, {100 * high:.1f}]"  # one seed each has none
    return f"{percent(row[f'accuracy_{side}'])}{limits}"
