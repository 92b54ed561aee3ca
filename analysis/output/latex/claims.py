"""claims.tex: every claim with its verdict on each loss, its effect with an interval, and its coverage."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import isfinite

from analysis.claims.verdict import Verdict
from analysis.output.latex.longtable import Column, longtable
from analysis.output.latex.text import decimal, escape, interval
from analysis.tables.words import name

COLUMNS = (
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

CAPTION = (
    "The papers' claims. Loss: that of the attack on which the claim was decided. Effect and interval are those of the "
    r"stratum that speaks for the claim, in points of accuracy (pp) or doublings of $\lambda_1$ (dbl); intervals are "
    r"95\,\%, 90\,\% where the claim is that nothing changes. Trials: finished over planned; strata: decided over "
    "all. Inconclusive is not a no."
)


def claims_table(verdicts: Iterable[Verdict]) -> str:
    """A longtable with a line a claim and loss; one line where both losses say the same.

    Claims of which nothing was run are named in the caption alone.
    """
    by_claim: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        by_claim.setdefault(verdict.claim, []).append(verdict)
    silent = [claim for claim, both in by_claim.items() if all(v.verdict == "not run" for v in both)]
    rows: list[Sequence[str]] = []
    for claim, both in by_claim.items():
        if claim not in silent:
            rows += [[]] if rows else []
            rows += _rows(both)
    unrun = f" Not run: {escape(', '.join(silent))}." if silent else ""
    return longtable(COLUMNS, rows, caption=CAPTION + unrun, label="tab:claims", size="scriptsize")


def _rows(both: Sequence[Verdict]) -> list[list[str]]:
    first = both[0]
    same = len(both) > 1 and len({(v.verdict, v.effect.text) for v in both}) == 1
    rows = []
    for verdict in both[:1] if same else both:
        loss = "both" if same else escape(name(verdict.loss).removesuffix(" loss")) if verdict.loss else "--"
        effect = verdict.effect
        unit, digits = UNITS.get(effect.unit, (effect.unit, 2))
        stratum, measured, _ = effect.text.partition(": ")
        rows.append(
            [
                escape(first.claim) if verdict is first else "",
                escape(first.statement) if verdict is first else "",
                loss,
                escape(verdict.verdict),
                escape(stratum) if measured else "--",
                decimal(effect.value, digits, signed=True),
                interval(*verdict.interval, digits),
                escape(unit) if isfinite(effect.value) else "",
                f"{verdict.coverage.ok}/{verdict.coverage.planned}",
                f"{verdict.coverage.strata_decided}/{verdict.coverage.strata}",
            ]
        )
    return rows
