"""Verdicts: what a test says of one stratum, what a claim gets over all of them, and both as tidy tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import pandas as pd

from analysis.statistics.estimates import Decision
from analysis.tables.words import phrase

SATURATION_NOTE = "The verdicts on the published and on the stable loss differ: it rests on float32 saturation."


@dataclass(frozen=True)
class StratumResult:
    """One stratum's part in a claim.

    `keys` name it; the key `part` tells the halves of a claim apart that must both hold. `text` is the effect
    in words. `closeness` to the paper: 0 its own protocol, 1 its data set and model at other sizes, 2 another
    data set. A stratum that is shown but not `counted` says why in `note`.
    """

    keys: Mapping[str, object]
    verdict: Decision
    effect: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")
    p: float = float("nan")
    p_refuted: float = float("nan")
    unit: str = ""
    text: str = ""
    note: str = ""
    protocol: str = ""
    closeness: int = 0
    counted: bool = True

    @property
    def name(self) -> str:
        """The stratum in words, for sentences and tables."""
        return ", ".join(dict.fromkeys(phrase(str(value)) for value in self.keys.values()))


@dataclass(frozen=True)
class Effect:
    """An effect in words and as a number with its unit."""

    text: str
    value: float = float("nan")
    unit: str = ""


@dataclass(frozen=True)
class Coverage:
    """Trials behind a claim, and how many of its strata could be decided."""

    planned: int = 0
    ok: int = 0
    diverged: int = 0
    failed: int = 0
    strata_decided: int = 0
    strata: int = 0

    @property
    def text(self) -> str:
        """The counts in words."""
        return (
            f"{self.ok} of {self.planned} trials ok, {self.diverged} diverged, {self.failed} failed; "
            f"{self.strata_decided} of {self.strata} strata decided"
        )


@dataclass(frozen=True)
class Source:
    """Where a paper makes a claim."""

    paper: str
    section: str
    figures: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """A claim's verdict with everything a reader needs to judge it.

    `loss` is the attack's loss on which it was decided (`ce` as published, or `stable`), None for claims
    without an attack. `protocol` says at which sizes it was reached. `differs` marks a claim whose two losses
    disagree.
    """

    claim: str
    statement: str
    source: Source
    verdict: Decision
    reason: str
    loss: str | None = None
    effect: Effect = Effect("no effect measured")
    interval: tuple[float, float] = (float("nan"), float("nan"))
    coverage: Coverage = Coverage()
    protocol: str = ""
    strata: tuple[StratumResult, ...] = field(default=(), repr=False)
    differs: bool = False

    @property
    def figures(self) -> tuple[str, ...]:
        """Ids of the paper's figures that show the claim."""
        return self.source.figures


def mark_differing(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """The same verdicts; where a claim's two losses disagree, `differs` is set and the reason says so."""
    listed = list(verdicts)
    reached: dict[str, set[Decision]] = {}
    for verdict in listed:
        if verdict.verdict != "not run":
            reached.setdefault(verdict.claim, set()).add(verdict.verdict)
    return [
        replace(v, differs=True, reason=f"{v.reason} {SATURATION_NOTE}")
        if len(reached.get(v.claim, ())) > 1 and v.verdict != "not run"
        else v
        for v in listed
    ]


def to_frame(verdicts: Iterable[Verdict]) -> pd.DataFrame:
    """One row a claim and loss: the tidy table behind `claims.csv`."""
    return pd.DataFrame([_row(verdict) for verdict in verdicts], columns=CLAIM_COLUMNS)


def _row(v: Verdict) -> dict[str, object]:
    return {
        "claim": v.claim,
        "statement": v.statement,
        "paper": v.source.paper,
        "section": v.source.section,
        "figures": " ".join(v.figures),
        "loss": v.loss,
        "verdict": v.verdict,
        "differs": v.differs,
        "effect": v.effect.value,
        "low": v.interval[0],
        "high": v.interval[1],
        "unit": v.effect.unit,
        "effect_text": v.effect.text,
        **{name: getattr(v.coverage, name) for name in COVERAGE_COLUMNS},
        "protocol": v.protocol,
        "reason": v.reason,
    }


COVERAGE_COLUMNS = ("planned", "ok", "diverged", "failed", "strata_decided", "strata")
CLAIM_COLUMNS = [
    *("claim", "statement", "paper", "section", "figures", "loss", "verdict", "differs"),
    *("effect", "low", "high", "unit", "effect_text", *COVERAGE_COLUMNS, "protocol", "reason"),
]


def strata_frame(verdicts: Iterable[Verdict]) -> pd.DataFrame:
    """One row a claim, loss and stratum; its keys are columns, null where a stratum has no such key."""
    rows = [
        {
            "claim": v.claim,
            "loss": v.loss,
            "stratum": s.name,
            **{name: s.keys.get(name) for name in STRATUM_KEYS},
            "verdict": s.verdict,
            "counted": s.counted,
            "effect": s.effect,
            "low": s.low,
            "high": s.high,
            "unit": s.unit,
            "effect_text": s.text,
            "p": s.p,
            "p_refuted": s.p_refuted,
            "protocol": s.protocol,
            "note": s.note,
        }
        for v in verdicts
        for s in v.strata
    ]
    return pd.DataFrame(rows, columns=STRATUM_COLUMNS)


STRATUM_KEYS = ("dataset", "model", "regime", "momentum", "setting", "measure", "part")
STRATUM_COLUMNS = [
    *("claim", "loss", "stratum", *STRATUM_KEYS, "verdict", "counted"),
    *("effect", "low", "high", "unit", "effect_text", "p", "p_refuted", "protocol", "note"),
]
