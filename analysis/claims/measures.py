"""What claims are about: clean accuracy, lambda1 and adversarial accuracy, each in the unit its delta is
given in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from analysis.claims.evidence import DIVERGED, Evidence, Reader
from analysis.statistics.intervals import logit_accuracy
from analysis.statistics.thresholds import UNTRAINED
from search_spaces import HEADLINE_EPSILON


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

CHANCE = 0.1
"""Accuracy by lot on ten classes."""


def _clean(evidence: Evidence, points: pd.DataFrame, loss: str | None) -> pd.DataFrame:
    asked = points[points["test_acc"].notna() | (points["status"] == DIVERGED)]
    value = 100 * asked["test_acc"]
    linear = logit_accuracy((asked["test_acc"] * asked["test_size"]).round(), asked["test_size"])
    return flag_untrained(asked.assign(value=value, linear=linear))


def _lambda1(split: str, evidence: Evidence, points: pd.DataFrame, loss: str | None) -> pd.DataFrame:
    """log2 of the Hessian's top eigenvalue on a split; one that is not positive has no logarithm and is flagged."""
    asked = points[points[f"lambda1_{split}"].notna() | (points["status"] == DIVERGED)]
    eigenvalue = asked[f"lambda1_{split}"].astype(float)
    doublings = np.log2(eigenvalue.where(eigenvalue > 0))
    frame = flag_untrained(asked.assign(value=doublings, linear=doublings))
    measured = frame["status"] != DIVERGED
    loose = measured & ~frame[f"lambda1_{split}_converged"].astype(bool)
    negative = measured & (frame[f"lambda1_{split}"].astype(float) <= 0)
    flag = frame["flag"].mask(loose, "eigenvalue not converged").mask(negative, "eigenvalue not positive")
    return frame.assign(flag=flag)


def _robust(
    attack: str,
    epsilons: Mapping[str, float],
    split: str,
    evidence: Evidence,
    points: pd.DataFrame,
    loss: str | None,
) -> pd.DataFrame:
    """Accuracy on `split` under `attack` at the epsilon of each data set; those without one were not asked."""
    answers = evidence.answers(attack, str(loss), split)
    epsilon = answers["dataset"].map(epsilons).astype(float)
    asked = answers.loc[np.isclose(answers["epsilon"], epsilon), ["correct", "n", "flag"]]
    frame = points.join(asked)
    frame = frame[frame["n"].notna() | (frame["status"] == DIVERGED)]
    correct, n = frame["correct"].astype(float), frame["n"].astype(float)
    flag = frame["flag"].fillna("")
    return frame.assign(value=100 * correct / n, linear=logit_accuracy(correct, n), flag=flag)


def _ratio(
    attack: str,
    epsilons: Mapping[str, float],
    evidence: Evidence,
    points: pd.DataFrame,
    loss: str | None,
) -> pd.DataFrame:
    """Adversarial over clean accuracy; for linear statistics the logit of the share of the images right without the
    attack that stay right. An image that the attack puts right could take that share above 1: it is cut there.
    """
    frame = _robust(attack, epsilons, "test", evidence, points, loss)
    frame = frame[(frame["test_acc"] > 0) | (frame["status"] == DIVERGED)]
    clean = (frame["test_acc"] * frame["n"]).astype(float)
    correct = frame["correct"].astype(float)
    return frame.assign(value=100 * correct / clean, linear=logit_accuracy(np.minimum(correct, clean), clean))


def _trained(evidence: Evidence, points: pd.DataFrame, loss: str | None) -> pd.DataFrame:
    asked = points[points["test_acc"].notna() | (points["status"] == DIVERGED)]
    accuracy = asked["test_acc"].astype(float).where(asked["status"] != DIVERGED, CHANCE)
    linear = logit_accuracy((accuracy * asked["test_size"]).round(), asked["test_size"])
    return asked.assign(value=100 * accuracy, linear=linear, flag="")


def flag_untrained(frame: pd.DataFrame) -> pd.DataFrame:
    """`frame` with a column `flag`: "untrained" in cells whose mean clean accuracy is near chance, else empty."""
    mean = frame.groupby("cell")["test_acc"].transform("mean")
    return frame.assign(flag=pd.Series("", index=frame.index, dtype=object).mask(mean <= UNTRAINED, "untrained"))


CLEAN = Measure("clean", "points", lambda dataset: CLEAN_DELTA.get(dataset, 1.0), _clean)
TRAINED = Measure("clean, chance where diverged", "points", CLEAN.delta, _trained)
"""How well training went, for claims about just that: a run that diverged or learned nothing counts, as chance."""

LAMBDA1 = Measure("lambda1", "doublings", lambda dataset: 1.0, partial(_lambda1, "train"))
LAMBDA1_TEST = Measure("lambda1 test", "doublings", lambda dataset: 1.0, partial(_lambda1, "test"))


def robust_accuracy(attack: str, epsilons: Mapping[str, float], split: str = "test") -> Measure:
    """Accuracy on `split` under `attack` at `epsilons` (data set -> pixels in [0, 1])."""
    return Measure(attack, "points", lambda dataset: 3.0, partial(_robust, attack, epsilons, split), attacked=True)


def attack_ratio(attack: str, dataset: str, epsilon: float) -> Measure:
    """Adversarial over clean accuracy (Choudhary 2020, section 3.3), in points (100 = the attack changes nothing).

    Its delta is 3 points as that of adversarial accuracy (our choice): the two units differ by the factor of the
    clean accuracy, which is .63 to .87 in that paper's Table 2 and about 1 on MNIST.
    """
    name = f"{attack} ratio at {epsilon:g}"
    return Measure(name, "points", lambda _: 3.0, partial(_ratio, attack, {dataset: epsilon}), attacked=True)


FGSM = robust_accuracy("fgsm", HEADLINE_EPSILON)
PGD = robust_accuracy("pgd", HEADLINE_EPSILON)
