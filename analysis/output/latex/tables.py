"""The tables of a paper in LaTeX: claims.tex, counterexamples.tex and paper_versus_ours.tex."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from analysis.claims.claim import Verdict, outcome
from analysis.figures.batch_size import SPLITS
from analysis.findings import on_test_images
from analysis.output.conclusion import by_claim
from analysis.output.latex.longtable import Column, decimal, escape, interval, longtable, significant
from analysis.published.paper_versus_ours import (
    LOGARITHMIC,
    NOT_CONSISTENT,
    NOT_DECIDABLE,
    TableComparison,
    our_decimals,
    printed_decimals,
    quantity,
)
from analysis.reports.counterexamples import COUNTEREXAMPLE, REVERSE
from analysis.statistics.thresholds import FALSE_DISCOVERY_RATE
from analysis.tables.words import departures, name
from analysis.theme import regime_style

Row = Mapping[Any, Any]

CLAIM_COLUMNS = (
    Column("Claim"),
    Column("Statement", r"p{0.21\linewidth}"),
    Column("Loss"),
    Column("Verdict"),
    Column("Stratum", r"p{0.15\linewidth}"),
    Column("Effect", "r"),
    Column(r"Interval", "l"),
    Column("Unit"),
    Column("Trials", "r"),
    Column("Strata", "r"),
)

UNITS = {"points": ("pp", 1), "doublings": ("dbl", 2)}
"""Unit -> its abbreviation and the decimals of an effect; any other is written out, with two."""

CLAIM_CAPTION = (
    "The papers' claims. Loss: that of the attack on which the claim was decided. Effect and interval are those of the "
    r"stratum that decides the claim, in points of accuracy (pp) or doublings of $\lambda_1$ (dbl); intervals are "
    r"95\,\%, 90\,\% where the claim is that nothing changes. Trials: finished over planned; strata: decided over "
    "all. Inconclusive does not mean refuted. Supported where run: so by the strata that were run."
)


def claims_table(verdicts: Iterable[Verdict]) -> str:
    """A longtable with a line per claim and loss: verdict, effect with its interval, and coverage.

    A claim has one line if both losses have the same result. Claims that were not run are only listed in the caption.
    """
    claims = by_claim(verdicts)
    not_run = [claim for claim, both in claims.items() if outcome(both) == "not run"]
    rows: list[Sequence[str]] = []
    for claim, both in claims.items():
        if claim not in not_run:
            rows += [[]] if rows else []
            rows += _claim_rows(both)
    listed = f" Not run: {escape(', '.join(not_run))}." if not_run else ""
    return longtable(CLAIM_COLUMNS, rows, caption=CLAIM_CAPTION + listed, label="tab:claims", size="scriptsize")


def _claim_rows(both: Sequence[Verdict]) -> list[list[str]]:
    first = both[0]
    same = len(both) > 1 and len({(v.standing, v.effect_text) for v in both}) == 1
    rows = []
    for verdict in both[:1] if same else both:
        loss = "both" if same else escape(_loss(verdict.loss)) if verdict.loss else "--"
        effect = verdict.shown
        unit, digits = UNITS.get(effect.unit, (effect.unit, 2))
        stratum, measured, _ = verdict.effect_text.partition(": ")
        rows.append(
            [
                escape(first.claim) if verdict is first else "",
                escape(first.statement) if verdict is first else "",
                loss,
                escape(verdict.standing),
                escape(stratum) if measured else "--",
                decimal(effect.effect, digits, signed=True),
                interval(effect.low, effect.high, digits),
                escape(unit) if math.isfinite(effect.effect) else "",
                f"{verdict.coverage.ok}/{verdict.coverage.planned}",
                f"{verdict.coverage.strata_decided}/{verdict.coverage.strata}",
            ]
        )
    return rows


def _loss(loss: str) -> str:
    return name(loss).removesuffix(" loss")


PAIR_COLUMNS = (
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

NOTES = {"loss-confounded": "L", "clean-confounded": "C"}
"""Note -> its letter in the table, explained in the caption."""


def counterexample_tables(found: pd.DataFrame) -> list[str]:
    """A longtable for each curvature and direction with a confirmed pair, most severe first.

    `found`: that of `CounterexampleReport`. Without a confirmed pair there is one table that says so.
    """
    found = on_test_images(found)
    confirmed = found[found["label"] == "confirmed"]
    tables: list[str] = []
    for split in ("train", "test"):
        for direction, slug in ((COUNTEREXAMPLE, "sharper"), (REVERSE, "flatter")):
            mine = confirmed[(confirmed["curvature"] == f"lambda1_{split}") & (confirmed["direction"] == direction)]
            mine = mine.sort_values("severity", ascending=False, kind="stable")
            if len(mine) or (confirmed.empty and not tables):
                label = f"tab:counterexamples-{SPLITS[split]}-{slug}"
                rows = [_pair(pair) for pair in mine.to_dict("records")]
                caption = _pair_caption(split, direction)
                tables.append(longtable(PAIR_COLUMNS, rows, caption=caption, label=label, size="tiny"))
    return tables


def _pair_caption(split: str, direction: str) -> str:
    return (
        rf"Confirmed pairs of which the one with the larger batch is {escape(direction)}; $\lambda_1$ on the "
        rf"{SPLITS[split]} set. Both cells of a pair are on one curve; batch and $\lambda_1$ run from the first "
        r"to the second. Adversarial accuracies on test images with 95\,\% intervals over seeds; $m$: momentum; "
        "$q$: after Benjamini--Yekutieli adjustment over all testable pairs, raised where the noise of a single cell "
        f"could produce the pair (at most {FALSE_DISCOVERY_RATE:g}). Most severe first. "
        "L: training losses differ twofold or more; C: the drop from clean accuracy does not differ that way."
    )


def _pair(pair: Row) -> list[str]:
    unusual = departures(pair, ("optimizer", "weight_decay", "adversarial_training"))
    regime = regime_style(str(pair["regime"])).label.removesuffix(" constant")
    return [
        escape(name(str(pair["dataset"]))),
        escape(name(str(pair["model"]))),
        escape(", ".join([regime, *unusual])),
        f"{pair['momentum']:g}",
        escape(name(str(pair["attack"]))),
        escape(_loss(str(pair["loss"]))),
        f"{pair['epsilon']:g}",
        rf"{pair['batch_i']:d} $\to$ {pair['batch_j']:d}",
        rf"{significant(pair['lambda1_i'])} $\to$ {significant(pair['lambda1_j'])}",
        *_accuracy(pair, "i"),
        *_accuracy(pair, "j"),
        significant(pair["q"], 2),
        escape(", ".join(NOTES.get(part, part) for part in str(pair["note"]).split(", ") if part)),
    ]


def _accuracy(pair: Row, side: str) -> tuple[str, str]:
    low, high = 100 * pair[f"accuracy_low_{side}"], 100 * pair[f"accuracy_high_{side}"]
    return decimal(100 * pair[f"accuracy_{side}"], 1), interval(low, high, 1)


HEADINGS = {
    "clean_acc": r"Clean, \%",
    "lambda1_theta": r"$\lambda_1$",
    "lambda1_x": r"$\lambda_1$ of the input",
    "grad_x_norm": "Input gradient",
    "mean_adv_acc": r"Mean of attacks, \%",
}

MARKS = {NOT_CONSISTENT: r"$^\ast$", NOT_DECIDABLE: r"$^?$"}


def published_tables(comparisons: Sequence[TableComparison]) -> list[str]:
    """A longtable for each printed table and split of which anything was run."""
    return [_published_table(one, split) for one in comparisons if one.was_run for split in one.splits]


def _published_table(one: TableComparison, split: str) -> str:
    cells = one.cells[one.cells["split"] == split]
    quantities = list(dict.fromkeys(map(quantity, cells.to_dict("records"))))
    rows: list[Sequence[str]] = []
    for label, of_row in cells.groupby("row", sort=False):
        found = {quantity(cell): cell for cell in of_row.to_dict("records")}
        rows += [[]] if rows else []
        rows += _published_rows(str(label), [found.get(key) for key in quantities])
    protocols = "; ".join(filter(None, dict.fromkeys(cells.loc[cells["seeds"] > 0, "protocol"])))
    caption = (
        f"{escape(one.title)}, {SPLITS[split]} set: the printed numbers beside ours, means over seeds with "
        r"95\,\% Student $t$ prediction intervals of one more run (geometric for curvatures and gradients). $^\ast$: "
        "the printed number lies outside this interval, widened by the rounding of the print; $^?$: fewer than two "
        "seeds, not decidable." + (f" Not the paper's protocol: {escape(protocols)}." if protocols else "")
    )
    heads = [Column(_heading(*key), "r") for key in quantities]
    slug = f"{one.table.table}-{one.model}-{split}".lower().replace("_", "-")
    columns = [Column("Batch" if one.by_batch_size else "Network"), Column(""), *heads]
    return longtable(columns, rows, caption=caption, label=f"tab:{slug}", size="scriptsize")


def _heading(metric: str, epsilon: float | None) -> str:
    if metric in HEADINGS:
        return HEADINGS[metric]
    at = "" if epsilon is None else rf" {epsilon:g}"
    return rf"{escape(name(metric.removesuffix('_acc')))}{at}, \%"


def _published_rows(label: str, cells: Sequence[Row | None]) -> list[list[str]]:
    """The printed line and ours; below them our intervals, if there are any."""
    seeds = sorted({int(cell["seeds"]) for cell in cells if cell and cell["seeds"]})
    several = f"{'--'.join(map(str, dict.fromkeys((seeds[0], seeds[-1]))))} seeds" if seeds else ""
    count = f" ({'1 seed' if seeds == [1] else several})" if seeds else ""
    printed = ["--" if cell is None else decimal(cell["paper"], printed_decimals(cell)) for cell in cells]
    limits = [_limits(cell) for cell in cells]
    rows = [[escape(label), "paper", *printed], ["", f"ours{count}", *(_ours(cell) for cell in cells)]]
    return [*rows, ["", "", *limits]] if any(limits) else rows


def _ours(cell: Row | None) -> str:
    if cell is None:
        return "--"
    logarithmic = cell["metric"] in LOGARITHMIC
    shown = significant(cell["ours"]) if logarithmic else decimal(cell["ours"], our_decimals(cell))
    return shown + MARKS.get(str(cell["verdict"]), "")


def _limits(cell: Row | None) -> str:
    if cell is None or pd.isna(cell["low"]):
        return ""
    if cell["metric"] in LOGARITHMIC:
        return f"[{significant(cell['low'])}, {significant(cell['high'])}]"
    return interval(cell["low"], cell["high"], our_decimals(cell))
