"""The counterexample sections: pairs of cells of which the sharper is the more robust, and the paper's own example."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd

from analysis.claims.claim import Verdict
from analysis.figures import FIGURES
from analysis.figures.figure import styles_of
from analysis.findings import CURVATURE, Findings
from analysis.output.page.charts import Charts, group
from analysis.output.page.figures import commands
from analysis.output.page.html import Content, Html, code_block, element, note, section, table
from analysis.reports.counterexamples import COUNTEREXAMPLE, REVERSE
from analysis.tables.words import name
from analysis.theme import number, percent, regime_style
from search_spaces.natural_training import STUDIES

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


def counterexample_section(findings: Findings, charts: Charts) -> Html:
    """The counts for both losses, the arrows, the table and how to run a pair again."""
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
        note(
            "Pairs of cells on one curve, at equal attack and protocol. Confirmed: both differences pass a one-sided t "
            "test over seeds after Benjamini–Yekutieli adjustment over all testable pairs, and the noise of either "
            "cell alone does not explain them (q ≤ .05); λ₁ differs by 1.25× and accuracy by a point and two standard "
            "errors. With fewer than three seeds a pair is only a candidate."
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
    rows, found = shown.head(MAX_ROWS).to_dict("records"), len(shown)
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
        note("To train the first pair again:"),
        code_block(str(first["rerun"])),
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


PAPER_CLAIM = "A9"

PAPER_PANELS = ("A-18L", "A-18R", "A-6R")
"""FGSM, PGD and lambda1 against batch size: natural-training paper (2020), Figures 6 and 18."""

PAPER_CURVE = {"dataset": "fashion-mnist", "model": "stdcnn", "regime": "lr"}


def paper_counterexample_section(findings: Findings, charts: Charts) -> Html | None:
    """The natural-training paper's own counterexample: StdCNN on Fashion-MNIST at a constant learning rate.

    Shows the verdict on claim A9, its three panels, and every pair of batch sizes on its curves. None if no network
    of that paper was run or planned.
    """
    frames = (findings.table.points, findings.table.planned)
    found = {pair for frame in frames for pair in zip(frame["dataset"], frame["model"], strict=True)}
    if not found & {(study.dataset, study.model) for study in STUDIES}:
        return None
    return section(
        "exception",
        "The paper's own counterexample",
        note(
            "Section 3.2 of the natural-training paper: StdCNN on Fashion-MNIST at a constant learning rate becomes "
            "more robust with the batch size although λ₁ rises."
        ),
        element("ul", [_verdict(verdict) for verdict in findings.verdicts if verdict.claim == PAPER_CLAIM]),
        _paper_panels(findings, charts),
        _paper_pairs(findings.counterexamples.found),
    )


def _verdict(verdict: Verdict) -> Html:
    text = ". ".join(part.rstrip(".") for part in (verdict.effect_text, verdict.reason) if part)
    loss = f" ({name(verdict.loss)}): " if verdict.loss else ": "
    link = element("a", verdict.claim, href=f"#claim-{verdict.claim}")
    return element("li", link, loss, element("strong", verdict.verdict), f". {text}.")


def _paper_panels(findings: Findings, charts: Charts) -> Content:
    places = [
        charts.figure(figure, f"Figure {FIGURES[panel].number}: {figure.title.split(': ', 1)[-1]}")
        for panel in PAPER_PANELS
        for figure in findings.panels[panel]
    ]
    if not places:
        command = commands(FIGURES[PAPER_PANELS[-1]], findings.table.location)
        return [note("Its cells were not run. This runs them:"), command]
    return group(places, FIGURES[PAPER_PANELS[0]].curves.styles, lines=True)


def _paper_pairs(found: pd.DataFrame) -> Content:
    """The pairs on the paper's curves, for all momenta that were run."""
    if len(found):
        here = (found[list(PAPER_CURVE)] == pd.Series(PAPER_CURVE)).all(axis=1)
        found = found[here & (found["curvature"] == CURVATURE) & (found["direction"] == COUNTEREXAMPLE)]
    if not len(found):
        return element("p", "No pair of batch sizes on its curves is sharper and yet more robust.")
    counts = Counter(zip(found["loss"], found["label"], strict=True))
    said = "; ".join(f"{name(loss)}: {count} {label}" for (loss, label), count in counts.items())
    text = f"Pairs of batch sizes, over all momenta, attacks and ε that were run: {said}."
    return [element("p", text), pair_table(found)]
