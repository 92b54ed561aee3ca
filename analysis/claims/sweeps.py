"""Curves of one table along the batch size, as samples that the tests take, with what is left out of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.claims.evidence import DIVERGED, Evidence, Key, Reading, curve_key
from analysis.claims.measures import Measure
from analysis.claims.verdict import Coverage
from analysis.statistics.estimates import Finding, Sample
from analysis.tables.table import CURVE, PROTOCOL
from search_spaces import GRIDS, Trial

PAPERS_NETWORKS = {(t.dataset, t.model) for space in GRIDS["full"] for t in space.cells}
"""The data sets and models of all papers."""


@dataclass(frozen=True)
class Setting:
    """What a claim names a curve by: how the network was trained, whatever the data, the sizes and the batch size."""

    regime: str
    momentum: float = 0.0
    optimizer: str = "sgd"
    weight_decay: float = 0.0

    @classmethod
    def of(cls, curve: Mapping[str, Any]) -> Setting:
        """The setting of a curve (or cell, or row) with these keys."""
        momentum, decay = (float("nan") if curve[n] is None else float(curve[n]) for n in ("momentum", "weight_decay"))
        return cls(str(curve["regime"]), momentum, str(curve["optimizer"]), decay)

    @property
    def name(self) -> str:
        """In words: "sgd lr, momentum 0.9"."""
        parts = [f"{self.optimizer} {self.regime}"]
        parts += [f"momentum {self.momentum:g}"] if self.momentum else []
        parts += [f"weight decay {self.weight_decay:g}"] if self.weight_decay else []
        return ", ".join(parts)


@dataclass(frozen=True)
class Scope:
    """The curves a claim speaks of: its paper's data sets x models (`studies`) under `settings`.

    Adversarial training is never among them. `only`: the claim names these data sets and models and no others.
    """

    studies: tuple[Trial, ...]
    settings: tuple[Setting, ...]
    only: bool = False

    def holds(self, curve: Mapping[str, object]) -> bool:
        """Whether the curve of these keys is one of them.

        Networks that no paper has may rehearse a claim; those of one paper never stand in for another's.
        """
        own = self.study(curve["dataset"], curve["model"])
        rehearsal = not self.only and (curve["dataset"], curve["model"]) not in PAPERS_NETWORKS
        to_a_loss = own is not None and own.target_loss is not None
        same_kind = curve["adversarial_training"] == "none" and (curve["target_loss"] is not None) == to_a_loss
        return (own is not None or rehearsal) and same_kind and Setting.of(curve) in self.settings

    def study(self, dataset: object, model: object) -> Trial | None:
        """The paper's own trial on this data set and model; None where it has none."""
        found = (s for s in self.studies if (s.dataset, s.model) == (dataset, model))
        return next(found, None)


@dataclass(frozen=True)
class Sweep:
    """One measure along one curve. `curve` holds the keys of `CURVE`; `flag` (shape (n,)) is "" where sound."""

    curve: Mapping[str, object]
    measure: Measure
    sample: Sample
    flag: NDArray[np.object_]
    trial_id: NDArray[np.object_]

    def sound(self) -> Sample:
        """The measurements without those of flagged cells."""
        return self.sample.where(self.flag == "")

    def without(self, trial_ids: Iterable[object]) -> Sweep:
        """The sweep less some trials."""
        kept = ~np.isin(self.trial_id.astype(str), [str(one) for one in trial_ids])
        return Sweep(self.curve, self.measure, self.sample.where(kept), self.flag[kept], self.trial_id[kept])

    def at(self, batch_sizes: tuple[int, ...]) -> Sweep:
        """The sweep at these batch sizes alone."""
        kept = np.isin(self.sample.batch_size, batch_sizes)
        return Sweep(self.curve, self.measure, self.sample.where(kept), self.flag[kept], self.trial_id[kept])

    @property
    def setting(self) -> Setting:
        """The setting of its curve."""
        return Setting.of(self.curve)

    @property
    def study(self) -> tuple[object, ...]:
        """Data set, model and protocol: what two sweeps must share to be compared."""
        return tuple(self.curve[name] for name in ("dataset", "model", *PROTOCOL))

    @property
    def flagged(self) -> dict[str, list[int]]:
        """Flag -> the batch sizes it left out."""
        flagged: dict[str, list[int]] = {}
        for name in sorted({str(one) for one in self.flag} - {""}):
            flagged[name] = [int(b) for b in np.unique(self.sample.batch_size[self.flag == name])]
        return flagged


def sweeps(evidence: Evidence, scope: Scope, measure: Measure, loss: str | None = None) -> list[Sweep]:
    """Every curve in `scope`, run, planned or in the paper, in a fixed order; one without a run is empty."""
    read = evidence.read(measure.read, loss if measure.attacked else None)
    return [_sweep(curve, measure, read.get(curve)) for curve in _curves(evidence, scope)]


def arms(
    evidence: Evidence, scope: Scope, measure: Measure, loss: str | None, settings: tuple[Setting, ...]
) -> list[tuple[Sweep, ...]]:
    """For every study (data set, model and protocol) in `scope` one sweep a setting; one without a run is empty."""
    studies: dict[tuple[object, ...], list[Sweep]] = {}
    for sweep in sweeps(evidence, replace(scope, settings=settings), measure, loss):
        studies.setdefault(sweep.study, []).append(sweep)
    return [tuple(_arm(found, setting) for setting in settings) for found in studies.values()]


def _arm(found: list[Sweep], setting: Setting) -> Sweep:
    absent = curve_key((dict(found[0].curve) | vars(setting))[name] for name in CURVE)
    return next((s for s in found if s.setting == setting), _sweep(absent, found[0].measure, None))


def _sweep(curve: Key, measure: Measure, read: Reading | None) -> Sweep:
    keys = dict(zip(CURVE, curve, strict=True))
    if read is None:
        nothing = np.array([], dtype=object)
        return Sweep(keys, measure, Sample.of([], [], []), nothing, nothing)
    return Sweep(
        keys, measure, Sample.of(read.batch_size, read.seed, read.value, read.linear), read.flag, read.trial_id
    )


def _curves(evidence: Evidence, scope: Scope) -> list[Key]:
    """The curves of the table, and the paper's own where its data set and model were not even planned."""
    known = {key for key in evidence.curves if scope.holds(dict(zip(CURVE, key, strict=True)))}
    there = {key[:2] for key in known}
    for study in scope.studies:
        if (study.dataset, study.model) not in there:
            for setting in scope.settings:
                values = study.to_dict() | vars(setting)
                known.add(curve_key(values[name] for name in CURVE))
    return sorted(known, key=lambda key: [(value is None, str(value)) for value in key])


@dataclass(frozen=True)
class Guarded:
    """A finding on sound cells, and what the same test says `with_flagged` cells, where there are any."""

    finding: Finding
    note: str = ""
    with_flagged: Finding | None = None


def guarded(test: Callable[..., Finding], *arms: Sweep) -> Guarded:
    """Run `test` on the sound cells of `arms`, and again with the flagged ones.

    Where only the flagged cells would make up enough of a curve, nothing can be said: a curve at its floor is
    flat whatever the network learned.
    """
    finding = test(*(arm.sound() for arm in arms))
    flagged: dict[str, set[int]] = {}
    for arm in arms:
        for name, sizes in arm.flagged.items():
            flagged.setdefault(name, set()).update(sizes)
    if not flagged:
        return Guarded(finding)
    whole = test(*(arm.sample for arm in arms))
    out = "; ".join(
        f"{LEFT_OUT.get(name, name)} at batch {', '.join(map(str, sorted(sizes)))}" for name, sizes in flagged.items()
    )
    if finding.verdict == "not run" and whole.verdict != "not run":
        main = max(flagged, key=lambda name: len(flagged[name]))
        finding = Finding(
            "inconclusive",
            LEFT_OUT.get(main, main),
            effect=whole.effect,
            low=whole.low,
            high=whole.high,
            confidence=whole.confidence,
        )
    return Guarded(finding, f"left out: {out}; with them: {whole.verdict}", whole)


LEFT_OUT = {
    "floor": "at its floor",
    "untrained": "untrained",
    "suspect": "the attack is suspect",
}
"""Flag of a cell -> the reason in words."""


def coverage(evidence: Evidence, scope: Scope) -> Coverage:
    """Trials planned for and found on the curves of `scope`, each counted once."""
    curves = set(_curves(evidence, scope))
    points, planned = evidence.table.points, evidence.table.planned
    found = points.loc[evidence.run.among(curves), ["trial_id", "status"]].drop_duplicates("trial_id")
    asked = planned.loc[evidence.planned.among(curves), "trial_id"]
    states = found["status"].value_counts()
    return Coverage(
        planned=len({*asked, *found["trial_id"]}),
        ok=int(states.get("ok", 0)),
        diverged=int(states.get(DIVERGED, 0)),
        failed=int(states.get("failed", 0)),
    )
