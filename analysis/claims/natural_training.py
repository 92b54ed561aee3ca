"""Claims A1 to A17: "Role of SGD Hyperparameters in Adversarial Robustness" (2020)."""

from __future__ import annotations

from analysis.claims.claim import Claim, Rule, Test
from analysis.claims.comparisons import agrees_with_yao, differs_from_yao, same_verdicts
from analysis.claims.exceptions import counterexamples, wrong_signs
from analysis.claims.measures import CLEAN, FGSM, LAMBDA1, PGD
from analysis.claims.rules import existential, most, universal
from analysis.claims.strata import (
    both,
    flatness,
    flatter_than,
    momentum_is_idle,
    momentum_matters_less,
    more_momentum,
    not_counting,
    trends,
    under,
)
from analysis.claims.sweeps import Scope, Setting
from analysis.claims.verdict import Source
from search_spaces.natural_training import MOMENTA, STUDIES
from search_spaces.regimes import BENCHMARK_MOMENTUM

PAPER = "natural-training paper (2020)"

Settings = tuple[Setting, ...]

LR: Settings = (Setting("lr"),)
LR_BS: Settings = (Setting("lr_bs"),)
BENCHMARK: Settings = (Setting("benchmark", BENCHMARK_MOMENTUM),)
"""Section 3: "results of our experiments when momentum is set to zero. For the benchmark alone ... 0.9"."""

LR_MOMENTA: Settings = tuple(Setting("lr", momentum) for momentum in MOMENTA)
LR_BS_MOMENTA: Settings = tuple(Setting("lr_bs", momentum) for momentum in MOMENTA)
"""Section 4."""

REGIME_ACCURACY = ("1L", "2L", "3L", "4L", "5L", "6L")
REGIME_LAMBDA1 = ("1R", "2R", "3R", "4R", "5R", "6R")
REGIME_PGD = ("15L", "15R", "16R", "17L", "17R", "18R")
LR_MOMENTUM_ACCURACY = ("7L", "8L", "9L", "10L")
LR_MOMENTUM_LAMBDA1 = ("7R", "8R", "9R", "10R")
LR_MOMENTUM_PGD = ("19L", "19R", "20L", "20R")
LR_BS_MOMENTUM_ACCURACY = ("11L", "12L", "13L", "14L")
LR_BS_MOMENTUM_LAMBDA1 = ("11R", "12R", "13R", "14R")
LR_BS_MOMENTUM_PGD = ("21L", "21R", "22L", "22R")

OWN_EXCEPTION = "the paper's own exception (section 3.2), see A9"

FALLS_UNDER_LR = not_counting(
    trends(-1, FGSM, PGD), reason=OWN_EXCEPTION, dataset="fashion-mnist", model="stdcnn", regime="lr"
)


def _claim(
    name: str,
    statement: str,
    section: str,
    figures: tuple[str, ...],
    settings: Settings,
    test: Test,
    rule: Rule = universal,
    *,
    attacked: bool = False,
    only: tuple[str, str] | None = None,
) -> Claim:
    studies = tuple(s for s in STUDIES if only is None or (s.dataset, s.model) == only)
    scope = Scope(studies, settings, only=only is not None)
    return Claim(name, statement, Source(PAPER, section, figures), scope, test, rule, attacked)


A1 = _claim(
    "A1",
    "Benchmark: as the batch size increases the test accuracy decreases",
    "3, 3.1 (i)",
    REGIME_ACCURACY,
    BENCHMARK,
    trends(-1, CLEAN),
)
A2 = _claim(
    "A2",
    "Benchmark: FGSM test accuracy also drops with increase in batch size",
    "3",
    REGIME_ACCURACY,
    BENCHMARK,
    trends(-1, FGSM),
    attacked=True,
)
A3 = _claim(
    "A3",
    "Benchmark: as the batch size increases principle curvature increases",
    "3, 3.1 (i)",
    REGIME_LAMBDA1,
    BENCHMARK,
    trends(+1, LAMBDA1),
)
A4 = _claim(
    "A4",
    "A constant LR/BS ratio leads to flatter minima: the top eigenvalue is almost flat, and flatter than under LR",
    "3.1 (i)",
    REGIME_LAMBDA1,
    LR + LR_BS,
    both(
        under(LR_BS, flatness(LAMBDA1, part="almost flat")),
        flatter_than("lr", "lr_bs", LAMBDA1, part="flatter than under LR"),
    ),
)
A5 = _claim(
    "A5",
    "Constant LR/BS: natural accuracy does not suffer with an increase in batch size",
    "3.1 (ii)",
    REGIME_ACCURACY,
    LR_BS,
    flatness(CLEAN),
)
A6 = _claim(
    "A6",
    "Constant LR/BS: almost constant adversarial robustness, independent of the batch size",
    "abstract, 3.1 (ii)",
    REGIME_ACCURACY + REGIME_PGD,
    LR_BS,
    flatness(FGSM, PGD),
    attacked=True,
)
A7 = _claim(
    "A7",
    "Constant LR and benchmark: FGSM and PGD accuracy drop with increase in the batch size",
    "3.1 (ii)",
    REGIME_ACCURACY + REGIME_PGD,
    LR + BENCHMARK,
    FALLS_UNDER_LR,
    attacked=True,
)
A8 = _claim(
    "A8",
    "Hessian based analysis does not always explain adversarial robustness in small vs large batch training",
    "1, 3.1 (iii)",
    REGIME_ACCURACY + REGIME_LAMBDA1 + REGIME_PGD,
    LR_MOMENTA + LR_BS_MOMENTA + BENCHMARK,
    both(wrong_signs(part="sign-error"), counterexamples(part="counterexample", every_epsilon=True)),
    existential,
    attacked=True,
)
A9 = _claim(
    "A9",
    "StdCNN on Fashion-MNIST under LR: FGSM and PGD accuracy increase with batch size, and so does the curvature",
    "3.2",
    ("6L", "6R", "18L", "18R"),
    LR,
    both(trends(+1, FGSM, PGD, LAMBDA1, part=True), counterexamples(part="counterexample")),
    attacked=True,
    only=("fashion-mnist", "stdcnn"),
)
A10 = _claim(
    "A10",
    "LR: with larger momentum there is better generalization",
    "4.1",
    LR_MOMENTUM_ACCURACY,
    LR_MOMENTA,
    more_momentum(+1, CLEAN),
)
A11 = _claim(
    "A11",
    "LR: a larger momentum leads (in most cases) to a more robust model",
    "1, 4.1",
    LR_MOMENTUM_ACCURACY + LR_MOMENTUM_PGD,
    LR_MOMENTA,
    more_momentum(+1, FGSM, PGD),
    most,
    attacked=True,
)
A12 = _claim(
    "A12",
    "LR: the curvature reduces with larger momentum",
    "4.1",
    LR_MOMENTUM_LAMBDA1,
    LR_MOMENTA,
    more_momentum(-1, LAMBDA1),
)
A13 = _claim(
    "A13",
    "LR/BS: in most cases the curvature reduces with larger momentum",
    "4.2",
    LR_BS_MOMENTUM_LAMBDA1,
    LR_BS_MOMENTA,
    # the paper calls the change "mild" itself, so its direction decides, at every momentum
    more_momentum(-1, LAMBDA1, every=True, directional=True),
    most,
)
A14 = _claim(
    "A14",
    "Momentum is more effective with a fixed learning rate than with a constant LR/BS ratio",
    "abstract",
    LR_MOMENTUM_ACCURACY + LR_BS_MOMENTUM_ACCURACY + LR_MOMENTUM_LAMBDA1 + LR_BS_MOMENTUM_LAMBDA1,
    LR_MOMENTA + LR_BS_MOMENTA,
    momentum_matters_less("lr_bs", "lr", CLEAN, FGSM, PGD, LAMBDA1),
    attacked=True,
)
A15 = _claim(
    "A15",
    "LR/BS: momentum plays no significant role for accuracy and adversarial robustness",
    "4.2",
    LR_BS_MOMENTUM_ACCURACY + LR_BS_MOMENTUM_PGD,
    LR_BS_MOMENTA,
    momentum_is_idle(CLEAN, FGSM, PGD),
    attacked=True,
)
A16 = _claim(
    "A16",
    "The benchmark gives the values of Yao et al. for accuracy and curvature; for FGSM the values are different",
    "3",
    ("1L", "1R", "4L", "4R"),
    BENCHMARK,
    both(
        agrees_with_yao(CLEAN, part="clean accuracy agrees"),
        agrees_with_yao(LAMBDA1, part="lambda1 agrees"),
        differs_from_yao("fgsm", part="FGSM differs"),
    ),
    attacked=True,
)
A17 = _claim(
    "A17",
    "The observations on FGSM continue to hold for PGD attacks",
    "3.1 (ii)",
    REGIME_PGD,
    LR + BENCHMARK + LR_BS,
    both(
        under(LR + BENCHMARK, same_verdicts(trends(-1, FGSM, PGD))),
        under(LR_BS, same_verdicts(flatness(FGSM, PGD))),
    ),
    attacked=True,
)
