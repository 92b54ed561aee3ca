"""What a panel shows: the trials that may share its axes (a setup) and the curves it draws of them (a curves)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import pandas as pd

from analysis.tables.table import PROTOCOL, SETTING, StudyTable
from analysis.tables.words import departures, name, said, value_text
from analysis.theme import REGIMES, SeriesStyle, momentum_style, regime_style

SHARED = (*SETTING, *PROTOCOL)
"""Columns in which all trials of one panel agree."""


@dataclass(frozen=True)
class Setup:
    """Data set, model and protocol of a panel: the values of the `SHARED` columns, in their order."""

    values: tuple[Any, ...]

    def __getitem__(self, column: str) -> Any:
        return self.values[SHARED.index(column)]

    @property
    def title(self) -> str:
        """Data set and model in words."""
        return f"{name(str(self['dataset']))} · {name(str(self['model']))}"

    @property
    def protocol(self) -> str:
        """Sizes and stopping rule in words, with whatever departs from plain SGD."""
        sizes = [said(column, self[column]) for column in ("epochs", "train_size", "test_size")]
        return ", ".join([*sizes, *departures(dict(zip(SHARED, self.values, strict=True)), (*PROTOCOL, *SETTING))])

    @property
    def slug(self) -> tuple[str, ...]:
        """What names it in a file name: data set, model and epochs, with a digest of all of them."""
        digest = hashlib.sha256(repr(self.values).encode()).hexdigest()[:4]
        return str(self["dataset"]), str(self["model"]), f"{value_text(self['epochs'])}ep", digest


def shared_values(values: Iterable[Any]) -> tuple[Any, ...]:
    """The values of the `SHARED` columns of a row as those of a setup: what is missing is None."""
    return tuple(None if pd.isna(value) else value for value in values)


def setups(table: StudyTable) -> list[Setup]:
    """Every setup of which a trial was planned or run, ordered by data set and model; larger protocols first."""
    columns = list(SHARED)
    frames = [f[columns].astype(object) for f in (table.points, table.planned) if not f.empty]
    if not frames:
        return []
    found = pd.concat(frames, ignore_index=True)
    found = found.where(found.notna(), None).drop_duplicates()
    unique = {Setup(tuple(row)) for row in found.itertuples(index=False, name=None)}
    return sorted(unique, key=_order)


def _order(setup: Setup) -> tuple[str, str, tuple[float, ...], str]:
    sizes = tuple(-float(str(setup[c] or 0)) for c in ("epochs", "train_size", "test_size"))
    return str(setup["dataset"]), str(setup["model"]), sizes, str(setup.values)


class Curves(Protocol):
    """Curves that a panel draws, told apart by colour and shape."""

    @property
    def styles(self) -> tuple[SeriesStyle, ...]:
        """The styles of all curves, in order."""

    def styles_of(self, cells: pd.DataFrame) -> list[SeriesStyle]:
        """The style of the curve that each cell is on."""


@dataclass(frozen=True)
class CurveSet:
    """Curves as (regime, momentum), told apart by colour and shape according to `by`."""

    title: str
    curves: tuple[tuple[str, float], ...]
    by: Literal["regime", "momentum"]

    def style(self, regime: str, momentum: float) -> SeriesStyle:
        """The style of one of its curves."""
        if self.by == "momentum":
            return momentum_style(momentum)
        style = regime_style(regime)
        return SeriesStyle(f"{style.label}, m={momentum:g}", style.colour, style.shape)

    def styles_of(self, cells: pd.DataFrame) -> list[SeriesStyle]:
        """The style of the curve that each cell is on."""
        styles = {curve: self.style(*curve) for curve in self.curves}
        return [styles[curve] for curve in zip(cells["regime"], cells["momentum"], strict=True)]

    @property
    def slug(self) -> str:
        """What names it in a file name."""
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")

    @property
    def styles(self) -> tuple[SeriesStyle, ...]:
        """The styles of all its curves, in order."""
        return tuple(self.style(*curve) for curve in self.curves)

    def of(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The rows of `frame` (with `regime` and `momentum`) on its curves."""
        regimes, momenta = frame["regime"].to_numpy(dtype=object), frame["momentum"].to_numpy(dtype=float)
        on_curve = np.zeros(len(frame), dtype=bool)
        for regime, momentum in self.curves:
            on_curve |= (regimes == regime) & (momenta == momentum)
        return frame[on_curve]


def regime_curves(curves: Collection[tuple[str, float]]) -> CurveSet:
    """One curve a regime among those that a study has, at the smallest momentum that most of them share.

    In the natural-training paper that is 0, which the benchmark alone does not have.
    """
    of = {regime: {m for r, m in curves if r == regime} for regime, _ in curves}
    momenta = sorted({m for _, m in curves})
    shared = max(momenta, key=lambda m: sum(m in own for own in of.values()))
    lowest = {regime: shared if shared in own else min(own) for regime, own in of.items()}
    return CurveSet("Regimes", tuple((r, lowest[r]) for r in _in_order(lowest)), "regime")


def momentum_curves(curves: Collection[tuple[str, float]]) -> list[CurveSet]:
    """For each regime with several momenta among those that a study has, its curves by momentum."""
    momenta = {regime: sorted({m for r, m in curves if r == regime}) for regime, _ in curves}
    return [
        CurveSet(f"Momentum under {regime_style(r).label}", tuple((r, m) for m in momenta[r]), "momentum")
        for r in _in_order(momenta)
        if len(momenta[r]) > 1
    ]


def _in_order(regimes: Collection[str]) -> list[str]:
    return [r for r in REGIMES if r in regimes] + sorted(r for r in regimes if r not in REGIMES)


REGIME_CURVES = CurveSet("Regimes", (("lr", 0.0), ("lr_bs", 0.0), ("benchmark", 0.9)), "regime")
"""Natural-training paper, section 3: momentum 0 but for the benchmark, which keeps .9."""

LR_MOMENTUM_CURVES = CurveSet("Momentum under LR", tuple(("lr", m) for m in (0.0, 0.2, 0.5, 0.9)), "momentum")
"""Natural-training paper, section 4.1."""

LR_BS_MOMENTUM_CURVES = CurveSet("Momentum under LR/BS", tuple(("lr_bs", m) for m in (0.0, 0.5, 0.9)), "momentum")
"""Natural-training paper, section 4.2: "momentum values set to 0 and 0.5 or 0.9"."""
