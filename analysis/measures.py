"""What claims are about: clean accuracy, lambda1 and adversarial accuracy, each in the unit its delta is
given in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from analysis.cells import FLAGS, UNTRAINED
from analysis.evidence import DIVERGED, Evidence, Reader
from analysis.statistics import logit_accuracy
from analysis.table import CURVE
from search_spaces import HEADLINE_EPSILON

CELL = [*CURVE, "batch_size"]


@dataclass(frozen=True)
class Measure:
    """A measured quantity: `read` takes it from the points of a table, NaN where the run diverged.

    `unit` is that of values and of `delta(dataset)`, the least change worth the name. `attacked`: it needs an
    attack, so it comes once per attack loss.
    """

    name: str
    unit: str
    delta: Callable[[str], float]
    read: Reader
    attacked: bool = False

    def words(self, effect: float) -> str:
        """An effect in the words of its unit: "-3.1 points", or "x2.4" for a change of log2."""
        if not np.isfinite(effect):
            return "not measured"
        return f"x{2.0**effect:.2g}" if self.unit == "doublings" else f"{effect:+.1f} points"


CLEAN_DELTA = {"mnist": 0.5, "fashion-mnist": 0.5, "digits": 0.5}
"""Points of clean accuracy on data sets of digits and garments, where all networks are close to perfect."""


def _clean(evidence: Evidence, points: pd.DataFrame, loss: str | None) -> pd.DataFrame:
    asked = points[points["test_acc"].notna() | (points["status"] == DIVERGED)]
    value = 100 * asked["test_acc"]
    linear = logit_accuracy((asked["test_acc"] * asked["test_size"]).round(), asked["test_size"])
    return flag_untrained(asked.assign(value=value, linear=linear))


def _lambda1(split: str, evidence: Evidence, points: pd.DataFrame, loss: str | None) -> pd.DataFrame:
    """log2 of the top eigenvalue of the Hessian on a split; one that is not positive has no logarithm and is left
    out.
    """
    asked = points[(points[f"lambda1_{split}"] > 0) | (points["status"] == DIVERGED)]
    doublings = np.log2(asked[f"lambda1_{split}"].astype(float))
    frame = flag_untrained(asked.assign(value=doublings, linear=doublings))
    loose = ~frame[f"lambda1_{split}_converged"].astype(bool) & (frame["status"] != DIVERGED)
    return frame.assign(flag=frame["flag"].mask(loose, "eigenvalue not converged"))


def _robust(
    attack: str,
    epsilons: Mapping[str, float],
    split: str,
    evidence: Evidence,
    points: pd.DataFrame,
    loss: str | None,
) -> pd.DataFrame:
    """Accuracy on `split` under `attack` at the epsilon of each data set; those without one were not asked."""
    attacks = evidence.table.attacks
    epsilon = attacks["dataset"].map(epsilons).astype(float)
    asked = (attacks["attack"] == attack) & (attacks["loss"] == loss) & (attacks["split"] == split)
    answers = attacks.loc[
        asked & np.isclose(attacks["epsilon"].astype(float), epsilon),
        ["trial_id", "regime", "attack", "loss", "split", "epsilon", "correct", "n"],
    ]
    frame = points.merge(answers, on=["trial_id", "regime"], how="left")
    frame = frame[frame["n"].notna() | (frame["status"] == DIVERGED)]
    correct, n = frame["correct"].astype(float), frame["n"].astype(float)
    frame = frame.assign(value=100 * correct / n, linear=logit_accuracy(correct, n))
    question = [*CELL, "attack", "loss", "split", "epsilon"]
    flags = evidence.cells[[*question, *FLAGS]].astype(dict.fromkeys(("target_loss", "epsilon"), float))
    frame = frame.astype(dict.fromkeys(("target_loss", "epsilon"), float))
    frame = frame.merge(flags, on=question, how="left")
    flag = pd.Series("", index=frame.index)
    for name in reversed(FLAGS):
        flag = flag.mask(frame[name].eq(True), name)
    return frame.assign(flag=flag)


def flag_untrained(frame: pd.DataFrame) -> pd.DataFrame:
    """`frame` with a column `flag`: "untrained" in cells whose mean clean accuracy is near chance, else empty."""
    mean = frame.groupby(CELL, dropna=False)["test_acc"].transform("mean")
    return frame.assign(flag=pd.Series("", index=frame.index).mask(mean <= UNTRAINED, "untrained"))


CLEAN = Measure("clean", "points", lambda dataset: CLEAN_DELTA.get(dataset, 1.0), _clean)
LAMBDA1 = Measure("lambda1", "doublings", lambda dataset: 1.0, partial(_lambda1, "train"))
LAMBDA1_TEST = Measure("lambda1 test", "doublings", lambda dataset: 1.0, partial(_lambda1, "test"))


def robust_accuracy(attack: str, epsilons: Mapping[str, float], split: str = "test") -> Measure:
    """Accuracy on `split` under `attack` at `epsilons` (data set -> pixels in [0, 1])."""
    return Measure(attack, "points", lambda dataset: 3.0, partial(_robust, attack, epsilons, split), attacked=True)


FGSM = robust_accuracy("fgsm", HEADLINE_EPSILON)
PGD = robust_accuracy("pgd", HEADLINE_EPSILON)
