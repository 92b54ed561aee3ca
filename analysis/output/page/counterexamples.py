"""The counterexample section: pairs of settings of which the sharper is the more robust."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.findings import CURVATURE, Findings, on_test_images
from analysis.output.page.charts import Charts, group
from analysis.output.page.claims import BY_ORDER
from analysis.output.page.templates import Section
from analysis.reports.counterexamples import COUNTEREXAMPLE, REVERSE
from analysis.statistics.thresholds import LOOKS, LOSS_RATIO
from analysis.tables.table import CURVE
from analysis.tables.words import curve_name, name, network_name
from analysis.theme import number, percent

MAX_PAIRS = 12

PAIR = (*CURVE, "attack", "epsilon", "batch_i", "batch_j")
"""What the rows of one pair on both losses share."""

HEAD = (
    "Pair and attack",
    "Adversarial accuracy",
    "Loss attacked",
    "λ₁ (training set)",
    "Clean",
    "Training loss",
    "q",
    "Strength",
    "Label",
)

WORDS = {
    "suspect": "attack unreliable",
    "floor artefact": "accuracy below 1 %",
    "floor": "",  # the label says it
    "loss-confounded": "training losses differ",
    "clean-confounded": "clean accuracy may explain it",
}
"""Reason or note of the report -> its words on the page; a note is explained below the table."""

Context = dict[str, Any]


def counterexample_section(findings: Findings, charts: Charts) -> Section:
    """The counts for both losses, the arrows, the table and how to run a pair again."""
    report = findings.counterexamples
    found = on_test_images(report.found)
    shown = found[(found["curvature"] == CURVATURE) & (found["direction"] == COUNTEREXAMPLE)]
    headings = [figure.title.replace(": counterexamples under", ",") for figure in findings.arrows]
    context = {
        "by_order": _by_order(findings) if not (shown["label"] == "confirmed").any() else "",
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


def _by_order(findings: Findings) -> str:
    """The claim that a sign-error alone supports; "" if there is none."""
    supported = (verdict for verdict in findings.verdicts if verdict.verdict == "supported")
    return next((verdict.claim for verdict in supported if verdict.shown.part == BY_ORDER), "")


def _pairs(shown: pd.DataFrame) -> Context:
    """Confirmed pairs, else the strongest one of each curve, each with what was found on either loss.

    With the command that trains the first again.
    """
    pairs: dict[tuple[str, ...], list[dict[Any, Any]]] = {}
    for row in shown.to_dict("records"):
        pairs.setdefault(tuple(str(row[column]) for column in PAIR), []).append(row)
    found = list(pairs.values())
    chosen, what = [rows for rows in found if rows[0]["label"] == "confirmed"], "Confirmed pairs, the strongest first."
    if not chosen:
        of_curve = {key[: len(CURVE)]: rows for key, rows in reversed(pairs.items())}
        chosen, what = list(reversed(of_curve.values())), "No pair is confirmed. The strongest one of each curve."
    first = chosen[:MAX_PAIRS]
    more = (
        f" {len(first)} of {len(found)}; counterexamples.csv has a row for each pair, loss, measure of λ₁ and set."
        if len(found) > len(first)
        else ""
    )
    return {
        "head": HEAD,
        "pairs": [_pair(rows) for rows in first],
        "caption": f"{what}{more} Accuracies with 95 % intervals over seeds.",
        "ratio": f"{LOSS_RATIO:g}",
        "rerun": str(first[0][0]["rerun"]) if first else "",
    }


def _pair(rows: Sequence[dict[Any, Any]]) -> Context:
    row = rows[0]
    return {
        "curve": f"{network_name(row['dataset'], row['model'])}, {curve_name(row['regime'], row['momentum'])}",
        "attack": f"{name(row['attack'])}, ε = {row['epsilon']:g}",
        "batch": f"batch {row['batch_i']} → {row['batch_j']}",
        "lambda1": [number(row[f"lambda1_{side}"]) for side in "ij"],
        "clean": [percent(row[f"clean_{side}"]) for side in "ij"],
        "train_loss": [number(row[f"train_loss_{side}"], 2) for side in "ij"],
        "losses": [_on_one_loss(one) for one in rows],
    }


def _on_one_loss(row: dict[Any, Any]) -> Context:
    said = (WORDS.get(one, one) for text in (row["reason"], row["note"]) for one in str(text).split(", ") if one)
    return {
        "loss": name(row["loss"]).removesuffix(" loss"),
        "accuracy": [_accuracy(row, side) for side in "ij"],
        "q": "–" if np.isnan(row["q"]) else number(row["q"], 2),
        "strength": number(row["severity"], 2),
        "label": " · ".join(filter(None, (WORDS.get(row["label"], row["label"]), *said))),
    }


def _accuracy(row: dict[Any, Any], side: str) -> str:
    low, high = row[f"accuracy_low_{side}"], row[f"accuracy_high_{side}"]
    limits = "" if np.isnan(low) else f" [{100 * low:.1f}, {100 * high:.1f}]"  # one seed each has none
    return f"{percent(row[f'accuracy_{side}'])}{limits}"
