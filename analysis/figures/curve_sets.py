"""What a panel shows: the trials that may share its axes (a `Setup`) and the curves drawn of them (a `CurveSet`)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from analysis.tables.table import PROTOCOL, SETTING, StudyTable
from analysis.tables.words import curve_name, departures, network_name, said, value_text
from analysis.theme import REGIMES, SeriesStyle, momentum_style, regime_style

SHARED = (*SETTING, *PROTOCOL)
"""The columns in which all trials of one panel agree."""


@dataclass(frozen=True)
class Setup:
    """Data set, model and protocol of a panel: the values of the `SHARED` columns, in their order."""

    values: tuple[Any, ...]

    def __getitem__(self, column: str) -> Any:
        return self.values[SHARED.index(column)]

    @property
    def title(self) -> str:
        """Data set and model in words."""
        return network_name(self["dataset"], self["model"])

    @property
    def protocol(self) -> str:
        """Sizes and stopping rule in words, with whatever differs from plain SGD."""
        sizes = [said(column, self[column]) for column in ("epochs", "train_size", "test_size")]
        return ", ".join([*sizes, *departures(dict(zip(SHARED, self.values, strict=True)), (*PROTOCOL, *SETTING))])

    @property
    def slug(self) -> tuple[str, ...]:
        """The parts of its file names: data set, model and epochs, and a digest of all values."""
        digest = hashlib.sha256(repr(self.values).encode()).hexdigest()[:4]
        return str(self["dataset"]), str(self["model"]), f"{value_text(self['epochs'])}ep", digest


def shared_values(values: Iterable[Any]) -> tuple[Any, ...]:
    """The values of the `SHARED` columns of a row as those of a `Setup`: missing values become None."""
    return tuple(None if pd.isna(value) else value for value in values)


def setups(table: StudyTable) -> list[Setup]:
    """Every setup of which a trial was planned or run: networks with more trials and larger protocols first."""
    columns = list(SHARED)
    frames = [f[columns].astype(object) for f in (table.points, table.planned) if not f.empty]
    if not frames:
        return []
    found = pd.concat(frames, ignore_index=True)
    found = found.where(found.notna(), None).drop_duplicates()
    unique = {Setup(tuple(row)) for row in found.itertuples(index=False, name=None)}
    trained = table.trials.loc[table.trials["status"] == "ok", ["dataset", "model"]].value_counts()

    def place(setup: Setup) -> tuple[int, str, str, tuple[float, ...], str]:
        network = (setup["dataset"], setup["model"])
        sizes = tuple(-float(str(setup[c] or 0)) for c in ("epochs", "train_size", "test_size"))
        return -int(trained.get(network, 0)), str(network[0]), str(network[1]), sizes, str(setup.values)

    return sorted(unique, key=place)


@dataclass(frozen=True)
class CurveSet:
    """The curves of a panel. Each is given by its values of `columns`, and has a style.

    `by` is what tells them apart: colour and shape stand for the regime, the momentum or the whole configuration.
    """

    title: str
    by: Literal["regime", "momentum", "configuration"]
    columns: tuple[str, ...]
    curves: tuple[tuple[tuple[Any, ...], SeriesStyle], ...]

    @property
    def styles(self) -> tuple[SeriesStyle, ...]:
        """The styles of all curves, in order."""
        return tuple(style for _, style in self.curves)

    @property
    def slug(self) -> str:
        """Its part of a file name."""
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")

    def keys(self, frame: pd.DataFrame) -> list[tuple[Any, ...]]:
        """The curve that each row of `frame` is on: its values of `columns`."""
        return list(zip(*(frame[column] for column in self.columns), strict=True))

    def select(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The rows of `frame` on these curves."""
        curves = dict(self.curves)
        return frame[np.array([key in curves for key in self.keys(frame)], dtype=bool)]

    def styles_of(self, frame: pd.DataFrame) -> list[SeriesStyle]:
        """The style of the curve that each row is on; every row must be on one of these curves."""
        styles = dict(self.curves)
        return [styles[key] for key in self.keys(frame)]


def by_regime(curves: Iterable[tuple[str, float]], title: str = "Regimes") -> CurveSet:
    """One curve per (regime, momentum), each with the style of its regime."""
    curves = list(curves)
    regimes = in_order({regime for regime, _ in curves})
    styled = []
    for regime, momentum in curves:
        style = regime_style(regime, regimes)
        label = curve_name(regime, momentum)
        styled.append(((regime, momentum), SeriesStyle(label, style.colour, style.shape)))
    return CurveSet(title, "regime", ("regime", "momentum"), tuple(styled))


def by_momentum(regime: str, momenta: Iterable[float], title: str = "") -> CurveSet:
    """One curve per momentum under one regime."""
    momenta = list(momenta)
    curves = tuple(((regime, momentum), momentum_style(momentum, momenta)) for momentum in momenta)
    title = title or f"Momentum under {regime_style(regime).label}"
    return CurveSet(title, "momentum", ("regime", "momentum"), curves)


def curve_sets(run: Collection[tuple[str, float]]) -> list[CurveSet]:
    """The curve sets for the (regime, momentum) pairs of a study: all regimes, then the momenta of each regime.

    The regimes are compared at the smallest momentum that most of those with several share, and a regime with a single
    one at that: in the natural-training paper LR and LR/BS at 0, the benchmark at 0.9. They are compared again at one
    momentum, where more regimes have another one. A regime with a single momentum has no set of its own.
    """
    momenta = {regime: sorted({m for r, m in run if r == regime}) for regime in in_order({r for r, _ in run})}
    choices = [own for own in momenta.values() if len(own) > 1] or list(momenta.values())
    shared = max(sorted({m for own in choices for m in own}), key=lambda m: sum(m in own for own in choices))
    most = max(sorted({m for _, m in run}), key=lambda m: sum(m in own for own in momenta.values()))
    regimes = [by_regime((regime, shared if shared in own else min(own)) for regime, own in momenta.items())]
    if most != shared:
        alike = [(regime, most) for regime, own in momenta.items() if most in own]
        regimes.append(by_regime(alike, f"Regimes at momentum {most:g}"))
    return [*regimes, *(by_momentum(regime, own) for regime, own in momenta.items() if len(own) > 1)]


def in_order(regimes: Collection[str]) -> list[str]:
    """Those of the papers in their order, then the others."""
    return [r for r in REGIMES if r in regimes] + sorted({r for r in regimes if r not in REGIMES})
