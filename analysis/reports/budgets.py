"""Optimizers compared: accuracy per epoch and per unit of compute, and whether a gain remains at equal compute.

The unit of compute is an epoch of gradients: as many gradients of one image as there are training images (a forward
pass alone counts a third). SVRG needs more of them for its anchors, selective backprop fewer.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.statistics.estimates import Floats, LinearContrast, mean_of_seeds
from analysis.statistics.thresholds import FLOOR, MIN_SEEDS, SIGNIFICANCE
from analysis.tables.table import PROTOCOL, StudyTable

BASELINE = "sgd"

RATIO = "lr_bs"

PLACE = ("dataset", "model", *(name for name in PROTOCOL if name != "epochs"))
"""What all runs of a comparison share in addition to the batch size; epochs are the budget."""


@dataclass(frozen=True)
class OptimizerRun:
    """The seeds of one optimizer at one budget.

    Attributes:
        optimizer: Its name.
        own: The regime it was run under if that is not the comparison's (Adam keeps its own rate), else "".
        epochs: The budget in epochs.
        gradient_epochs: The budget in epochs of gradients, mean over seeds.
        steps: Updates of the weights, mean over seeds.
        seeds: The seeds in words.
        accuracy: Measure ("clean", "pgd 0.15") -> accuracy of each seed as a fraction, shape (seeds,).
    """

    optimizer: str
    own: str
    epochs: int
    gradient_epochs: float
    steps: float
    seeds: tuple[str, ...]
    accuracy: dict[str, Floats]


@dataclass(frozen=True)
class OptimizerComparison:
    """Several optimizers on one data set, model and batch size under one regime; `measures` in order."""

    place: tuple[Any, ...]
    batch_size: int
    regime: str
    measures: tuple[str, ...]
    runs: tuple[OptimizerRun, ...]

    def __getitem__(self, column: str) -> Any:
        return self.place[PLACE.index(column)]

    @property
    def strongest(self) -> str | None:
        """The attack with the largest epsilon, PGD rather than FGSM, that does not leave every optimizer at 0."""
        attacked = [m for m in self.measures if m != "clean"]
        above = [m for m in attacked if max(r.accuracy[m].mean() for r in self.runs if m in r.accuracy) > FLOOR]
        return next(reversed(above or attacked), None)

    def of(self, optimizer: str) -> list[OptimizerRun]:
        """The runs of one optimizer, shortest budget first."""
        return sorted((r for r in self.runs if r.optimizer == optimizer), key=lambda r: r.epochs)


def comparisons(table: StudyTable) -> list[OptimizerComparison]:
    """Every place, batch size and regime where at least two optimizers finished, without momentum."""
    points = _plain(table.points)
    if points["optimizer"].nunique() < 2:
        return []
    where = [*PLACE, "batch_size"]
    points = points[points.groupby(where, dropna=False)["optimizer"].transform("nunique") > 1]
    answers = _answers(table, points["trial_id"])
    found = []
    places: Any = points.groupby(where, dropna=False, sort=True)
    for (*place, batch_size), here in places:
        several = here.groupby("regime")["optimizer"].agg(set).to_dict()
        chosen = [regime for regime, names in several.items() if len(names) > 1]
        chosen = [regime for regime in chosen if BASELINE in several[regime]] or chosen
        for regime in chosen:
            runs = _runs(here, str(regime), answers)
            measures = list(dict.fromkeys(m for run in runs for m in run.accuracy))
            values = tuple(None if pd.isna(value) else value for value in place)
            found.append(
                OptimizerComparison(values, int(batch_size), str(regime), tuple(_ordered(measures)), tuple(runs))
            )
    return found


def _plain(points: pd.DataFrame) -> pd.DataFrame:
    """Finished runs without momentum and adversarial training, each optimizer with its least weight decay."""
    ok = (points["status"] == "ok") & (points["adversarial_training"] == "none") & (points["momentum"] == 0.0)
    ok &= points["gradient_equivalents"].notna() & points["test_acc"].notna()
    mine = points[ok]
    least = mine.groupby([*PLACE, "optimizer"], dropna=False)["weight_decay"].transform("min")
    return mine[mine["weight_decay"] == least]


def _answers(table: StudyTable, trial_ids: Iterable[str]) -> dict[str, dict[str, float]]:
    """Trial id -> "attack epsilon" -> accuracy under the published loss."""
    attacks = table.attacks
    wanted = attacks["trial_id"].isin(set(trial_ids)) & (attacks["loss"] == "ce") & (attacks["split"] == "test")
    answers = attacks.loc[wanted, ["trial_id", "attack", "epsilon", "accuracy"]]
    answers = answers.drop_duplicates(["trial_id", "attack", "epsilon"])
    found: dict[str, dict[str, float]] = {}
    for trial_id, attack, epsilon, accuracy in answers.itertuples(index=False, name=None):
        found.setdefault(trial_id, {})[f"{attack} {epsilon:g}"] = float(accuracy)
    return found


def _runs(here: pd.DataFrame, regime: str, answers: dict[str, dict[str, float]]) -> list[OptimizerRun]:
    """The runs under a regime, and those of optimizers that were only run under a regime of their own."""
    members = here[here["regime"] == regime].assign(own="")
    others = here[~here["optimizer"].isin(members["optimizer"])]
    others = others[(others["regime"] == RATIO) == (regime == RATIO)]
    both = pd.concat([members, others.assign(own=others["regime"])], ignore_index=True)
    runs = []
    budgets: Any = both.groupby(["optimizer", "own", "epochs"], sort=True)
    for (optimizer, own, epochs), seeds in budgets:
        seeds = seeds.sort_values("seed")
        accuracy = {"clean": seeds["test_acc"].to_numpy(dtype=float)}
        attacked = [answers.get(trial_id, {}) for trial_id in seeds["trial_id"]]
        for question in sorted(set.intersection(*(set(one) for one in attacked))):
            accuracy[question] = np.array([one[question] for one in attacked])
        runs.append(
            OptimizerRun(
                optimizer,
                own,
                int(epochs),
                float((seeds["gradient_equivalents"] / seeds["train_size"]).mean()),
                float(seeds["steps"].mean()),
                tuple(str(seed) for seed in seeds["seed"]),
                accuracy,
            )
        )
    return runs


def _ordered(measures: list[str]) -> list[str]:
    """Clean first, then by epsilon and attack."""
    return sorted(measures, key=lambda m: (m != "clean", float([*m.split(), "0"][1]), m))


def level(run: OptimizerRun, measure: str) -> LinearContrast | None:
    """Mean accuracy over seeds with its standard error; None with fewer than 3 seeds."""
    values = run.accuracy.get(measure, np.empty(0))
    if len(values) < MIN_SEEDS:
        return None
    return mean_of_seeds(values)


def gain_per_epoch(comparison: OptimizerComparison, run: OptimizerRun, measure: str) -> LinearContrast | None:
    """Accuracy less that of SGD after as many epochs; None where SGD was not run for these."""
    same = next((r for r in comparison.of(BASELINE) if r.epochs == run.epochs), None)
    mine, its = level(run, measure), level(same, measure) if same else None
    return mine.less(its) if mine and its else None


def gain_at_equal_compute(comparison: OptimizerComparison, run: OptimizerRun, measure: str) -> LinearContrast | None:
    """Accuracy less that of SGD at as many gradients, between SGD's budgets linear in the logarithm of gradients.

    None where no SGD runs of fewer and of more gradients are there: nothing is extrapolated.
    """
    mine = level(run, measure)
    known = [(r.gradient_epochs, its) for r in comparison.of(BASELINE) if (its := level(r, measure))]
    if mine is None or not known:
        return None
    cost = run.gradient_epochs
    close = next((its for spent, its in known if np.isclose(spent, cost, rtol=0.01)), None)
    if close:
        return mine.less(close)
    below = [pair for pair in known if pair[0] < cost]
    above = [pair for pair in known if pair[0] > cost]
    if not below or not above:
        return None
    (low, first), (high, second) = max(below, key=_spent), min(above, key=_spent)
    share = float(np.log(cost / low) / np.log(high / low))
    return mine.less(first.times(1 - share).less(second.times(-share)))


def _spent(pair: tuple[float, LinearContrast]) -> float:
    return pair[0]


def survives(per_epoch: LinearContrast | None, at_equal_compute: LinearContrast | None) -> str:
    """Whether a gain per epoch remains at equal compute, in a few words."""
    if per_epoch is None:
        return "no SGD network to compare"
    low, high = per_epoch.interval(1 - SIGNIFICANCE)
    if not low > 0:
        return "a loss per epoch" if high < 0 else "no gain shown"
    if at_equal_compute is None:
        return "unknown: no SGD network of this cost"
    low, high = at_equal_compute.interval(1 - SIGNIFICANCE)
    if low > 0:
        return "survives"
    return "reverses" if high < 0 else "is not shown to survive"
