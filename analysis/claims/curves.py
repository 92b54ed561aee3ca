"""A results folder as claims see it: measures along curves, and which curves a claim is about.

`Setting` and `Scope` name curves, `Measure` says what is read of their networks, and `Evidence` reads it: one `Curve`
for each measure and curve, empty where nothing was run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.statistics.estimates import Reach, Sample
from analysis.statistics.groups import Codes, group_codes
from analysis.statistics.thresholds import LOOKS
from analysis.tables.cells import CELL, FLAGS, cells
from analysis.tables.epsilons import headline_epsilons
from analysis.tables.looks import Look, looks
from analysis.tables.table import ALIKE, CURVE, QUESTION, StudyTable
from analysis.tables.words import phrase
from search_spaces import GRIDS, Trial

DIVERGED = "diverged"

Key = tuple[str | float | None, ...]
"""The values of `CURVE` on one curve: numbers as floats, a missing target loss as None."""

_POINT_COLUMNS = (
    *("trial_id", "status", "seed", *CELL, "num_classes", "test_acc", "reached_target"),
    *(f"lambda1_{split}{what}" for split in ("train", "test") for what in ("", "_converged")),
    *(f"{name}_{split}" for name in ("lambda1_x", "grad_x_norm") for split in ("train", "test")),
)
"""Columns of `table.points` that measures are made of."""


@dataclass(frozen=True)
class Setting:
    """How the networks of a curve were trained, whatever their data, sizes and batch size."""

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


PAPERS_CURVES = {
    (t.dataset, t.model, Setting.of(t.to_dict() | {"regime": curve.regime}))
    for space in GRIDS["full"]
    for curve in space.curves
    for t in curve.cells
}
"""The data sets and models of all papers, with the settings under which the papers train each."""

PAPERS_NETWORKS = {network[:2] for network in PAPERS_CURVES}


@dataclass(frozen=True)
class Scope:
    """The curves that a claim is about: its paper's data sets and models (`studies`) under `settings`.

    `only`: the claim names these data sets and models and no others; without it, networks that no paper has may
    rehearse it. `adversarial`: also networks after adversarial training. `reach`: (data set, model) -> the batch sizes
    that a trend needs, where the paper itself printed fewer than `ALONG_BATCH_SIZES`.
    """

    studies: tuple[Trial, ...]
    settings: tuple[Setting, ...]
    only: bool = False
    adversarial: bool = False
    reach: Mapping[tuple[str, str], Reach] = field(default_factory=dict)

    def holds(self, curve: Mapping[str, object]) -> bool:
        """Whether the curve with these keys is one of them; the networks of one paper never stand in for another's."""
        own = self.study(curve["dataset"], curve["model"])
        rehearsal = not self.only and (curve["dataset"], curve["model"]) not in PAPERS_NETWORKS
        to_a_loss = own is not None and own.target_loss is not None
        same_kind = self.adversarial or curve["adversarial_training"] == "none"
        same_kind &= (curve["target_loss"] is not None) == to_a_loss
        return (own is not None or rehearsal) and same_kind and Setting.of(curve) in self.settings

    def study(self, dataset: object, model: object) -> Trial | None:
        """The paper's own trial on this data set and model; None where it has none."""
        return next((s for s in self.studies if (s.dataset, s.model) == (dataset, model)), None)


@dataclass(frozen=True)
class Measure:
    """A measured quantity: `read` takes it from the finished points of a table.

    `unit` is that of values and of `delta(dataset)`, the least change that counts. `attacked`: it needs an attack, so
    it comes once for each attack loss. `asked` puts into words what a network is asked, by data set, where not `name`.
    `epsilons`: data set -> the paper's, where another may stand in for it (`headline_epsilons`).
    """

    name: str
    unit: str
    delta: Callable[[str], float]
    read: Reader
    attacked: bool = False
    asked: Callable[[str], str] | None = None
    epsilons: Mapping[str, float] = field(default_factory=dict, hash=False)

    def question(self, dataset: str) -> str:
        """What a network on this data set is asked: "FGSM at epsilon 0.3"."""
        return self.asked(dataset) if self.asked else phrase(self.name)


Reader = Callable[["Evidence", pd.DataFrame, str | None], pd.DataFrame]
"""(evidence, finished points, attack loss) -> the points that were asked, with their columns and `value` (NaN where the
run diverged), `linear` (the same on the scale of significance), `step` (the least step between two values, NaN where
the run diverged) and `flag` (why a test leaves it out; "" where sound).
"""


@dataclass(frozen=True)
class Curve:
    """One measure along one curve, sorted by batch size and seed.

    `keys` holds the values of `CURVE`; `flag` (shape (n,)) is "" where sound. `sample`, `flag` and `trial_id` are
    aligned. `epsilon`: of the attack, if it is measured under one.
    """

    keys: dict[str, Any]
    measure: Measure
    sample: Sample = field(default_factory=lambda: Sample.of([], [], []))
    flag: NDArray[np.object_] = field(default_factory=lambda: np.array([], dtype=object))
    trial_id: NDArray[np.object_] = field(default_factory=lambda: np.array([], dtype=object))
    epsilon: float | None = None

    def sound(self) -> Sample:
        """The measurements without those of flagged cells."""
        return self.sample.where(self.flag == "")

    def where(self, kept: NDArray[np.bool_]) -> Curve:
        """The curve's measurements where a mask holds."""
        return replace(self, sample=self.sample.where(kept), flag=self.flag[kept], trial_id=self.trial_id[kept])

    def at(self, batch_sizes: tuple[int, ...]) -> Curve:
        """The curve at these batch sizes alone; whole where none is named."""
        return self.where(np.isin(self.sample.batch_size, batch_sizes)) if batch_sizes else self

    @property
    def key(self) -> Key:
        """The values of `CURVE`."""
        return tuple(self.keys.values())

    @property
    def dataset(self) -> str:
        """The data set."""
        return str(self.keys["dataset"])

    @property
    def model(self) -> str:
        """The model."""
        return str(self.keys["model"])

    @property
    def setting(self) -> Setting:
        """How its networks were trained."""
        return Setting.of(self.keys)

    @property
    def study(self) -> tuple[object, ...]:
        """Data set, model and protocol: what two curves must share to be compared."""
        return tuple(self.keys[name] for name in ALIKE)

    @property
    def flagged(self) -> dict[str, list[int]]:
        """Flag -> the batch sizes it leaves out."""
        names = sorted({str(one) for one in self.flag} - {""})
        return {name: [int(b) for b in np.unique(self.sample.batch_size[self.flag == name])] for name in names}


class Evidence:
    """The curves of `table`, each measured once.

    Attributes:
        table: the tables that are read.
        whole: the study's, where `table` is that of one look at it; for reports that adjust over all of its curves.
    """

    def __init__(self, table: StudyTable, whole: StudyTable | None = None) -> None:
        self.table, self.whole = table, whole or table
        self._one_look = whole is not None
        self._read: dict[tuple[Measure, str | None], dict[Key, Curve]] = {}
        self._run, self._run_codes = curve_codes(table.points)
        self._planned, self._planned_codes = curve_codes(table.planned)

    def curves(self, scope: Scope, measure: Measure, loss: str | None) -> list[Curve]:
        """Every curve in `scope`, run, planned or in the paper, in a fixed order; one without a run is empty."""
        found = self._measured(measure, loss if measure.attacked else None)
        return [found.get(key) or Curve(dict(zip(CURVE, key, strict=True)), measure) for key in self._keys(scope)]

    def count(self, scope: Scope) -> dict[str, int]:
        """Trials planned for and found on the curves of `scope`, each counted once, by state."""
        keys = set(self._keys(scope))
        points, planned = self.table.points, self.table.planned
        run = np.array([key in keys for key in self._run], dtype=bool)[self._run_codes]
        asked = np.array([key in keys for key in self._planned], dtype=bool)[self._planned_codes]
        found = points.loc[run, ["trial_id", "status"]].drop_duplicates("trial_id")
        states = found["status"].value_counts()
        return {
            "planned": len({*planned.loc[asked, "trial_id"], *found["trial_id"]}),
            **{state: int(states.get(state, 0)) for state in ("ok", DIVERGED, "failed")},
        }

    @cached_property
    def looks(self) -> tuple[tuple[Look, Evidence], ...]:
        """Each look at a study with a plan for them (`analysis.tables.looks`), with what it reads; else none."""
        found = looks(self.table)
        return tuple((look, Evidence(look.table, self.table)) for look in found.each) if found else ()

    def awaited(self, curves: Iterable[Key]) -> list[Key]:
        """Of one look, the curves of the study that do not have its seeds yet, or never will."""
        if not self._one_look:
            return []
        there = self.whole.once("curves that were run", lambda: set(curve_codes(self.whole.points)[0]))
        return [one for one in curves if one not in self._run and (one in there or self.plans(one))]

    def planned(self, scope: Scope) -> tuple[Key, ...]:
        """The curves of `scope` of which some network was asked for."""
        return tuple(key for key in self._keys(scope) if self.plans(key))

    def plans(self, curve: Key) -> bool:
        """Whether some network of this curve was asked for."""
        return curve in self._planned

    @cached_property
    def as_planned(self) -> Evidence:
        """The curves as if all that was asked for had been trained: what can be tested. Their values mean nothing."""
        return _Planned(self.table)

    def trained(self, curve: Curve) -> bool:
        """Whether any network of this curve trained to the end, whatever it was asked."""
        return curve.key in self._trained

    @cached_property
    def _trained(self) -> set[Key]:
        ok = self.finished["status"] == "ok"
        return {self._run[code] for code in self.finished.loc[ok, "curve"].unique()}

    def _keys(self, scope: Scope) -> list[Key]:
        """The curves of the table, and those of the paper that it lacks.

        A curve that is not even planned is needed all the same: at each protocol of its data set and model in the
        table, or at the paper's where there is none. So no claim is supported by half of its curves.
        """
        there = dict.fromkeys((*self._run, *self._planned))
        known = {key for key in there if scope.holds(dict(zip(CURVE, key, strict=True)))}
        lacking: set[Key] = set()
        for study in scope.studies:
            network = (study.dataset, study.model)
            mine = [dict(zip(CURVE, key, strict=True)) for key in known if key[:2] == network] or [study.to_dict()]
            settings = [s for s in scope.settings if network not in PAPERS_NETWORKS or (*network, s) in PAPERS_CURVES]
            lacking |= {curve_key(curve | vars(setting)) for curve in mine for setting in settings}
        known |= lacking
        return sorted(known, key=lambda key: [(value is None, str(value)) for value in key])

    def _measured(self, measure: Measure, loss: str | None) -> dict[Key, Curve]:
        if (measure, loss) not in self._read:
            rows = measure.read(self, self.finished, loss)
            rows = rows.sort_values(["curve", "batch_size", "seed", "trial_id"])
            columns = ("batch_size", "seed", "value", "linear", "flag", "trial_id", "step", "num_classes")
            rows = rows.assign(step=rows["step"].fillna(0.0))
            epsilons: dict[Any, float] = {}
            if "epsilon" in rows:
                epsilons = rows.groupby("curve")["epsilon"].max().dropna().to_dict()
            codes, first = np.unique(rows["curve"].to_numpy(dtype=np.intp), return_index=True)
            parts = zip(*(np.split(rows[name].to_numpy(), first[1:]) for name in columns), strict=True)
            self._read[measure, loss] = {
                self._run[code]: Curve(
                    dict(zip(CURVE, self._run[code], strict=True)),
                    measure,
                    Sample.of(
                        *values, percent=measure.unit == "points", rounding=float(step.max()), chance=1 / classes[0]
                    ),
                    flag,
                    trial_id,
                    epsilons.get(code),
                )
                for code, (*values, flag, trial_id, step, classes) in zip(codes, parts, strict=False)
            }
        return self._read[measure, loss]

    @cached_property
    def finished(self) -> pd.DataFrame:
        """The points that trained to the end or diverged, with the codes `curve` and `cell`."""
        points = self.table.points[list(_POINT_COLUMNS)].assign(curve=self._run_codes)
        points = points.assign(cell=group_codes(points, ("curve", "batch_size")))
        return points[points["status"].isin(("ok", DIVERGED))].copy()  # in few blocks: every reader chooses from it

    def answers(self, attack: str, loss: str, split: str) -> pd.DataFrame:
        """What finished points answered, by their labels: `dataset`, `epsilon`, `headline`, `correct`, `n`, and the
        `flag` of their cell. `headline` is the headline epsilon of the point (`headline_epsilons`).
        """
        whole, by_question = self._answers
        return by_question.get((attack, loss, split), whole.iloc[:0])

    @cached_property
    def _answers(self) -> tuple[pd.DataFrame, dict[tuple[str, str, str], pd.DataFrame]]:
        """All answers, and those to each attack, loss and split."""
        number = {"target_loss": float}
        codes = self.finished[[*CELL, "cell"]].drop_duplicates("cell").astype(number)
        flags = cells(self.table)[[*CELL, *QUESTION, *FLAGS]].astype(number).astype({"epsilon": float})
        flag = np.select([flags[name].eq(True).to_numpy() for name in FLAGS], FLAGS, "").astype(object)
        flags = flags.assign(flag=flag).merge(codes, on=list(CELL))[["cell", *QUESTION, "flag"]]
        points = self.finished[["trial_id", "regime", "cell"]].assign(point=self.finished.index)
        attacks = self.table.attacks.assign(headline=headline_epsilons(self.whole, self.table.attacks))
        attacks = attacks[["trial_id", "regime", "dataset", "headline", *QUESTION, "correct", "n"]]
        whole = attacks.astype({"epsilon": float}).merge(points, on=["trial_id", "regime"])
        whole = whole.merge(flags, on=["cell", *QUESTION], how="left").set_index("point")
        whole["flag"] = whole["flag"].astype(object).fillna("")
        columns = ["dataset", "epsilon", "headline", "correct", "n", "flag"]
        parts: Any = whole.groupby(["attack", "loss", "split"])
        return whole[columns], {question: part[columns] for question, part in parts}


class _Planned(Evidence):
    """See `Evidence.as_planned`."""

    def _measured(self, measure: Measure, loss: str | None) -> dict[Key, Curve]:
        return {
            key: Curve(dict(zip(CURVE, key, strict=True)), measure, sample, np.full(len(ids), "", dtype=object), ids)
            for key, (sample, ids) in self._samples.items()
        }

    @cached_property
    def _samples(self) -> dict[Key, tuple[Sample, NDArray[np.object_]]]:
        """The networks of the first look at each curve: their sample and trial ids."""
        planned = self.table.planned.assign(curve=self._planned_codes)
        planned = planned[planned["seed"] < LOOKS[0]].drop_duplicates(["curve", "trial_id"])
        planned = planned.sort_values(["curve", "batch_size", "seed"])
        values = np.random.default_rng(0).normal(50.0, 1.0, len(planned))
        curves: Any = planned.assign(value=values).groupby("curve")
        return {
            self._planned[code]: (Sample.of(of["batch_size"], of["seed"], of["value"]), of["trial_id"].to_numpy())
            for code, of in curves
        }


def curve_codes(frame: pd.DataFrame) -> tuple[list[Key], Codes]:
    """The curves of a frame with the columns `CURVE`, in the order of their first rows; each row's place in them."""
    codes = group_codes(frame, CURVE)
    first = np.unique(codes, return_index=True)[1]
    return [curve_key(row) for row in frame.iloc[first][list(CURVE)].to_dict("records")], codes


def curve_keys(frame: pd.DataFrame) -> list[Key]:
    """The curve of each row of a frame with the columns `CURVE`."""
    keys, codes = curve_codes(frame)
    return [keys[code] for code in codes]


def curve_key(values: Mapping[Any, Any]) -> Key:
    """The key of a curve from its values of `CURVE`."""
    return tuple(_plain(values[name]) for name in CURVE)


def _plain(value: Any) -> str | float | None:
    if value is None or isinstance(value, str):
        return value
    number = float(value)
    return None if np.isnan(number) else number


def by_study(curves: Iterable[Curve]) -> list[list[Curve]]:
    """The curves of each data set, model and protocol."""
    studies: dict[tuple[object, ...], list[Curve]] = {}
    for curve in curves:
        studies.setdefault(curve.study, []).append(curve)
    return list(studies.values())
