"""The natural-training paper's own counterexample: StdCNN on Fashion-MNIST at a constant learning rate."""

from __future__ import annotations

from collections import Counter

import pandas as pd

from analysis.claims.verdict import Verdict
from analysis.figures import FIGURES
from analysis.findings import CURVATURE, Findings
from analysis.output.page.charts import Charts, group
from analysis.output.page.counterexamples import pair_table
from analysis.output.page.figures import commands
from analysis.output.page.html import Content, Html, element, section
from analysis.reports.counterexamples import COUNTEREXAMPLE
from analysis.tables.words import name
from search_spaces.natural_training import STUDIES

CLAIM = "A9"
PANELS = ("A-18L", "A-18R", "A-6R")
"""FGSM, PGD and lambda1 against batch size: natural-training paper (2020), Figures 6 and 18."""

CURVE = {"dataset": "fashion-mnist", "model": "stdcnn", "regime": "lr"}


def paper_counterexample_section(findings: Findings, charts: Charts) -> Html | None:
    """Claim A9's verdict, its three panels, and every pair of batch sizes on the curves that it speaks of.

    None where no network of that paper was run or planned.
    """
    frames = (findings.table.points, findings.table.planned)
    found = {pair for frame in frames for pair in zip(frame["dataset"], frame["model"], strict=True)}
    if not found & {(study.dataset, study.model) for study in STUDIES}:
        return None
    return section(
        "exception",
        "The paper's own counterexample",
        element(
            "p",
            "Section 3.2 of the natural-training paper: StdCNN on Fashion-MNIST at a constant learning rate becomes "
            "more robust with the batch size although λ₁ rises.",
            class_="note",
        ),
        element("ul", [_said(verdict) for verdict in findings.verdicts if verdict.claim == CLAIM]),
        _panels(findings, charts),
        _evidence(findings.counterexamples.found),
    )


def _said(verdict: Verdict) -> Html:
    text = ". ".join(part.rstrip(".") for part in (verdict.effect.text, verdict.reason) if part)
    loss = f" ({name(verdict.loss)}): " if verdict.loss else ": "
    return element(
        "li", element("a", CLAIM, href=f"#claim-{CLAIM}"), loss, element("strong", verdict.verdict), f". {text}."
    )


def _panels(findings: Findings, charts: Charts) -> Content:
    drawn = {panel: findings.panels[panel] for panel in PANELS if findings.panels[panel]}
    if not drawn:
        return [
            element("p", "Its cells were not run. This runs them:", class_="note"),
            commands(FIGURES[PANELS[-1]], findings.table.location),
        ]
    places = [
        charts.figure(figure, f"Figure {FIGURES[panel].number}: {figure.title.split(': ', 1)[-1]}")
        for panel, figures in drawn.items()
        for figure in figures
    ]
    return group(places, FIGURES[PANELS[0]].curves.styles, lines=True)


def _evidence(found: pd.DataFrame) -> Content:
    """The pairs of its curves, whichever momenta were run."""
    if not len(found):
        return element("p", "No pair of batch sizes on its curves is sharper and yet more robust.")
    here = (found[list(CURVE)] == pd.Series(CURVE)).all(axis=1)
    pairs = found[here & (found["curvature"] == CURVATURE) & (found["direction"] == COUNTEREXAMPLE)]
    if not len(pairs):
        return element("p", "No pair of batch sizes on its curves is sharper and yet more robust.")
    counts = Counter(zip(pairs["loss"], pairs["label"], strict=True))
    said = "; ".join(f"{name(loss)}: {count} {label}" for (loss, label), count in counts.items())
    text = f"Pairs of batch sizes, over all momenta, attacks and ε that were run: {said}."
    return [element("p", text), pair_table(pairs)]
