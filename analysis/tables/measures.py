"""Measures of a network as one number each, by name: what tables, figures and tests of measures choose from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from analysis.statistics.groups import group_codes
from analysis.tables.epsilons import at_headline
from analysis.tables.table import ALIKE, StudyTable
from search_spaces.probe import LOSSES

WORST, ANY_LOSS = "worst", "any_loss"
"""Names of the combined attack and loss: an image counts as right only if it withstands every stored attack on every
loss."""

AUTO = ("apgd_ce", "apgd_t")


@dataclass(frozen=True)
class Measure:
    """A measure of trained networks.

    Attributes:
        name: by which a choice names it.
        label: what text calls it.
        short: what axes call it.
        of: a table to one value a network, indexed by trial id; NaN where it was not measured. A larger value stands
            for what it measures: more robust, sharper.
    """

    name: str
    label: str
    short: str
    of: Callable[[StudyTable], pd.Series]


def worst(table: StudyTable) -> pd.DataFrame:
    """Test images that withstand every stored attack in the max-norm ball, on every loss, network by network.

    One row per trained network and epsilon: `trial_id`, `epsilon`, `correct`, `n`, `accuracy` and `attacks`, the number
    of attacks (each loss counts). Read from the stored bits; networks without them are left out.
    """
    return table.once("worst of the attacks", lambda: _worst(table))


_ANSWER = {"trial_id": object, "epsilon": float, "correct": int, "n": int, "accuracy": float, "attacks": int}
"""Columns of `worst` and their types."""


def _worst(table: StudyTable) -> pd.DataFrame:
    attacks = table.attacks
    mine = (attacks["split"] == "test") & (attacks["norm"] != "l2") & (attacks["status"] == "ok")
    asked = attacks.loc[mine, ["trial_id", "attack", "loss", "epsilon", "steps_probe", "n", "correct_bits"]]
    asked = asked.drop_duplicates(["trial_id", "attack", "loss", "epsilon", "steps_probe"])  # a run on two curves
    stored = asked["correct_bits"].to_numpy()
    images, epsilons = asked["n"].to_numpy(dtype=int), asked["epsilon"].to_numpy(dtype=float)
    names = asked["trial_id"].to_numpy(dtype=object)
    codes = group_codes(asked, ["trial_id", "epsilon"])
    found = []
    for rows in np.split(np.argsort(codes, kind="stable"), np.cumsum(np.bincount(codes))[:-1]) if codes.size else ():
        n, first = int(images[rows[0]]), rows[0]
        known = [raw for raw in stored[rows] if isinstance(raw, bytes)]
        if len(known) < len(rows) or (images[rows] != n).any():
            continue
        packed = np.frombuffer(b"".join(known), dtype=np.uint8).reshape(len(known), -1)
        correct = int(np.unpackbits(np.bitwise_and.reduce(packed, axis=0), count=n).sum())
        found.append((names[first], epsilons[first], correct, n, correct / n, len(known)))
    return pd.DataFrame(found, columns=list(_ANSWER)).astype(_ANSWER)


def count_of_attacks(table: StudyTable) -> pd.Series:
    """How many attacks the measure `WORST` is over, at the headline epsilon, indexed by trial id; NA without it."""
    return _at_headline(worst(table), table, "attacks").astype("Int64")


def worst_attacks(table: StudyTable) -> pd.DataFrame:
    """The rows of `worst` as rows of `table.attacks`, an attack `WORST` on `ANY_LOSS`; only where there are several."""
    several = worst(table)
    several = several[several["attacks"] > 1].drop(columns="attacks")
    attacks = table.attacks[(table.attacks["split"] == "test") & (table.attacks["norm"] != "l2")]
    first = attacks.drop_duplicates(["trial_id", "regime", "epsilon"]).drop(columns=["correct", "n", "accuracy"])
    rows = first.merge(several, on=["trial_id", "epsilon"])
    nothing = {"zero_grad_fraction": np.nan, "saturated_fraction": np.nan, "correct_bits": None}
    return rows.assign(attack=WORST, loss=ANY_LOSS, **nothing)[list(table.attacks.columns)]


def _column(name: str, table: StudyTable) -> pd.Series:
    return table.trials.set_index("trial_id")[name].astype(float)


def _quantile(percent: int, table: StudyTable) -> pd.Series:
    quantiles = table.trials.set_index("trial_id")["minimal_epsilon_quantiles"]
    return quantiles.map(lambda found: found[percent] if isinstance(found, list) else np.nan).astype(float)


def _at_headline(answers: pd.DataFrame, table: StudyTable, column: str = "accuracy") -> pd.Series:
    """A column of `answers` at the headline epsilon of each network, the lowest of several."""
    trials = table.trials[["trial_id", *ALIKE]]
    mine = at_headline(table, answers[["trial_id", "epsilon", column]].merge(trials, on="trial_id"))
    return mine.groupby("trial_id")[column].min().reindex(trials["trial_id"])


def _attacked(names: tuple[str, ...], losses: tuple[str, ...], table: StudyTable) -> pd.Series:
    attacks = table.attacks[(table.attacks["split"] == "test") & table.attacks["attack"].isin(names)]
    return _at_headline(attacks[attacks["loss"].isin(losses)], table)


ROBUSTNESS: Mapping[str, Measure] = {
    measure.name: measure
    for measure in (
        Measure("fgsm", "accuracy under FGSM", "FGSM, published loss", partial(_attacked, ("fgsm",), ("ce",))),
        Measure(
            "fgsm_stable",
            "accuracy under FGSM, stable loss",
            "FGSM, stable loss",
            partial(_attacked, ("fgsm",), ("stable",)),
        ),
        Measure("pgd", "accuracy under PGD", "PGD, published loss", partial(_attacked, ("pgd",), ("ce",))),
        Measure(
            "pgd_stable",
            "accuracy under PGD, stable loss",
            "PGD, stable loss",
            partial(_attacked, ("pgd",), ("stable",)),
        ),
        Measure("apgd", "accuracy under auto-PGD", "auto-PGD", partial(_attacked, AUTO, (*LOSSES, "dlr"))),
        Measure(WORST, "accuracy under all attacks", "all attacks", lambda table: _at_headline(worst(table), table)),
        Measure(
            "minimal_epsilon_area",
            "mean smallest perturbation found",
            "mean of least ε",
            partial(_column, "minimal_epsilon_area"),
        ),
        Measure(
            "minimal_epsilon_median", "median smallest perturbation found", "median least ε", partial(_quantile, 50)
        ),
    )
}
"""Name -> measure of robustness; accuracies are those at the headline epsilon."""


def robustness(table: StudyTable) -> pd.DataFrame:
    """The measures of `ROBUSTNESS` of every trained network, a column each, indexed by trial id."""
    return table.once("robustness", lambda: pd.DataFrame({name: one.of(table) for name, one in ROBUSTNESS.items()}))


def _lambda1_times_norm(table: StudyTable) -> pd.Series:
    """lambda1 times the squared norm of the weights, on which a common factor of all weights has no effect."""
    return _column("lambda1_train", table) * _column("weight_norm", table) ** 2


def _doubt(table: StudyTable) -> pd.Series:
    return 1.0 - _column("train_confidence", table)


def _sharpness(name: str, table: StudyTable) -> pd.Series:
    """The answers of a probe of sharpness on training images; of several, that on most images."""
    entries = table.sharpness[(table.sharpness["measure"] == name) & (table.sharpness["split"] == "train")]
    largest = entries.sort_values("subset_size", ascending=False).drop_duplicates("trial_id").set_index("trial_id")
    return largest["value"].astype(float).reindex(table.trials["trial_id"])


SHARPNESS: Mapping[str, Measure] = {
    measure.name: measure
    for measure in (
        Measure("lambda1_train", "λ₁ on the training set", "λ₁, training", partial(_column, "lambda1_train")),
        Measure("lambda1_test", "λ₁ on the test set", "λ₁, test", partial(_column, "lambda1_test")),
        Measure("lambda1_norm", "λ₁ × squared norm of the weights", "λ₁ × ‖w‖²", _lambda1_times_norm),
        Measure("trace", "trace of the Hessian", "trace", partial(_sharpness, "trace")),
        Measure("adaptive_sharpness", "adaptive sharpness", "adaptive", partial(_sharpness, "adaptive_sharpness")),
        Measure(
            "adaptive_sharpness_normalised",
            "adaptive sharpness, normalised logits",
            "adaptive, norm.",
            partial(_sharpness, "adaptive_sharpness_normalised"),
        ),
        Measure(
            "relative_flatness", "relative flatness", "relative flatness", partial(_sharpness, "relative_flatness")
        ),
        Measure("doubt", "1 − mean confidence on training images", "1 − confidence", _doubt),
    )
}
"""Name -> measure of sharpness. The less confident a network is, the sharper is its cross-entropy: `doubt`."""


def sharpness(table: StudyTable) -> pd.DataFrame:
    """The measures of `SHARPNESS` of every trained network, a column each, indexed by trial id."""
    return table.once("sharpness", lambda: pd.DataFrame({name: one.of(table) for name, one in SHARPNESS.items()}))
