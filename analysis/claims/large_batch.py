"""Claims C1 to C17: Yao et al., "Hessian-based analysis of large batch training and robustness to adversaries"
(2018, arXiv:1802.08241).

C1 to C7, C11 and C17 are about networks that were trained to a loss; runs that stopped above it are left out and
counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import product

import numpy as np

from analysis.claims.claim import Claim, Source
from analysis.claims.claim_tests import ClaimTest, Decide, SameVerdicts, as_claimed, paired
from analysis.claims.curves import Curve, Measure, Scope, Setting
from analysis.claims.measures import (
    CLEAN,
    LAMBDA1,
    LAMBDA1_TEST,
    NOT_CONVERGED,
    NOT_POSITIVE,
    UNREACHED,
    eigenvalue,
    of_the_input,
    robust_accuracy,
    to_the_target,
)
from analysis.claims.networks import (
    close_on_a_subset,
    costs_clean_accuracy,
    flattens,
    helps_against_every_attack,
    second_order_is_weaker,
    second_order_looks_well,
    second_order_models_are_weaker,
)
from analysis.claims.pairings import Arms
from analysis.claims.rules import Rule, Ruling, most, universal
from analysis.claims.spectra import input_hessians, negative_samples, positive_spectrum, saddle
from analysis.claims.stratum import Stratum
from analysis.statistics.association_tests import fall_together, opposed, unrelated
from analysis.statistics.estimates import ALONG_BATCH_SIZES, AT_ONE_SIZE, Finding, Reach, Sample
from analysis.statistics.sample_tests import contrast, falls_from_peak, trend
from analysis.statistics.thresholds import UNRELATED_TAU
from search_spaces.large_batch import BATCH_SIZES, COUNT, EPSILONS, MOMENTUM, NATURAL, ORIGINAL
from search_spaces.regimes import BENCHMARK_MOMENTUM

PAPER = "Yao et al. (2018)"

LARGE = 512
"""Our choice: the large batches of section 3.1, which sets 512 and 2048 against the small ones."""

READINGS = (("m1", "m1_lenet"), ("resnet20", "resnet20_x4"))
"""Networks of the paper that can be read in two ways. M1 is both a stride-2 network (Table 6) and a "standard LeNet"
(section 3.3); CR is a "ResNet20", whose printed accuracy needs more than its usual width."""

FEW_SIZES = {
    (study.dataset, study.model): Reach(len(sizes), sizes[-1] / sizes[0])
    for study in NATURAL
    if not ALONG_BATCH_SIZES.met(np.array(sizes := BATCH_SIZES[study.model], dtype=float))
}
"""Tables 1 and 2 print four batch sizes over a factor of 8 of C2 and of CR, which has two readings."""

TO_THE_LOSS = Scope(NATURAL, (Setting("lr", MOMENTUM),), only=True, reach=FEW_SIZES)
ADVERSARIAL = Scope(
    ORIGINAL,
    tuple(Setting(regime, BENCHMARK_MOMENTUM) for regime in ("benchmark", "adversarial")),
    only=True,
    adversarial=True,
)

CLEAN_TO_LOSS, TRAIN, TEST = (to_the_target(measure) for measure in (CLEAN, LAMBDA1, LAMBDA1_TEST))
EIGENVALUES = tuple(to_the_target(eigenvalue(rank)) for rank in range(1, COUNT + 1))
INPUTS = {
    split: tuple(to_the_target(of_the_input(name, split)) for name in ("lambda1_x", "grad_x_norm"))
    for split in ("test", "train")
}

QUESTIONS = tuple((level, split) for split in ("test", "train") for level in range(3))
"""Each epsilon of a data set by its place, on each split: Tables 1, 2 and 7."""

ATTACKS: dict[tuple[str, int, str], Measure] = {
    (attack, level, split): to_the_target(
        robust_accuracy(attack, {dataset: found[level] for dataset, found in EPSILONS.items()}, split)
    )
    for attack in ("fgsm", "fgsm10")
    for level, split in QUESTIONS
}

M1, CR = READINGS

LESS_THAN_DELTA = {
    "C3": dict.fromkeys(M1, 0.0),
    "C4": dict.fromkeys((*M1, *CR), 0.0),
    "C17": {"c2": 0.0},
}
"""Networks of which the paper prints a smaller effect than delta, so that its direction decides: C3, M1 loses .2 points
(Table 7). C4 at the smallest epsilon, M1 loses 2 points (Table 7) and CR 2.3 (Table 2). C17, the ratio of C2 grows 1.6
times (Table 1)."""

SHARP_PAIR = (32, 512)
"""Section 3.2: "consider C1 model with B = 512. It has both smaller gradient and smaller input Hessian eigenvalue as
compared to B = 32, but it performs noticeably worse under adversarial attack"."""

C1_ALONE = tuple(study for study in NATURAL if study.model == "c1")

Labels = Callable[[str], Mapping[str, object]]
"""Data set -> what else names its strata."""


def _at(level: int, split: str) -> Labels:
    return lambda dataset: {"epsilon": f"epsilon {EPSILONS[dataset][level]:g}", "split": split}


def _no_labels(dataset: str) -> Mapping[str, object]:
    return {}


def along(
    decide: Decide,
    label: str,
    *together: Measure,
    name: str = "",
    labels: Labels = _no_labels,
    part: str = "",
    unit: str = "",
    delta: float | Mapping[str, float] | None = None,
    falls: bool = False,
) -> ClaimTest:
    """`decide` on every curve of these measures, which are tested together; `labels` and `name` say of what."""

    def pair(*curves: list[Curve]) -> Iterator[Arms]:
        for arms in zip(*curves, strict=True):
            flags = arms[-1].flag.astype(str)
            stopped, runs = int(np.sum(flags == UNREACHED)), len(flags)
            missing = int(np.isin(flags, (NOT_CONVERGED, NOT_POSITIVE)).sum())
            yield Arms(
                {},
                arms,
                name or " and ".join(measure.name for measure in together),
                details=labels(arms[0].dataset),
                note=f"{missing} of {runs} eigenvalues left out" if missing else "",
                protocol_note=f"; {stopped} of {runs} runs stopped above the target loss: left out" if stopped else "",
            )

    return ClaimTest(pair, decide, label, [together], part, delta=delta, unit=unit, falls=falls)


def _trend(
    measure: Measure,
    claimed: int,
    labels: Labels = _no_labels,
    part: str = "",
    delta: float | Mapping[str, float] | None = None,
) -> ClaimTest:
    decide = partial(trend, claimed=claimed)
    test = along(decide, "fitted end to end", measure, labels=labels, part=part, delta=delta, falls=claimed < 0)
    return replace(test, margin=as_claimed(claimed))


def _robustness_falls(attack: str, level: int, split: str) -> ClaimTest:
    delta = None if level else LESS_THAN_DELTA["C4"]
    return _trend(ATTACKS[attack, level, split], -1, _at(level, split), delta=delta)


def _exceeds_at_large_batch(difference: Sample, *, delta: float, reach: Reach = AT_ONE_SIZE) -> Finding:
    """Is a paired difference positive on average over the large batches? One is enough, whatever the curve's reach."""
    large = difference.where(difference.batch_size >= LARGE)
    return contrast(large, claimed=1, delta=delta, reach=AT_ONE_SIZE)


def either_reading(rule: Rule) -> Rule:
    """`rule` once for each reading that was run: a claim on which two readings disagree is left open.

    A reading that was not run does not keep the other one from deciding, nor does a second one that agrees: each is
    adjusted for its own strata.
    """

    def ruling(strata: Sequence[Stratum], level: float) -> Ruling:
        run = {s.model for s in strata if s.verdict != "not run"}
        choices = [[model for model in models if model in run] or [models[0]] for models in READINGS]
        reached: dict[str, Ruling] = {}
        for models in product(*choices):
            others = {model for reading in READINGS for model in reading} - set(models)
            name = " and ".join(m for m, several in zip(models, choices, strict=True) if len(several) > 1)
            reached[name] = rule([s for s in strata if s.model not in others], level)
        if len({one.verdict for one in reached.values()}) == 1:
            heard = {model for models in choices for model in models}
            unheard = {model for reading in READINGS for model in reading} - heard
            together, alone = rule([s for s in strata if s.model not in unheard], level), next(iter(reached.values()))
            return together if together.verdict == alone.verdict else alone
        said = "; ".join(f"as {reading}: {one.verdict}" for reading, one in reached.items())
        shown = min(reached.values(), key=lambda one: one.verdict != "inconclusive")
        why = f"two readings of a network disagree ({said})"
        return replace(shown, verdict="inconclusive", reason=f"T{why[1:]}. {shown.reason}", why=why)

    return Rule(ruling, rule.needs)


EVERY = either_reading(universal)

CLAIMS = (
    Claim(
        "C1",
        "Large batch training gets attracted to areas with higher curvature: the top Hessian eigenvalue rises with the "
        "batch size, for the training and the test loss",
        Source(PAPER, "3.1", ("Table 1", "Table 2", "Table 7", "Figure 2", "Figure 6")),
        TO_THE_LOSS,
        tests=[_trend(TRAIN, 1, part="training set"), _trend(TEST, 1, part="test set")],
        rule=EVERY,
    ),
    Claim(
        "C2",
        "Each of the top 20 eigenvalues of the Hessian rises with the batch size",
        Source(PAPER, "3.1", ("Figure 1",)),
        TO_THE_LOSS,
        tests=[_trend(measure, 1) for measure in EIGENVALUES],
        rule=EVERY,
    ),
    Claim(
        "C3",
        "After a certain point increasing the batch size results in performance degradation on the test set",
        Source(PAPER, "3.1", ("Table 1", "Table 7")),
        TO_THE_LOSS,
        tests=[
            replace(
                along(
                    falls_from_peak,
                    "from the peak to the largest batch",
                    CLEAN_TO_LOSS,
                    delta=LESS_THAN_DELTA["C3"],
                    falls=True,
                ),
                margin=as_claimed(-1),
            )
        ],
        rule=EVERY,
    ),
    Claim(
        "C4",
        "For all the cases, large batches are considerably more prone to adversarial attacks (FGSM, at every epsilon)",
        Source(PAPER, "3.2", ("Table 1", "Table 2", "Table 7")),
        TO_THE_LOSS,
        tests=[_robustness_falls("fgsm", level, split) for level, split in QUESTIONS],
        rule=EVERY,
    ),
    Claim(
        "C5",
        "The top eigenvalue is increasing while the adversarial accuracy is decreasing for fixed epsilon",
        Source(PAPER, "3.1, captions of Tables 1, 2 and 7", ("Table 1", "Table 2", "Table 7")),
        TO_THE_LOSS,
        tests=[
            along(
                opposed,
                "tau",
                curvature,
                ATTACKS["fgsm", level, "test"],
                labels=_at(level, "test"),
                unit="tau",
                delta=0.0,  # the direction decides
            )
            for curvature in (TRAIN, TEST)
            for level in range(3)
        ],
        rule=EVERY,
    ),
    Claim(
        "C6",
        "The input Hessian's top eigenvalue and the norm of the input gradient do not correlate with the adversarial "
        "accuracy: C1 at batch 512 has less of both than at 32, and yet is less robust",
        Source(PAPER, "3.2", ("Table 1", "Table 7")),
        TO_THE_LOSS,
        tests=[
            *(
                along(
                    unrelated,
                    "tau",
                    x,
                    ATTACKS["fgsm", level, split],
                    labels=_at(level, split),
                    part="no correlation",
                    unit="tau",
                    delta=UNRELATED_TAU,
                )
                for level, split in QUESTIONS
                for x in INPUTS[split]
            ),
            *(
                replace(
                    along(
                        fall_together,
                        "accuracy of batch 512 less that of 32",
                        x,
                        ATTACKS["fgsm", level, split],
                        labels=_at(level, split),
                        part="batch 512 against 32",
                        unit="points",
                        delta=0.0,
                    ),
                    at=SHARP_PAIR,
                    studies=C1_ALONE,
                )
                for level, split in QUESTIONS
                for x in INPUTS[split]
            ),
        ],
        rule=EVERY,
    ),
    Claim(
        "C7",
        "FGSM-10 makes no difference in the conclusions",
        Source(PAPER, "3.2", ("Table 1", "Table 2", "Table 7")),
        TO_THE_LOSS,
        tests=[
            SameVerdicts([_robustness_falls(attack, level, split) for attack in ("fgsm", "fgsm10")])
            for level, split in QUESTIONS
        ],
        rule=EVERY,
    ),
    Claim(
        "C8",
        "After adversarial training the model becomes more robust to all attacks, at a cost of accuracy on clean "
        "images",
        Source(PAPER, "3.3", ("Table 3", "Table 4")),
        ADVERSARIAL,
        tests=[helps_against_every_attack(part="more robust"), costs_clean_accuracy(part="clean accuracy")],
        rule=EVERY,
    ),
    Claim(
        "C9",
        "After adversarial training the solution ends up at a point with noticeably smaller Hessian spectrum",
        Source(PAPER, "1, 3.3", ("Figure 5", "Figure 11")),
        ADVERSARIAL,
        tests=[flattens()],
        rule=EVERY,
    ),
    Claim(
        "C10",
        "For most experiments on CIFAR-10 the second-order attacks are weaker than the gradient-based ones",
        Source(PAPER, "3.4", ("Table 4",)),
        ADVERSARIAL,
        tests=[second_order_is_weaker()],
        rule=either_reading(most),
    ),
    Claim(
        "C11",
        "The curvature of the test loss is much larger than that of the training loss at large batches",
        Source(PAPER, "3.1", ("Figure 2", "Figure 3", "Figure 6")),
        TO_THE_LOSS,
        tests=[
            along(
                paired(_exceeds_at_large_batch),
                "ratio",
                TRAIN,
                TEST,
                name="lambda1 on test over training images",
                labels=lambda dataset: {"batch": f"batch >= {LARGE}"},
            )
        ],
        rule=EVERY,
    ),
    Claim(
        "C12",
        "The top 20 eigenvalues of the whole training set are positive, those of single samples are of both signs",
        Source(PAPER, "3.3", ("Figure 5", "Figure 11")),
        ADVERSARIAL,
        tests=[positive_spectrum(part="whole training set"), negative_samples(part="single samples")],
        rule=EVERY,
        contradicts=("C16",),
    ),
    Claim(
        "C13",
        "The input Hessian of a ReLU network is positive semidefinite and of rank at most the number of classes",
        Source(PAPER, "2, Theorem 2.1 and Proposition 2.2", ("Theorem 2.1", "Proposition 2.2")),
        Scope((*NATURAL, ORIGINAL[-1]), TO_THE_LOSS.settings + ADVERSARIAL.settings, only=True),
        tests=[input_hessians()],
        rule=EVERY,
    ),
    Claim(
        "C14",
        "The robust models trained by second order method are also more prone to attack on CIFAR-10, particularly "
        "M_FHSM and M_L2HESS",
        Source(PAPER, "3.4", ("Table 4",)),
        ADVERSARIAL,
        tests=[second_order_models_are_weaker()],
    ),
    Claim(
        "C15",
        "Second order adversarial attack looks well for MNIST (here: FHSM leaves fewer images right than FGSM)",
        Source(PAPER, "3.4", ("Table 3",)),
        ADVERSARIAL,
        tests=[second_order_looks_well()],
        rule=EVERY,
    ),
    Claim(
        "C16",
        "For the MNIST dataset, the original model has actually converged to a saddle point; the results for "
        "B_H = 320 and B_H = 60,000 are relatively close",
        Source(PAPER, "caption of Figure 11", ("Figure 11",)),
        ADVERSARIAL,
        tests=[saddle(part="saddle"), close_on_a_subset(part="320 images")],
        rule=EVERY,
        contradicts=("C12",),
    ),
    Claim(
        "C17",
        "The curvature of test loss is much larger than that of training when increasing training batch: their ratio "
        "grows with the batch size",
        Source(PAPER, "captions of Figures 2 and 3", ("Figure 2", "Figure 3", "Figure 6")),
        TO_THE_LOSS,
        tests=[
            replace(
                along(
                    paired(partial(trend, claimed=1)),
                    "fitted end to end",
                    TRAIN,
                    TEST,
                    name="lambda1 on test over training images",
                    delta=LESS_THAN_DELTA["C17"],
                ),
                note="the paper's Table 7 prints a ratio that shrinks from 6.0 at batch 64 to 1.1 at batch 2048",
            )
        ],
        rule=EVERY,
    ),
)
