"""Claims C1 to C13: Yao et al., "Hessian-based analysis of large batch training and robustness to adversaries"
(2018, arXiv:1802.08241).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from analysis.claims.claim import Claim, Rule, Test
from analysis.claims.comparisons import same_verdicts
from analysis.claims.counts import input_hessians, negative_samples, positive_spectrum
from analysis.claims.large_batch_measures import eigenvalue, input_curvature, input_gradient, to_the_target
from analysis.claims.measures import CLEAN, LAMBDA1, LAMBDA1_TEST, Measure, robust_accuracy
from analysis.claims.robust_training import (
    Section33,
    costs_clean_accuracy,
    flattens,
    helps_against_every_attack,
    second_order_is_weaker,
)
from analysis.claims.rules import most, universal
from analysis.claims.strata import both
from analysis.claims.sweeps import Scope, Setting
from analysis.claims.to_the_loss import (
    Labels,
    ToTheLoss,
    along,
    curvature_opposes,
    either_reading,
    exceeds_at_large_batch,
    not_related,
)
from analysis.claims.verdict import Source
from analysis.statistics.sample_tests import falls_from_peak, trend
from search_spaces.large_batch import COUNT, EPSILONS, MOMENTUM, NATURAL, ORIGINAL
from search_spaces.regimes import BENCHMARK_MOMENTUM

PAPER = "Yao et al. (2018)"

UNRELATED = 0.3
"""Our choice: the largest |tau| that still counts as no correlation."""

LARGE = 512
"""Our choice: the large batches of section 3.1, which sets 512 and 2048 against the small ones."""

TO_THE_LOSS = ToTheLoss(NATURAL, (Setting("lr", MOMENTUM),), only=True)
ADVERSARIAL = Section33(
    ORIGINAL, tuple(Setting(regime, BENCHMARK_MOMENTUM) for regime in ("benchmark", "adversarial")), only=True
)

CLEAN_TO_LOSS, TRAIN, TEST = (to_the_target(measure) for measure in (CLEAN, LAMBDA1, LAMBDA1_TEST))
EIGENVALUES = tuple(to_the_target(eigenvalue(rank)) for rank in range(1, COUNT + 1))
INPUTS = tuple(to_the_target(of("test")) for of in (input_curvature, input_gradient))

QUESTIONS = tuple((level, split) for split in ("test", "train") for level in range(3))
"""Each epsilon of a data set by its place, on each split: Tables 1, 2 and 7."""

ATTACKS: dict[tuple[str, int, str], Measure] = {
    (attack, level, split): to_the_target(
        robust_accuracy(attack, {dataset: found[level] for dataset, found in EPSILONS.items()}, split)
    )
    for attack in ("fgsm", "fgsm10")
    for level, split in QUESTIONS
}


def _at(level: int, split: str) -> Labels:
    return lambda dataset: {"epsilon": f"epsilon {EPSILONS[dataset][level]:g}", "split": split}


def _trend(measure: Measure, claimed: int, labels: Labels) -> Test:
    return along(measure, partial(trend, claimed=claimed), "end to end", labels)


def _no_labels(dataset: str) -> dict[str, object]:
    return {}


def _of(part: str) -> Labels:
    return lambda dataset: {"part": part}


def _falls(attacks: Iterable[str]) -> Test:
    return both(
        *(_trend(ATTACKS[a, level, split], -1, _at(level, split)) for a in attacks for level, split in QUESTIONS)
    )


def _claim(
    name: str,
    statement: str,
    section: str,
    shown: tuple[str, ...],
    test: Test,
    *,
    scope: Scope = TO_THE_LOSS,
    rule: Rule = universal,
    attacked: bool = False,
) -> Claim:
    return Claim(name, statement, Source(PAPER, section, shown), scope, test, either_reading(rule), attacked)


C1 = _claim(
    "C1",
    "Large batch training gets attracted to areas with higher curvature: the top Hessian eigenvalue rises with the "
    "batch size, for the training and the test loss",
    "3.1",
    ("Table 1", "Table 2", "Table 7", "Figure 2", "Figure 6"),
    both(_trend(TRAIN, 1, _of("training set")), _trend(TEST, 1, _of("test set"))),
)
C2 = _claim(
    "C2",
    "Each of the top 20 eigenvalues of the Hessian rises with the batch size",
    "3.1",
    ("Figure 1",),
    both(*(_trend(measure, 1, _no_labels) for measure in EIGENVALUES)),
)
C3 = _claim(
    "C3",
    "After a certain point increasing the batch size results in performance degradation on the test set",
    "3.1",
    ("Table 1", "Table 7"),
    along(CLEAN_TO_LOSS, falls_from_peak, "from the peak to the largest batch", _no_labels),
)
C4 = _claim(
    "C4",
    "For all the cases, large batches are considerably more prone to adversarial attacks (FGSM, at every epsilon)",
    "3.2",
    ("Table 1", "Table 2", "Table 7"),
    _falls(("fgsm",)),
    attacked=True,
)
C5 = _claim(
    "C5",
    "The top eigenvalue is increasing while the adversarial accuracy is decreasing for fixed epsilon",
    "3.1, captions of Tables 1, 2 and 7",
    ("Table 1", "Table 2", "Table 7"),
    both(*(
        curvature_opposes(curvature, ATTACKS["fgsm", level, "test"], _at(level, "test"))
        for curvature in (TRAIN, TEST)
        for level in range(3)
    )),
    attacked=True,
)  # fmt: skip
C6 = _claim(
    "C6",
    "The input Hessian's top eigenvalue and the norm of the input gradient do not correlate with the adversarial "
    "accuracy",
    "3.2",
    ("Table 1", "Table 7"),
    both(*(
        not_related(x, ATTACKS["fgsm", level, "test"], _at(level, "test"), bound=UNRELATED)
        for x in INPUTS
        for level in range(3)
    )),
    attacked=True,
)  # fmt: skip
C7 = _claim(
    "C7",
    "FGSM-10 makes no difference in the conclusions",
    "3.2",
    ("Table 1", "Table 2", "Table 7"),
    same_verdicts(_falls(("fgsm", "fgsm10"))),
    attacked=True,
)
C8 = _claim(
    "C8",
    "After adversarial training the model becomes more robust to all attacks, at a cost of accuracy on clean images",
    "3.3",
    ("Table 3", "Table 4"),
    both(helps_against_every_attack(part="more robust"), costs_clean_accuracy(part="clean accuracy")),
    scope=ADVERSARIAL,
    attacked=True,
)
C9 = _claim(
    "C9",
    "After adversarial training the solution ends up at a point with noticeably smaller Hessian spectrum",
    "1, 3.3",
    ("Figure 5", "Figure 11"),
    flattens("whole", "subset"),
    scope=ADVERSARIAL,
)
C10 = _claim(
    "C10",
    "For most experiments on CIFAR-10 the second-order attacks are weaker than the gradient-based ones",
    "3.4",
    ("Table 4",),
    second_order_is_weaker(),
    scope=ADVERSARIAL,
    rule=most,
    attacked=True,
)
C11 = _claim(
    "C11",
    "The curvature of the test loss is much larger than that of the training loss at large batches",
    "3.1",
    ("Figure 2", "Figure 3", "Figure 6"),
    exceeds_at_large_batch(TRAIN, TEST, least=LARGE),
)
C12 = _claim(
    "C12",
    "The top 20 eigenvalues of the whole training set are positive, those of single samples are of both signs",
    "3.3",
    ("Figure 5", "Figure 11"),
    both(positive_spectrum(part="whole training set"), negative_samples(part="single samples")),
    scope=ADVERSARIAL,
)
C13 = _claim(
    "C13",
    "The input Hessian of a ReLU network is positive semidefinite and of rank at most the number of classes",
    "2, Theorem 2.1 and Proposition 2.2",
    ("Theorem 2.1", "Proposition 2.2"),
    input_hessians(),
    scope=Scope((*NATURAL, ORIGINAL[-1]), TO_THE_LOSS.settings + ADVERSARIAL.settings, only=True),
)
