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
from analysis.output.page.charts import Charts, Group, group
from analysis.output.page.templates import Section
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


Context = dict[str, Any]


def counterexample_section(findings: Findings, charts: Charts) -> Section:
    """The counts for both losses, the arrows, the table and how to run a pair again."""
    report = findings.counterexamples
    found = report.found
    shown = found[(found["curvature"] == CURVATURE) & (found["direction"] == COUNTEREXAMPLE)] if len(found) else found
    headings = [figure.title.replace(": counterexamples under", ",") for figure in findings.arrows]
    context = {
        "losses": [
            {"loss": loss, "found": report.summary(CURVATURE, loss, COUNTEREXAMPLE)}
            | {"reverse": report.summary(CURVATURE, loss, REVERSE)}
            for loss in list(dict.fromkeys(report.families["loss"])) or ["ce"]
        ],
        "reverse": REVERSE,
        "arrows": group(charts, findings.arrows, headings, styles=styles_of(findings.arrows), columns="two"),
        "shown": pair_table(shown),
    }
    return Section("counterexamples", "Counterexamples", "Higher curvature, yet more robust", context)


def pair_table(shown: pd.DataFrame) -> Context:
    """The first of the pairs and the command that trains the first of them again."""
    rows, found = shown.head(MAX_ROWS).to_dict("records"), len(shown)
    more = f" The first {len(rows)} of {found}; counterexamples.csv holds them all." if found > len(rows) else ""
    return {
        "head": HEAD,
        "rows": [_row(row) for row in rows],
        "caption": f"Pairs, confirmed ones first, then by severity.{more} Accuracies with 95 % intervals over seeds.",
        "rerun": str(rows[0]["rerun"]) if rows else "",
    }


def _row(row: dict[Any, Any]) -> Context:
    regime = regime_style(str(row["regime"])).label
    return {
        "curve": f"{name(row['dataset'])} {name(row['model'])}, {regime}, m={row['momentum']:g}",
        "attack": f"{name(row['attack'])}, ε = {row['epsilon']:g}, {name(row['loss'])}",
        "batch": f"{row['batch_i']} → {row['batch_j']}",
        "lambda1": f"{number(row['lambda1_i'])} → {number(row['lambda1_j'])}",
        "accuracy": [_accuracy(row, "i"), _accuracy(row, "j")],
        "clean": f"{100 * row['clean_i']:.1f} → {percent(row['clean_j'])}",
        "train_loss": f"{number(row['train_loss_i'], 2)} → {number(row['train_loss_j'], 2)}",
        "q": number(row["q"], 2),
        "severity": number(row["severity"], 2),
        "label": " · ".join(part for part in (row["label"], row["reason"], row["note"]) if part),
    }


def _accuracy(row: dict[Any, Any], side: str) -> str:
    low, high = row[f"accuracy_low_{side}"], row[f"accuracy_high_{side}"]
    limits = "" if np.isnan(low) else f" [{100 * low:.1f}, {100 * high:.1f}]"  # one seed each has none
    return f"{percent(row[f'accuracy_{side}'])}{limits}"


PAPER_CLAIM = "A9"

PAPER_PANELS = ("A-18L", "A-18R", "A-6R")
"""FGSM, PGD and lambda1 against batch size: natural-training paper (2020), Figures 6 and 18."""

PAPER_CURVE = {"dataset": "fashion-mnist", "model": "stdcnn", "regime": "lr"}


def paper_counterexample_section(findings: Findings, charts: Charts) -> Section | None:
    """The natural-training paper's own counterexample: StdCNN on Fashion-MNIST at a constant learning rate.

    Shows the verdict on claim A9, its three panels, and every pair of batch sizes on its curves. None if no network
    of that paper was run or planned.
    """
    frames = (findings.table.points, findings.table.planned)
    found = {pair for frame in frames for pair in zip(frame["dataset"], frame["model"], strict=True)}
    if not found & {(study.dataset, study.model) for study in STUDIES}:
        return None
    pairs = _paper_pairs(findings.counterexamples.found)
    counts = Counter(zip(pairs["loss"], pairs["label"], strict=True)) if len(pairs) else {}
    context = {
        "verdicts": [_verdict(verdict) for verdict in findings.verdicts if verdict.claim == PAPER_CLAIM],
        "panels": _paper_panels(findings, charts),
        "commands": FIGURES[PAPER_PANELS[-1]].commands(findings.table.location),
        "counts": "; ".join(f"{name(loss)}: {count} {label}" for (loss, label), count in counts.items()),
        "shown": pair_table(pairs),
    }
    return Section("exception", "The paper's own counterexample", "The paper's own counterexample", context)


def _verdict(verdict: Verdict) -> Context:
    text = ". ".join(part.rstrip(".") for part in (verdict.effect_text, verdict.reason) if part)
    return {"claim": verdict.claim, "loss": verdict.loss, "verdict": verdict.verdict, "text": text}


def _paper_panels(findings: Findings, charts: Charts) -> Group:
    shown = [(FIGURES[panel], figure) for panel in PAPER_PANELS for figure in findings.panels[panel]]
    return group(
        charts,
        [figure for _, figure in shown],
        [f"Figure {panel.number}: {figure.title.split(': ', 1)[-1]}" for panel, figure in shown],
        styles=FIGURES[PAPER_PANELS[0]].curves.styles,
        lines=True,
    )


def _paper_pairs(found: pd.DataFrame) -> pd.DataFrame:
    """The pairs on the paper's curves, for all momenta that were run."""
    if found.empty:
        return found
    here = (found[list(PAPER_CURVE)] == pd.Series(PAPER_CURVE)).all(axis=1)
    return found[here & (found["curvature"] == CURVATURE) & (found["direction"] == COUNTEREXAMPLE)]
