"""counterexamples.tex: the confirmed pairs of cells of which the sharper is the more robust, and their reverse."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from analysis.output.latex.longtable import Column, longtable
from analysis.output.latex.text import decimal, escape, interval, significant
from analysis.reports.counterexamples import COUNTEREXAMPLE, REVERSE
from analysis.statistics.thresholds import FALSE_DISCOVERY_RATE
from analysis.tables.words import name
from analysis.theme import regime_style

COLUMNS = (
    Column("Data set"),
    Column("Model"),
    Column("Regime"),
    Column("$m$", "r"),
    Column("Attack"),
    Column("Loss"),
    Column(r"$\varepsilon$", "r"),
    Column("Batch", "r"),
    Column(r"$\lambda_1$", "r"),
    Column("First, \\%", "r"),
    Column("", "l"),
    Column("Second, \\%", "r"),
    Column("", "l"),
    Column("$q$", "r"),
    Column("Notes"),
)

SPLITS = {"lambda1_train": "training", "lambda1_test": "test"}

NOTES = {"loss-confounded": "L", "clean-confounded": "C"}
"""Note -> its letter in the table, explained in the caption."""

PLAIN = {"optimizer": "sgd", "weight_decay": 0.0, "adversarial_training": "none"}
"""What needs no mention beside the regime."""


def counterexample_tables(found: pd.DataFrame) -> list[str]:
    """A longtable for each curvature and direction with a confirmed pair, most severe first.

    `found`: that of `CounterexampleReport`. Without a confirmed pair: one table that says so.
    """
    confirmed = found[found["label"] == "confirmed"] if len(found) else found
    tables: list[str] = []
    for curvature in ("lambda1_train", "lambda1_test"):
        for direction, slug in ((COUNTEREXAMPLE, "sharper"), (REVERSE, "flatter")):
            mine = confirmed
            if len(confirmed):
                mine = confirmed[(confirmed["curvature"] == curvature) & (confirmed["direction"] == direction)]
            if len(mine) or (confirmed.empty and not tables):
                label = f"tab:counterexamples-{SPLITS[curvature]}-{slug}"
                tables.append(_table(mine, curvature, direction, label))
    return tables


def _table(pairs: pd.DataFrame, curvature: str, direction: str, label: str) -> str:
    pairs = pairs.sort_values("severity", ascending=False, kind="stable") if len(pairs) else pairs
    caption = (
        rf"Confirmed pairs of which the one with the larger batch is {escape(direction)}; $\lambda_1$ on the "
        rf"{SPLITS[curvature]} set. Both cells of a pair are on one curve; batch and $\lambda_1$ run from the first "
        r"to the second. Adversarial accuracies with 95\,\% intervals over seeds; $m$: momentum; $q$: after "
        rf"Benjamini--Yekutieli adjustment over all testable pairs, raised where one noisy cell could "
        rf"feign the pair (at most {FALSE_DISCOVERY_RATE:g}). Most severe first. "
        "L: training losses differ twofold or more; C: the drop from clean accuracy does not differ that way."
    )
    rows = [_row(pair) for pair in pairs.to_dict("records")]
    return longtable(COLUMNS, rows, caption=caption, label=label, size="tiny")


def _row(pair: Mapping[Any, Any]) -> list[str]:
    return [
        escape(name(str(pair["dataset"]))),
        escape(name(str(pair["model"]))),
        escape(", ".join((regime_style(str(pair["regime"])).label.removesuffix(" constant"), *_departures(pair)))),
        f"{pair['momentum']:g}",
        escape(name(str(pair["attack"]))),
        escape(name(str(pair["loss"])).removesuffix(" loss")),
        f"{pair['epsilon']:g}",
        rf"{pair['batch_i']:d} $\to$ {pair['batch_j']:d}",
        rf"{significant(pair['lambda1_i'])} $\to$ {significant(pair['lambda1_j'])}",
        *_accuracy(pair, "i"),
        *_accuracy(pair, "j"),
        significant(pair["q"], 2),
        escape(_notes(str(pair["note"]))),
    ]


def _departures(pair: Mapping[Any, Any]) -> list[str]:
    """What departs from plain SGD on this curve."""
    return [str(pair[key]) for key, plain in PLAIN.items() if pair[key] != plain]


def _accuracy(pair: Mapping[Any, Any], side: str) -> tuple[str, str]:
    low, high = 100 * pair[f"accuracy_low_{side}"], 100 * pair[f"accuracy_high_{side}"]
    return decimal(100 * pair[f"accuracy_{side}"], 1), interval(low, high, 1)


def _notes(note: str) -> str:
    return ", ".join(NOTES.get(part, part) for part in note.split(", ") if part)
