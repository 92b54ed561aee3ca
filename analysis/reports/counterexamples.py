"""The counterexample report: of two cells on one curve, the sharper one is the more robust."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.reports.commands import rerun_command
from analysis.statistics.groups import Codes, group_codes
from analysis.statistics.intervals import Array, mean_intervals
from analysis.statistics.multiplicity import allow_for_a_noisy_cell, benjamini_yekutieli
from analysis.statistics.thresholds import (
    FALSE_DISCOVERY_RATE,
    LOSS_RATIO,
    MIN_ERRORS,
    MIN_GAP,
    MIN_RATIO,
    SIGNIFICANCE,
)
from analysis.tables.cells import FLAGS
from analysis.tables.cells import cells as cells_of
from analysis.tables.looks import looks
from analysis.tables.observations import CURVATURES, STRATUM
from analysis.tables.pairs import pair_up, paired_errors
from analysis.tables.table import CURVE, QUESTION, StudyTable
from analysis.tables.words import name

Cell = dict[Any, Any]
"""A row of `cells` as a mapping."""

COUNTEREXAMPLE = "sharper, yet more robust"
REVERSE = "flatter, yet less robust"

_TESTS = {
    COUNTEREXAMPLE: (1.0, "p_sharper", "p_more", "p_ratio_more"),
    REVERSE: (-1.0, "p_flatter", "p_less", "p_ratio_less"),
}

_P_VALUES = ("p_sharper", "p_flatter", "p_more", "p_less", "p_lambda1_alone", "p_accuracy_alone")

_COPIED = {
    "accuracy": "accuracy",
    "test_acc": "clean",
    "train_loss": "train_loss",
    "n_seeds": "n_seeds",
}


@dataclass(frozen=True)
class CounterexampleReport:
    """`found`: confirmed, candidate and floor-artefact pairs, confirmed and then strongest first.

    Columns: those of `analysis.output.columns.COUNTEREXAMPLES`. The two directions are families apart. Limits are those
    of the figures and of `cells.csv`: the images alone would hide the noise of training.

    `families`: one row per curvature, loss and direction: `pairs` (measured), `testable`, `curves` (with a
    testable pair), `attacks` (of these, their keys sorted), `confirmed`, `candidates`, `floor_artefacts`.

    `waiting`: the number of planned curves without a first look. While there is one nothing is tested: `p` and `q` are
    NaN and no pair is confirmed.
    """

    found: pd.DataFrame
    families: pd.DataFrame
    waiting: int = 0

    def summary(self, curvature: str = "lambda1_test", loss: str = "ce", direction: str = COUNTEREXAMPLE) -> str:
        """ "X confirmed of N testable pairs on M curves under FGSM and PGD"; without X while nothing is tested."""
        rows = self.families
        if len(rows):
            chosen = (rows["curvature"] == curvature) & (rows["loss"] == loss) & (rows["direction"] == direction)
            rows = rows[chosen & (rows["testable"] > 0)]
        if not len(rows):
            return "no testable pair"
        one = rows.iloc[0]
        pairs = f"{one['testable']} testable pair{'s' if one['testable'] > 1 else ''}"
        curves = f"{one['curves']} curve{'s' if one['curves'] > 1 else ''}"
        pairs += f" on {curves} under {' and '.join(map(name, one['attacks']))}"
        return pairs if self.waiting else f"{one['confirmed']} confirmed of {pairs}"


def counterexample_report(table: StudyTable) -> CounterexampleReport:
    """Search every curve and attack for pairs in which curvature and robustness rise, or fall, together.

    Confirmed: as docs/method.md ("Counterexamples") says, accuracy being tested as its logit. Where seeds are added
    until claims are decided, p is that of all looks together (`over_looks`).

    The family of one adjustment is every testable pair (decidable, unflagged, converged cells; those of a copied
    curve once) of all data sets, models, curves, attacks and epsilons for one curvature, one loss and one direction:
    `ce` and `stable`, test and training lambda1 are read as separate reports.
    """
    return table.once("counterexamples", lambda: _report(table))


def _report(table: StudyTable) -> CounterexampleReport:
    again, whole = looks(table), table
    waiting = again.waiting if again else 0
    table = again.latest if again else table
    cells = cells_of(table)
    found, families = [], []
    for curvature in CURVATURES:
        pairs = pair_up(cells, curvature)
        testable = testable_pairs(cells, pairs, curvature)
        tested = testable & (waiting == 0)
        if waiting:
            pairs = pairs.assign(**dict.fromkeys(_P_VALUES, np.nan))
        elif again:
            pairs = over_looks(cells, pairs, [(one.share, cells_of(one.table)) for one in again.each], curvature)
        for direction in _TESTS:
            judged = judge_pairs(cells, pairs, tested, direction, table.attacks)
            families.append(_families(cells, judged, testable, curvature, direction))
            shown = judged[judged["label"] != ""]
            found.append(_describe(whole, cells, shown, curvature, direction))
    rows = pd.concat(found, ignore_index=True)
    rank = rows["label"].map({"confirmed": 0, "candidate": 1, "floor artefact": 2})
    rows = rows.assign(_rank=rank).sort_values(
        ["_rank", "severity", *STRATUM, "curvature", "direction", "batch_i", "batch_j"],
        ascending=[True, False, *[True] * (len(STRATUM) + 4)],
        ignore_index=True,
    )
    return CounterexampleReport(rows.drop(columns="_rank"), pd.concat(families, ignore_index=True), waiting)


def over_looks(
    cells: pd.DataFrame, pairs: pd.DataFrame, each: Iterable[tuple[float, pd.DataFrame]], curvature: str
) -> pd.DataFrame:
    """`pairs` with sequential p-values: the least p over the share of its look.

    Which curves are looked at again depends on what was seen, so that the family must be every curve of the plan: until
    all have had their first look, nothing is tested.

    Args:
        cells: of the latest look at each curve.
        pairs: theirs, of `pair_up`.
        each: the share and the cells of every look.
        curvature: one of `CURVATURES`.
    """
    least = np.full((len(pairs), len(_P_VALUES)), np.inf)
    names = [*STRATUM, "batch_i", "batch_j"]
    where = _places(cells, pairs)
    for share, seen in each:
        then = pair_up(seen, curvature)
        values = pd.concat([_places(seen, then), then[list(_P_VALUES)]], axis=1)
        ours = where.merge(values, on=names, how="left")[list(_P_VALUES)].to_numpy(dtype=float)
        least = np.fmin(least, ours / share)
    return pairs.assign(**dict(zip(_P_VALUES, np.minimum(least, 1.0).T, strict=True)))


def _places(cells: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """The curve, the attack and the two batch sizes of each pair."""
    i, j = pairs["i"].to_numpy(dtype=np.intp), pairs["j"].to_numpy(dtype=np.intp)
    batch = cells["batch_size"].to_numpy()
    keys = cells[list(STRATUM)].iloc[i].reset_index(drop=True)
    target = pd.to_numeric(keys["target_loss"], errors="coerce")  # all missing, it would be of another type
    return keys.assign(target_loss=target, batch_i=batch[i], batch_j=batch[j])


def testable_pairs(cells: pd.DataFrame, pairs: pd.DataFrame, curvature: str) -> NDArray[np.bool_]:
    """Pairs of decidable, unflagged cells whose eigenvalues are converged and positive.

    The gaps do not matter: the family must not depend on them.
    """
    split = curvature.removeprefix("lambda1_")
    positive = np.array([np.isfinite(one).all() for one in cells[f"log2_{curvature}_seeds"]], dtype=bool)
    fit = (cells["decidable"] & cells["sound"] & cells[f"converged_{split}"] & positive).to_numpy(dtype=bool)
    both: NDArray[np.bool_] = fit[pairs["i"]] & fit[pairs["j"]] & (pairs["dof"].to_numpy() > 0)
    return both


def judge_pairs(
    cells: pd.DataFrame,
    pairs: pd.DataFrame,
    testable: NDArray[np.bool_],
    direction: str,
    attacks: pd.DataFrame,
) -> pd.DataFrame:
    """`pairs` (of `pair_up`) with `p`, `q`, `severity`, `image_errors` and `label` ("" if too small to report).

    The family of the adjustment is the `testable` pairs of one loss; `attacks` has the correctness bits.
    """
    sign, p_lambda1, p_accuracy, p_ratio = _TESTS[direction]
    judged = pairs.assign(p_lambda1=pairs[p_lambda1], p_accuracy=pairs[p_accuracy], p_ratio=pairs[p_ratio])
    judged["p"] = judged[["p_lambda1", "p_accuracy"]].max(axis=1, skipna=False)
    judged["q"] = judged["q_pairs"] = np.nan
    alone = judged[["p_lambda1_alone", "p_accuracy_alone"]].max(axis=1, skipna=False).fillna(1.0).to_numpy()
    loss, tests = cells["loss"].to_numpy()[judged["i"]], _tests(cells, judged)
    curves = group_codes(cells, STRATUM)[judged["i"]]
    for one in np.unique(loss):
        family = testable & (loss == one)
        _, first, test = np.unique(tests[family], return_index=True, return_inverse=True)
        q = benjamini_yekutieli(judged.loc[family, "p"].to_numpy()[first])[test]
        same = _distinct(curves[family], tests[family])
        judged.loc[family, "q_pairs"] = q
        judged.loc[family, "q"] = np.maximum(
            q, allow_for_a_noisy_cell(alone[family], q <= FALSE_DISCOVERY_RATE, same, FALSE_DISCOVERY_RATE)
        )
    with np.errstate(divide="ignore", invalid="ignore"):
        standard = judged[["lambda1_gap", "logit_gap"]].to_numpy() / judged[["lambda1_sd", "logit_sd"]].to_numpy()
    judged["severity"] = (sign * standard).min(axis=1) if len(judged) else np.nan
    large = (sign * judged["lambda1_gap"] >= np.log2(MIN_RATIO)) & (sign * judged["accuracy_gap"] >= MIN_GAP)
    judged["image_errors"] = np.nan
    if large.any():
        error = paired_errors(cells, judged[large], attacks)
        gap = sign * judged.loc[large, "accuracy_gap"].to_numpy()
        judged.loc[large, "image_errors"] = np.divide(gap, error, out=np.full(gap.size, np.inf), where=error > 0)
    large &= judged["image_errors"] > MIN_ERRORS
    floor = cells["floor"].to_numpy(dtype=bool)
    at_floor = floor[judged["i"]] | floor[judged["j"]]
    confirmed = large & testable & (judged["q"] <= FALSE_DISCOVERY_RATE)
    judged["label"] = np.select([confirmed, large & at_floor, large], ["confirmed", "floor artefact", "candidate"], "")
    return judged


def _tests(cells: pd.DataFrame, pairs: pd.DataFrame) -> NDArray[np.intp]:
    """A code per pair, equal for the same runs with the same question and p.

    Such pairs, as on a curve with two labels, are one test: a copy of a curve does not change what is confirmed.
    """
    runs = pd.factorize(cells["trial_ids"].map(tuple))[0]
    i, j = pairs["i"].to_numpy(dtype=np.intp), pairs["j"].to_numpy(dtype=np.intp)
    questions = cells[list(QUESTION)].iloc[i].reset_index(drop=True)
    return group_codes(questions.assign(i=runs[i], j=runs[j], p=pairs["p"].to_numpy()), [*questions, "i", "j", "p"])


def _distinct(curves: Codes, tests: NDArray[np.intp]) -> NDArray[np.intp]:
    """A code per pair for its curve, equal for curves with the same tests: a copy of a curve counts once."""
    order = np.lexsort((tests, curves))
    starts = np.flatnonzero(np.diff(curves[order], prepend=-1))
    members = np.split(tests[order], starts[1:])
    codes = pd.factorize(np.array([one.tobytes() for one in members], dtype=object))[0]
    distinct = np.empty(len(curves), dtype=np.intp)
    distinct[order] = np.repeat(codes, [len(one) for one in members])
    return distinct


def _families(
    cells: pd.DataFrame, judged: pd.DataFrame, testable: NDArray[np.bool_], curvature: str, direction: str
) -> pd.DataFrame:
    loss, attack = (cells[column].to_numpy()[judged["i"]] for column in ("loss", "attack"))
    curves, label = group_codes(cells, CURVE)[judged["i"]], judged["label"].to_numpy()
    rows = []
    for one in np.unique(loss):
        mine = loss == one
        rows.append(
            {
                "curvature": curvature,
                "loss": one,
                "direction": direction,
                "pairs": int(mine.sum()),
                "testable": int((mine & testable).sum()),
                "curves": int(np.unique(curves[mine & testable]).size),
                "attacks": tuple(np.unique(attack[mine & testable])),
                "confirmed": int((mine & (label == "confirmed")).sum()),
                "candidates": int((mine & (label == "candidate")).sum()),
                "floor_artefacts": int((mine & (label == "floor artefact")).sum()),
            }
        )
    names = ["curvature", "loss", "direction", "pairs", "testable", "curves", "attacks"]
    return pd.DataFrame(rows, columns=[*names, "confirmed", "candidates", "floor_artefacts"])


def _describe(
    table: StudyTable, cells: pd.DataFrame, shown: pd.DataFrame, curvature: str, direction: str
) -> pd.DataFrame:
    i, j = shown["i"].to_numpy(dtype=np.intp), shown["j"].to_numpy(dtype=np.intp)
    out = cells[[*CURVE, *QUESTION]].iloc[i].reset_index(drop=True)
    out = out.assign(curvature=curvature, direction=direction)
    for side, at in (("i", i), ("j", j)):
        cell = cells.iloc[at].reset_index(drop=True)
        out[f"batch_{side}"] = cell["batch_size"]
        out[f"lambda1_{side}"] = 2.0 ** cell[f"log2_{curvature}"]
        _, low, high = mean_intervals(cell[f"log2_{curvature}_seeds"])
        out[f"lambda1_low_{side}"], out[f"lambda1_high_{side}"] = 2.0**low, 2.0**high
        _, out[f"accuracy_low_{side}"], out[f"accuracy_high_{side}"] = mean_intervals(cell["accuracy_seeds"])
        for source, column in _COPIED.items():
            out[f"{column}_{side}"] = cell[source]
    out["lambda1_ratio"] = 2.0 ** shown["lambda1_gap"].to_numpy()
    for column in ("accuracy_gap", "image_errors", "p_lambda1", "p_accuracy", "p", "q", "severity", "label"):
        out[column] = shown[column].to_numpy()
    used = np.union1d(i, j)
    records = dict(zip(used.tolist(), cells.iloc[used].to_dict("records"), strict=True))
    both = [(records[a], records[b]) for a, b in zip(i.tolist(), j.tolist(), strict=True)]
    out["reason"] = [
        _reason(pair, curvature, q, q_pairs) for pair, q, q_pairs in zip(both, out["q"], shown["q_pairs"], strict=True)
    ]
    out["note"] = _notes(out, shown["p_ratio"].to_numpy(dtype=float))
    out["rerun"] = [_command(table, *pair) for pair in both]
    return out


def _reason(both: tuple[Cell, Cell], curvature: str, q: float, q_pairs: float) -> str:
    """Why a large enough pair is not confirmed; "" if it is. `q_pairs`: q without the correction for hidden noise."""
    split = curvature.removeprefix("lambda1_")
    flags = [flag for flag in FLAGS if any(cell[flag] for cell in both)]
    if not all(cell["decidable"] for cell in both):
        flags.append("fewer than 3 seeds or more than a third diverged")
    if not all(cell[f"converged_{split}"] for cell in both):
        flags.append("eigenvalue not converged")
    elif not all(np.isfinite(cell[f"log2_{curvature}_seeds"]).all() for cell in both):
        flags.append("eigenvalue not positive")
    if not flags and np.isnan(q):
        flags.append("not tested yet")
    elif not flags and q > FALSE_DISCOVERY_RATE:
        few = "too few seeds to confirm this pair alone"
        flags.append(few if q_pairs <= FALSE_DISCOVERY_RATE else f"q > {FALSE_DISCOVERY_RATE:g}")
    return ", ".join(flags)


def _notes(out: pd.DataFrame, p_ratio: Array) -> list[str]:
    """loss-confounded: training losses apart; clean-confounded: the attack ratio does not differ that way."""
    losses = out[["train_loss_i", "train_loss_j"]].to_numpy(dtype=float)
    low, high = losses.min(axis=1), losses.max(axis=1)
    by_loss = high > LOSS_RATIO * low
    by_clean = p_ratio > SIGNIFICANCE
    texts = zip(np.where(by_loss, "loss-confounded", ""), np.where(by_clean, "clean-confounded", ""), strict=True)
    return [", ".join(filter(None, pair)) for pair in texts]


def _command(table: StudyTable, one: Cell, other: Cell) -> str:
    sizes = (int(one["batch_size"]), int(other["batch_size"]))
    return rerun_command(table, one, sizes, [*one["trial_ids"], *other["trial_ids"]])
