"""Cells: the answers of one configuration's seeds to one attack, summarised, with flags on their use in tests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.statistics.intervals import Array, at_floor, logit_accuracy
from analysis.statistics.thresholds import (
    MIN_SEEDS,
    OVERSTATED,
    ZERO_GRADIENT,
    few_diverged,
    untrained_accuracy,
)
from analysis.tables.measures import AUTO, worst_attacks
from analysis.tables.table import CURVE, QUESTION, STATES, StudyTable

CELL = (*CURVE, "batch_size")
"""The columns of one configuration without its seed, on one curve."""

FLAGS = ("floor", "untrained", "suspect")

_READ = (
    *("trial_id", "status", "seed", *CELL, *QUESTION, "correct", "n", "accuracy"),
    *("zero_grad_fraction", "saturated_fraction", "test_acc", "train_loss", "weight_norm", "num_classes"),
    *(f"lambda1_{split}{what}" for split in ("train", "test") for what in ("", "_converged")),
)
"""Columns of `table.attacks` that a cell summarises."""

_SEED_VALUES = {
    "seeds": "seed",
    "trial_ids": "trial_id",
    "attack_rows": "attack_row",
    "accuracy_seeds": "accuracy",
    "logit_seeds": "logit",
    "log2_lambda1_train_seeds": "log2_lambda1_train",
    "log2_lambda1_test_seeds": "log2_lambda1_test",
    "test_acc_seeds": "test_acc",
    "train_loss_seeds": "train_loss",
}


def cells(table: StudyTable) -> pd.DataFrame:
    """One row per (curve, batch size, attack, loss, split, epsilon), including cells without an answer.

    Columns: those of `analysis.output.columns.CELLS`, without limits and with lambda1 as means of log2 (of the seeds
    with a positive eigenvalue; NaN if none); `logit`, the mean of `logit_accuracy`; and arrays over the ok trials that
    answered this attack, sorted by seed and aligned (empty without an answer): `_SEED_VALUES`, of which `attack_rows`
    are positions in `table.attacks`. "More right under PGD than under FGSM" (`suspect`) is by over two binomial
    standard errors on the same trials and images.
    """
    return table.once("cells", lambda: _cells(table)).copy(deep=False)


def cells_and_worst(table: StudyTable) -> pd.DataFrame:
    """The `cells`, with those of the attack `WORST`, all attacks together, where there are several."""
    together = replace(table, attacks=worst_attacks(table))
    parts = [cells(table)] if together.attacks.empty else [cells(table), cells(together)]
    return pd.concat(parts, ignore_index=True).sort_values([*CELL, *QUESTION], ignore_index=True)


def _cells(table: StudyTable) -> pd.DataFrame:
    roster = roster_of(table)
    roster = roster.assign(cell=roster.groupby(list(CELL), dropna=False, sort=True).ngroup())
    attacks = _answers(table, roster)
    per_cell = _states(roster)
    asked = _asked(attacks, per_cell)
    frame = asked.merge(_aggregate(attacks), on=["cell", *QUESTION], how="left")
    frame["n_seeds"] = frame["n_seeds"].fillna(0).astype(int)
    for name in ("correct", "n"):
        frame[name] = frame[name].fillna(0).astype(int)
    answered = frame["n_seeds"] > 0
    for name in _SEED_VALUES:
        values = [known if some else np.empty(0) for known, some in zip(frame[name], answered, strict=True)]
        frame[name] = pd.Series(values, dtype=object)
    frame = frame.merge(_pgd_above_fgsm(attacks), on=["cell", *QUESTION], how="left")
    frame = frame.merge(_below_pgd(attacks), on=["cell", *QUESTION], how="left")
    frame["overstated"] = frame["overstated"].eq(True)
    frame["floor"] = answered & at_floor(frame["correct"], frame["n"])
    frame["untrained"] = answered & (frame["test_acc"] <= untrained_accuracy(frame["num_classes"]))
    frame["suspect"] = frame["above_fgsm"].eq(True) | (frame["zero_grad_fraction"] > ZERO_GRADIENT)
    frame["sound"] = answered & ~frame[list(FLAGS)].any(axis=1)
    for split in ("train", "test"):
        frame[f"converged_{split}"] = frame[f"converged_{split}"].eq(True)
    frame["decidable"] = (frame["n_seeds"] >= MIN_SEEDS) & few_diverged(frame["n_seeds"], frame["n_diverged"])
    frame = frame.drop(columns=["cell", "above_fgsm", "num_classes"])
    return frame.sort_values([*CELL, *QUESTION], ignore_index=True)


def roster_of(table: StudyTable) -> pd.DataFrame:
    """Every trial on each of its curves, planned or found: its ids, seed and state, and the keys `CELL` of its cell."""
    keys = ["trial_id", "cell_id", *CELL, "seed"]
    found = table.points[keys].assign(state=table.points["status"])
    parts = [part for part in (found, table.planned[[*keys, "state"]]) if len(part)]
    roster = pd.concat(parts, ignore_index=True) if parts else found
    return roster.drop_duplicates(["trial_id", "regime"], ignore_index=True).astype({"target_loss": float})


def _answers(table: StudyTable, roster: pd.DataFrame) -> pd.DataFrame:
    """The attacks on ok trials with their cell's code, sorted by cell, question and seed."""
    attacks = table.attacks[list(_READ)].assign(attack_row=np.arange(len(table.attacks)))
    attacks = attacks[attacks["status"] == "ok"]
    attacks = attacks.merge(roster[["trial_id", "regime", "cell"]], on=["trial_id", "regime"])
    for split in ("train", "test"):
        attacks[f"log2_lambda1_{split}"] = _log2_positive(attacks[f"lambda1_{split}"])
    attacks["logit"] = logit_accuracy(attacks["correct"], attacks["n"])
    return attacks.sort_values(["cell", *QUESTION, "seed", "trial_id"], ignore_index=True)


def _log2_positive(values: pd.Series) -> Array:
    numbers = values.to_numpy(dtype=float)
    logs: Array = np.log2(numbers, out=np.full(numbers.shape, np.nan), where=(numbers > 0) & np.isfinite(numbers))
    return logs


def _states(roster: pd.DataFrame) -> pd.DataFrame:
    states = roster.groupby(["cell", "state"]).size().unstack(fill_value=0)
    states = states.reindex(columns=list(STATES), fill_value=0)
    counts = states.rename(columns=lambda state: f"n_{state}").assign(n_planned=states.sum(axis=1))
    first = roster.drop_duplicates("cell")[["cell", *CELL]]
    return first.merge(counts.reset_index(), on="cell").sort_values("cell", ignore_index=True)


def _asked(attacks: pd.DataFrame, per_cell: pd.DataFrame) -> pd.DataFrame:
    """Every cell with every attack of its curve; a curve without answers takes the attacks of its data set."""
    curve = per_cell.groupby(list(CURVE), dropna=False).ngroup()
    of_curve = per_cell.assign(curve=curve)
    seen = attacks[["cell", *QUESTION]].drop_duplicates().merge(of_curve[["cell", "curve", "dataset"]], on="cell")
    by_curve = of_curve.merge(seen[["curve", *QUESTION]].drop_duplicates(), on="curve")
    silent = of_curve[~of_curve["curve"].isin(seen["curve"])]
    by_dataset = silent.merge(seen[["dataset", *QUESTION]].drop_duplicates(), on="dataset")
    parts = [part for part in (by_curve, by_dataset) if len(part)]
    asked = pd.concat(parts, ignore_index=True) if parts else by_curve
    return asked.drop(columns="curve")


def _aggregate(attacks: pd.DataFrame) -> pd.DataFrame:
    grouped = attacks.groupby(["cell", *QUESTION], sort=True)
    means = grouped.agg(
        n_seeds=("seed", "size"),
        accuracy=("accuracy", "mean"),
        logit=("logit", "mean"),
        log2_lambda1_train=("log2_lambda1_train", "mean"),
        log2_lambda1_test=("log2_lambda1_test", "mean"),
        test_acc=("test_acc", "mean"),
        train_loss=("train_loss", "mean"),
        weight_norm=("weight_norm", "mean"),
        num_classes=("num_classes", "first"),
        zero_grad_fraction=("zero_grad_fraction", "mean"),
        saturated_fraction=("saturated_fraction", "mean"),
        correct=("correct", "sum"),
        n=("n", "sum"),
        converged_train=("lambda1_train_converged", "all"),
        converged_test=("lambda1_test_converged", "all"),
    )
    ends = np.cumsum(means["n_seeds"].to_numpy())[:-1]
    for name, column in _SEED_VALUES.items():
        values = attacks[column].to_numpy(copy=True)  # a copy, so that the cells do not keep the whole frame alive
        means[name] = _split(values, ends, len(means))
    return means.reset_index()


def _split(values: NDArray[Any], ends: NDArray[np.intp], count: int) -> NDArray[np.object_]:
    parts = np.empty(count, dtype=object)
    if count:
        parts[:] = np.split(values, ends)
    return parts


def _below_pgd(attacks: pd.DataFrame) -> pd.DataFrame:
    """Whether auto-PGD, on the loss that serves it best, leaves over `OVERSTATED` fewer images right than PGD."""
    same = ["cell", "trial_id", "split", "epsilon"]
    auto = attacks[attacks["attack"].isin(AUTO)].groupby(same)["accuracy"].min().rename("auto").reset_index()
    both = attacks[attacks["attack"] == "pgd"].merge(auto, on=same)
    means = both.groupby(["cell", *QUESTION])[["accuracy", "auto"]].mean()
    return (means["accuracy"] - means["auto"] > OVERSTATED).rename("overstated").reset_index()


def _pgd_above_fgsm(attacks: pd.DataFrame) -> pd.DataFrame:
    """Whether PGD, the stronger attack, left more images right than FGSM did, beyond binomial noise."""
    same = ["cell", "trial_id", *(name for name in QUESTION if name != "attack")]
    columns = [*same, "correct", "n"]
    pgd, fgsm = attacks[attacks["attack"] == "pgd"], attacks[attacks["attack"] == "fgsm"]
    both = pgd[[*columns, "attack"]].merge(fgsm[columns], on=[*same, "n"], suffixes=("", "_fgsm"))
    totals = both.groupby(["cell", *QUESTION])[["correct", "correct_fgsm", "n"]].sum()
    p, q = totals["correct"] / totals["n"], totals["correct_fgsm"] / totals["n"]
    noise = np.sqrt((p * (1 - p) + q * (1 - q)) / totals["n"])
    return (p - q > 2 * noise).rename("above_fgsm").reset_index()
