"""What claims are about: accuracies, eigenvalues and the input's curvature, each in the unit its delta is given in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from analysis.claims.curves import DIVERGED, Evidence, Measure, Reader
from analysis.statistics.intervals import logit_accuracy
from analysis.statistics.thresholds import (
    CLEAN_DELTA,
    CLEAN_DELTA_OF_EASY_DATA,
    CURVATURE_DELTA,
    CURVATURE_STEP,
    ROBUST_DELTA,
    untrained_accuracy,
)
from analysis.tables.table import StudyTable
from analysis.tables.words import phrase
from search_spaces import HEADLINE_EPSILON

UNREACHED = "target loss not reached"
NOT_POSITIVE = "eigenvalue not positive"
NOT_CONVERGED = "eigenvalue not converged"
"""Flags of runs that a test leaves out."""

LEFT_OUT = {"floor": "at its floor", "untrained": "untrained", "suspect": "the attack is suspect"}
"""Flag -> the reason in words, where the flag does not say it itself."""

EASY_DATA = ("mnist", "fashion-mnist", "digits", "digits_8x8")
"""Digits and garments: all networks are close to perfect on them."""


def clean_delta(dataset: str) -> float:
    """The least change of clean accuracy that counts, in points."""
    return CLEAN_DELTA_OF_EASY_DATA if dataset in EASY_DATA else CLEAN_DELTA


def times(factor: float) -> str:
    """A factor with two digits, three near 1: "÷3.2", "×1.04", "×2.4", "×2,100"."""
    return f"×{_digits(factor)}" if factor >= 1 else f"÷{_digits(1 / factor)}"


def _digits(factor: float) -> str:
    return f"{float(f'{factor:.{3 if factor < 1.1 else 2}g}'):,.15g}"


def in_words(effect: float, unit: str) -> str:
    """An effect in the words of its unit: "-3.1 points", "×2.4" for a change of log2, "-0.71" for a tau, a "0.71"."""
    if unit == "doublings":
        return times(2.0**effect)
    if unit == "share":
        return f"{effect:.2f}"
    return f"{effect:+.2f}" if unit == "tau" else f"{round(effect, 1) + 0.0:+.1f} points"  # never "-0.0"


def interval_in_words(low: float, high: float, unit: str) -> str:
    """Two limits whose unit is named with their effect: "-4.0 to -2.2", "×14 to ×2,100"."""
    return " to ".join(in_words(limit, unit).removesuffix(" points") for limit in (low, high))


def with_units(reason: str, unit: str) -> str:
    """A reason whose sizes (`analysis.statistics.estimates.amount`) are in words: "3 points", "a factor of 2"."""

    def worded(found: re.Match[str]) -> str:
        if unit == "doublings":
            return f"a factor of {_digits(2.0 ** float(found[1]))}"
        return found[1] if unit != "points" else f"{found[1]} point{'s' if found[1] != '1' else ''}"

    return re.sub(r"\[([^]]*)]", worded, reason)


# Clean accuracy


def _clean(evidence: Evidence, points: pd.DataFrame, loss: str | None) -> pd.DataFrame:
    asked = points[points["test_acc"].notna() | (points["status"] == DIVERGED)]
    linear = logit_accuracy((asked["test_acc"] * asked["test_size"]).round(), asked["test_size"])
    return _flag_untrained(asked.assign(value=100 * asked["test_acc"], linear=linear, step=100 / asked["test_size"]))


def _trained(evidence: Evidence, points: pd.DataFrame, loss: str | None) -> pd.DataFrame:
    accuracy = points["test_acc"].astype(float).mask(points["status"] == DIVERGED, 1 / points["num_classes"])
    return _clean(evidence, points.assign(test_acc=accuracy), loss).assign(flag="")


def _flag_untrained(frame: pd.DataFrame) -> pd.DataFrame:
    """`frame` with a column `flag`: "untrained" in cells whose mean clean accuracy is near chance, else empty."""
    untrained = frame.groupby("cell")["test_acc"].transform("mean") <= untrained_accuracy(frame["num_classes"])
    return frame.assign(flag=pd.Series("", index=frame.index, dtype=object).mask(untrained, "untrained"))


CLEAN = Measure("clean", "points", clean_delta, _clean)
TRAINED = Measure("clean, chance where diverged", "points", clean_delta, _trained)
"""How well training went, for claims about just that: a run that diverged or learned nothing counts, as chance."""


# Accuracy under attack


def robust_accuracy(attack: str, epsilons: Mapping[str, float], split: str = "test") -> Measure:
    """Accuracy on `split` under `attack` at `epsilons` (data set -> pixels in [0, 1])."""
    return Measure(
        attack,
        "points",
        lambda _: ROBUST_DELTA,
        partial(_robust, attack, epsilons, split),
        attacked=True,
        asked=partial(_attack_asked, attack, epsilons),
        epsilons=epsilons if epsilons is HEADLINE_EPSILON else {},
    )


def _attack_asked(attack: str, epsilons: Mapping[str, float], dataset: str) -> str:
    return f"{phrase(attack)} at epsilon {epsilons[dataset]:g}" if dataset in epsilons else phrase(attack)


def _robust(
    attack: str, epsilons: Mapping[str, float], split: str, evidence: Evidence, points: pd.DataFrame, loss: str | None
) -> pd.DataFrame:
    """Data sets without an epsilon were not asked."""
    answers = evidence.answers(attack, str(loss), split)
    epsilon = answers["headline"] if epsilons is HEADLINE_EPSILON else answers["dataset"].map(epsilons).astype(float)
    asked = answers.loc[np.isclose(answers["epsilon"], epsilon), ["epsilon", "correct", "n", "flag"]]
    frame = points.join(asked)
    frame = frame[frame["n"].notna() | (frame["status"] == DIVERGED)]
    correct, n = frame["correct"].astype(float), frame["n"].astype(float)
    flag = frame["flag"].fillna("")
    return frame.assign(value=100 * correct / n, linear=logit_accuracy(correct, n), step=100 / n, flag=flag)


def attack_ratio(attack: str, dataset: str, epsilon: float) -> Measure:
    """Adversarial over clean accuracy (Choudhary 2020, section 3.3), in points (100 = the attack changes nothing).

    Its delta is that of adversarial accuracy (our choice): the two units differ by the factor of the clean accuracy,
    which is .63 to .87 in that paper's Table 2 and about 1 on MNIST.
    """
    name, read = f"{attack} ratio at {epsilon:g}", partial(_ratio, attack, {dataset: epsilon})
    asked = partial(_attack_asked, attack, {dataset: epsilon})
    return Measure(name, "points", lambda _: ROBUST_DELTA, read, attacked=True, asked=asked)


def _ratio(
    attack: str, epsilons: Mapping[str, float], evidence: Evidence, points: pd.DataFrame, loss: str | None
) -> pd.DataFrame:
    """For linear statistics the logit of the share of the images right without the attack that stay right. An image
    that the attack puts right could take that share above 1: it is cut there.
    """
    frame = _robust(attack, epsilons, "test", evidence, points, loss)
    frame = frame[(frame["test_acc"] > 0) | (frame["status"] == DIVERGED)]
    clean = (frame["test_acc"] * frame["n"]).astype(float)
    correct = frame["correct"].astype(float)
    linear = logit_accuracy(np.minimum(correct, clean), clean)
    return frame.assign(value=100 * correct / clean, linear=linear, step=100 / clean)


FGSM = robust_accuracy("fgsm", HEADLINE_EPSILON)
PGD = robust_accuracy("pgd", HEADLINE_EPSILON)


# Curvature, in log2: what is not positive has no logarithm and is flagged


def _curvature(name: str, read: Reader) -> Measure:
    return Measure(name, "doublings", lambda _: CURVATURE_DELTA, read)


def _lambda1(split: str, evidence: Evidence, points: pd.DataFrame, loss: str | None) -> pd.DataFrame:
    return _eigenvalues(points, points[f"lambda1_{split}"], points[f"lambda1_{split}_converged"].astype(bool))


def _eigenvalues(points: pd.DataFrame, eigenvalue: pd.Series, converged: pd.Series) -> pd.DataFrame:
    """The points with an eigenvalue. One that has not converged or is not positive keeps its row, flagged."""
    asked = eigenvalue.notna() | (points["status"] == DIVERGED)
    number = eigenvalue[asked].astype(float)
    doublings = np.log2(number.where(number > 0))
    frame = _flag_untrained(points[asked].assign(value=doublings, linear=doublings, step=CURVATURE_STEP))
    measured = frame["status"] != DIVERGED
    flag = frame["flag"].mask(~converged[asked] & measured, NOT_CONVERGED)
    return frame.assign(flag=flag.mask((number <= 0) & measured, NOT_POSITIVE))


def eigenvalue(rank: int) -> Measure:
    """log2 of the `rank`-th largest eigenvalue (1 for the first) of the Hessian on the whole training set."""
    return _curvature(f"eigenvalue {rank}", partial(_ranked, rank))


def _ranked(rank: int, evidence: Evidence, points: pd.DataFrame, loss: str | None) -> pd.DataFrame:
    spectra = training_spectra(evidence.table)
    ours = []
    for trial_id, size in zip(points["trial_id"], points["train_size"], strict=True):
        found = spectra.get(trial_id, {}).get((size, 0), {"ordered": []})["ordered"]
        # a spectrum of one eigenvalue is lambda1's own
        ours.append(found[rank - 1] if len(found) >= max(rank, 2) else (np.nan, False))
    number = pd.Series([value for value, _ in ours], index=points.index, dtype=float)
    return _eigenvalues(points, number, pd.Series([sure for _, sure in ours], index=points.index, dtype=bool))


Spectrum = Mapping[Any, Any]


def training_spectra(table: StudyTable) -> dict[str, dict[tuple[int, int], Spectrum]]:
    """Trial id -> (number of training images, draw of them) -> its spectrum there; of several the longest.

    A spectrum is its row of `table.spectra`, and `ordered`: the eigenvalues in descending order, each with whether it
    converged.
    """
    return table.once("spectra of training images", lambda: _training_spectra(table))


def _training_spectra(table: StudyTable) -> dict[str, dict[tuple[int, int], Spectrum]]:
    found: dict[str, dict[tuple[int, int], Spectrum]] = {}
    columns = ["trial_id", "subset_size", "train_size", "draw", "eigenvalues", "residuals", "converged_each"]
    for spectrum in table.spectra.loc[table.spectra["split"] == "train", columns].to_dict("records"):
        values = sorted(map(float, spectrum["eigenvalues"]), reverse=True)
        ordered = [(value, converged(spectrum, place)) for place, value in enumerate(values)]
        mine = found.setdefault(str(spectrum["trial_id"]), {})
        place = int(spectrum["subset_size"]), int(spectrum["draw"])
        if place not in mine or len(ordered) > len(mine[place]["ordered"]):
            mine[place] = {**spectrum, "ordered": ordered}
    return found


def converged(spectrum: Mapping[Any, Any], index: int) -> bool:
    """Whether the eigenvalue at this place of the descending order converged."""
    order = np.argsort(-np.asarray(spectrum["eigenvalues"], dtype=float), kind="stable")
    return bool(spectrum["converged_each"][order[index]])


def of_the_input(name: str, split: str) -> Measure:
    """log2 of the mean `lambda1_x` (the input Hessian's top eigenvalue) or `grad_x_norm` (the input gradient's norm)
    on `split` (Yao et al. 2018, section 3.2).
    """
    return _curvature(name, partial(_log2_column, f"{name}_{split}"))


def _log2_column(column: str, evidence: Evidence, points: pd.DataFrame, loss: str | None) -> pd.DataFrame:
    return _eigenvalues(points, points[column], pd.Series(True, index=points.index))


LAMBDA1 = _curvature("lambda1", partial(_lambda1, "train"))
LAMBDA1_TEST = _curvature("lambda1 test", partial(_lambda1, "test"))


# Networks that were trained to a loss


def to_the_target(measure: Measure) -> Measure:
    """`measure` of the networks that were trained until a loss; those that stopped above it are flagged."""
    return replace(measure, read=partial(_to_the_target, measure.read))


def _to_the_target(read: Reader, evidence: Evidence, points: pd.DataFrame, loss: str | None) -> pd.DataFrame:
    asked = points[points["target_loss"].notna() & (points["adversarial_training"] == "none")]
    if asked.empty:
        return asked.assign(value=np.nan, linear=np.nan, step=np.nan, flag="")
    frame = read(evidence, asked, loss)
    stopped = frame["reached_target"].eq(False) & (frame["status"] != DIVERGED)
    return frame.assign(flag=frame["flag"].mask(stopped, UNREACHED))
