"""Claims A1 to A24: "Role of SGD Hyperparameters in Adversarial Robustness" (2020)."""

from __future__ import annotations

from dataclasses import replace

from analysis.claims.claim import Claim, Source
from analysis.claims.claim_tests import (
    SameVerdicts,
    differs,
    each_step_of_momentum,
    falls_nowhere,
    flatness,
    flatter_than,
    momentum_changes_nothing,
    momentum_matters_less,
    more_momentum,
    trends,
)
from analysis.claims.curves import Scope, Setting
from analysis.claims.measures import CLEAN, FGSM, LAMBDA1, PGD
from analysis.claims.printed import agrees_with_yao, differs_from_yao
from analysis.claims.reported import counterexamples, wrong_signs
from analysis.claims.rules import by_part, existential, most
from analysis.statistics.estimates import Reach
from search_spaces.natural_training import BATCH_SIZES, MOMENTA, STUDIES
from search_spaces.regimes import BENCHMARK_MOMENTUM

PAPER = "Kamath et al. (2020)"

LR = (Setting("lr"),)
LR_BS = (Setting("lr_bs"),)
BENCHMARK = (Setting("benchmark", BENCHMARK_MOMENTUM),)
"""Section 3: "results of our experiments when momentum is set to zero. For the benchmark alone ... 0.9"."""

LR_MOMENTA = tuple(Setting("lr", momentum) for momentum in MOMENTA)
LR_BS_MOMENTA = tuple(Setting("lr_bs", momentum) for momentum in MOMENTA)
"""Section 4."""

GARMENTS = tuple(s for s in STUDIES if (s.dataset, s.model) == ("fashion-mnist", "stdcnn"))

REPLICATED = tuple(s for s in STUDIES if (s.dataset, s.model) in (("mnist", "m1_20"), ("cifar10", "c1")))
"""Section 3: the benchmark's networks of Figures 1 and 4, as in Yao et al."""

MOMENTUM_STUDIES = tuple(s for s in STUDIES if s.dataset != "fashion-mnist")
"""Section 4: "for the models M1 and StdCNN on MNIST and models C1 and ResNet18 on CIFAR-10"."""

FOUR_SIZES = {(s.dataset, s.model): Reach(4, 8.0) for s in MOMENTUM_STUDIES}

ABOVE_64 = tuple(size for size in BATCH_SIZES if size > 64)
"""At batch 64 the regimes lr and lr_bs are the same run. Above it the rate of lr_bs is the higher one."""

REGIME_ACCURACY = ("1L", "2L", "3L", "4L", "5L", "6L")
REGIME_LAMBDA1 = ("1R", "2R", "3R", "4R", "5R", "6R")
REGIME_PGD = ("15L", "15R", "16R", "17L", "17R", "18R")
LR_MOMENTUM_ACCURACY = ("7L", "8L", "9L", "10L")
LR_MOMENTUM_LAMBDA1 = ("7R", "8R", "9R", "10R")
LR_MOMENTUM_PGD = ("19L", "19R", "20L", "20R")
LR_BS_MOMENTUM_ACCURACY = ("11L", "12L", "13L", "14L")
LR_BS_MOMENTUM_LAMBDA1 = ("11R", "12R", "13R", "14R")
LR_BS_MOMENTUM_PGD = ("21L", "21R", "22L", "22R")

CLAIMS = (
    Claim(
        "A1",
        "Benchmark: as the batch size increases the test accuracy decreases",
        Source(PAPER, "3, 3.1 (i)", REGIME_ACCURACY),
        Scope(STUDIES, BENCHMARK),
        tests=[trends(-1, CLEAN)],
    ),
    Claim(
        "A2",
        "Benchmark: FGSM test accuracy also drops with increase in batch size",
        # "From the benchmark plots in Figures 1(left) and 4(left)"; of all networks A7 says it
        Source(PAPER, "3", ("1L", "4L")),
        Scope(REPLICATED, BENCHMARK),
        tests=[trends(-1, FGSM)],
    ),
    Claim(
        "A3",
        "Benchmark: as the batch size increases principle curvature increases",
        Source(PAPER, "3, 3.1 (i)", REGIME_LAMBDA1),
        Scope(STUDIES, BENCHMARK),
        tests=[trends(+1, LAMBDA1)],
    ),
    Claim(
        "A4",
        "A constant LR/BS ratio leads to flatter minima: the top eigenvalue is almost flat, and flatter than under LR",
        Source(PAPER, "3.1 (i)", REGIME_LAMBDA1),
        Scope(STUDIES, LR + LR_BS),
        tests=[
            # the paper names Figures 1, 2, 4 and 5: not those of Fashion-MNIST
            flatness(LAMBDA1, part="almost flat", settings=LR_BS, studies=MOMENTUM_STUDIES),
            flatter_than("lr", "lr_bs", LAMBDA1, part="flatter than under LR"),
        ],
    ),
    Claim(
        "A5",
        "Constant LR/BS: very little variation of natural accuracy, it does not suffer with an increase in batch size",
        Source(PAPER, "3.1 (ii)", REGIME_ACCURACY),
        Scope(STUDIES, LR_BS),
        tests=[flatness(CLEAN)],
    ),
    Claim(
        "A6",
        "Constant LR/BS: almost constant adversarial robustness, independent of the batch size",
        Source(PAPER, "abstract, 3.1 (ii)", REGIME_ACCURACY + REGIME_PGD),
        Scope(STUDIES, LR_BS),
        tests=[flatness(FGSM, PGD)],
    ),
    Claim(
        "A7",
        "Constant LR and benchmark: FGSM and PGD accuracy drop with increase in the batch size",
        Source(PAPER, "3.1 (ii)", REGIME_ACCURACY + REGIME_PGD),
        Scope(STUDIES, LR + BENCHMARK),
        # under LR one network is the paper's own exception (section 3.2), see A9
        tests=[
            trends(-1, FGSM, PGD, settings=LR, studies=tuple(s for s in STUDIES if s not in GARMENTS)),
            trends(-1, FGSM, PGD, settings=BENCHMARK),
        ],
    ),
    Claim(
        "A8",
        "Hessian based analysis does not always explain adversarial robustness in small vs large batch training",
        Source(PAPER, "1, 3.1 (iii)", REGIME_ACCURACY + REGIME_LAMBDA1 + REGIME_PGD),
        Scope(STUDIES, LR_MOMENTA + LR_BS_MOMENTA + BENCHMARK),
        tests=[wrong_signs(part="sign-error"), counterexamples(part="counterexample", every_epsilon=True)],
        rule=existential,
    ),
    Claim(
        "A9",
        "StdCNN on Fashion-MNIST under LR: FGSM and PGD accuracy increase with batch size, and so does the curvature",
        Source(PAPER, "3.2", ("6L", "6R", "18L", "18R")),
        Scope(GARMENTS, LR, only=True),
        tests=[
            *(trends(+1, measure, part=measure.name) for measure in (FGSM, PGD, LAMBDA1)),
            counterexamples(part="counterexample"),
        ],
    ),
    Claim(
        "A10",
        "LR: with larger momentum there is better generalization",
        Source(PAPER, "4.1", LR_MOMENTUM_ACCURACY),
        Scope(MOMENTUM_STUDIES, LR_MOMENTA),
        tests=[more_momentum(+1, CLEAN), each_step_of_momentum(+1, CLEAN)],
    ),
    Claim(
        "A11",
        "LR: a larger momentum leads (in most cases) to a more robust model",
        Source(PAPER, "1, 4.1", LR_MOMENTUM_ACCURACY + LR_MOMENTUM_PGD),
        Scope(MOMENTUM_STUDIES, LR_MOMENTA),
        tests=[more_momentum(+1, FGSM, PGD), each_step_of_momentum(+1, FGSM, PGD)],
        rule=most,
    ),
    Claim(
        "A12",
        "LR: the curvature reduces with larger momentum",
        Source(PAPER, "4.1", LR_MOMENTUM_LAMBDA1),
        Scope(MOMENTUM_STUDIES, LR_MOMENTA),
        tests=[more_momentum(-1, LAMBDA1), each_step_of_momentum(-1, LAMBDA1)],
    ),
    Claim(
        "A13",
        "LR/BS: in most cases the curvature reduces with larger momentum",
        Source(PAPER, "4.2", LR_BS_MOMENTUM_LAMBDA1),
        Scope(MOMENTUM_STUDIES, LR_BS_MOMENTA),
        # the paper calls the change "mild" itself, so its direction decides, at every momentum
        tests=[more_momentum(-1, LAMBDA1, every=True, delta=0.0)],
        rule=most,
    ),
    Claim(
        "A14",
        "Momentum is more effective with a fixed learning rate than with a constant LR/BS ratio",
        Source(
            PAPER,
            "abstract",
            LR_MOMENTUM_ACCURACY + LR_BS_MOMENTUM_ACCURACY + LR_MOMENTUM_LAMBDA1 + LR_BS_MOMENTUM_LAMBDA1,
        ),
        # at batch 64 both regimes are the same run, which is left out: of 64 to 1,024 four sizes are left
        Scope(MOMENTUM_STUDIES, LR_MOMENTA + LR_BS_MOMENTA, reach=FOUR_SIZES),
        tests=[momentum_matters_less("lr_bs", "lr", CLEAN, FGSM, PGD, LAMBDA1)],
    ),
    Claim(
        "A15",
        "LR/BS: momentum plays no significant role for accuracy and adversarial robustness",
        Source(PAPER, "4.2", LR_BS_MOMENTUM_ACCURACY + LR_BS_MOMENTUM_PGD),
        Scope(MOMENTUM_STUDIES, LR_BS_MOMENTA),
        tests=[momentum_changes_nothing(CLEAN, FGSM, PGD)],
        contradicts=("A21", "A22"),
    ),
    Claim(
        "A16",
        "The benchmark gives the values of Yao et al. for accuracy and curvature; for FGSM the values are different",
        Source(PAPER, "3, workshop version, 2", ("1L", "1R", "4L", "4R")),
        Scope(STUDIES, BENCHMARK),
        tests=[
            agrees_with_yao(CLEAN, part="clean accuracy agrees"),
            agrees_with_yao(LAMBDA1, part="lambda1 agrees"),
            differs_from_yao("fgsm", part="FGSM differs"),
        ],
    ),
    Claim(
        "A17",
        "The observations on FGSM continue to hold for PGD attacks",
        Source(PAPER, "3.1 (ii)", REGIME_PGD),
        Scope(STUDIES, LR + BENCHMARK + LR_BS),
        tests=[
            SameVerdicts([trends(-1, FGSM, PGD, settings=LR + BENCHMARK)]),
            SameVerdicts([flatness(FGSM, PGD, settings=LR_BS)]),
        ],
    ),
    Claim(
        "A18",
        "Training models with a constant learning rate to batch size ratio leads to convergence to a flatter minima "
        "(here: than a constant learning rate and than the benchmark)",
        Source(PAPER, "1, 3.1 (i)", REGIME_LAMBDA1),
        Scope(STUDIES, LR + LR_BS + BENCHMARK),
        tests=[
            differs(-1, LR[0], LR_BS[0], LAMBDA1, part="than LR", at=ABOVE_64),
            differs(-1, BENCHMARK[0], LR_BS[0], LAMBDA1, part="than the benchmark", at=ABOVE_64),
        ],
    ),
    Claim(
        "A19",
        "Maintaining a constant learning rate to batch size ratio enhances both generalization and adversarial "
        "robustness (here: against a constant learning rate, above batch 64)",
        # not the authors' words: an automatic summary on a web page of the abstract
        Source(PAPER, "automatic summary on a web page, not by the authors", REGIME_ACCURACY + REGIME_PGD),
        Scope(STUDIES, LR + LR_BS),
        tests=[
            differs(+1, LR[0], LR_BS[0], CLEAN, part="generalization", at=ABOVE_64),
            differs(+1, LR[0], LR_BS[0], FGSM, PGD, part="robustness", at=ABOVE_64),
        ],
    ),
    Claim(
        "A20",
        "LR: as batch size increases natural accuracy drops and principle curvature increases",
        Source(PAPER, "3.1 (i)", REGIME_ACCURACY + REGIME_LAMBDA1),
        Scope(STUDIES, LR),
        tests=[trends(-1, CLEAN, part="accuracy"), trends(+1, LAMBDA1, part="curvature")],
    ),
    Claim(
        "A21",
        "In both the set ups LR and LR/BS, accuracy improves with increased momentum (here: LR/BS; A10 is about LR)",
        Source(PAPER, "4", LR_BS_MOMENTUM_ACCURACY),
        Scope(MOMENTUM_STUDIES, LR_BS_MOMENTA),
        tests=[more_momentum(+1, CLEAN), each_step_of_momentum(+1, CLEAN)],
        contradicts=("A15",),
    ),
    Claim(
        "A22",
        "Training with a larger momentum value leads to (in most cases) a more robust model, under LR and LR/BS alike",
        Source(PAPER, "1", LR_MOMENTUM_ACCURACY + LR_MOMENTUM_PGD + LR_BS_MOMENTUM_ACCURACY + LR_BS_MOMENTUM_PGD),
        Scope(MOMENTUM_STUDIES, LR_MOMENTA + LR_BS_MOMENTA),
        tests=[
            asked(+1, FGSM, PGD, settings=settings)
            for settings in (LR_MOMENTA, LR_BS_MOMENTA)
            for asked in (more_momentum, each_step_of_momentum)
        ],
        rule=most,
        contradicts=("A15",),
    ),
    Claim(
        "A23",
        "There are models on MNIST and on Fashion-MNIST which when trained with large batch have higher Hessian "
        "spectrum and also higher adversarial robustness (fixed learning rate)",
        Source(PAPER, "workshop version, 2.1", ("1L", "1R", "2L", "2R", "3L", "3R", "6L", "6R", "18L", "18R")),
        Scope(tuple(s for s in STUDIES if s.dataset != "cifar10"), LR, only=True),
        tests=[
            replace(counterexamples(part=part), studies=tuple(s for s in STUDIES if s.dataset == dataset))
            for dataset, part in (("mnist", "MNIST"), ("fashion-mnist", "Fashion-MNIST"))
        ],
        rule=by_part({"MNIST": existential, "Fashion-MNIST": existential}),
    ),
    Claim(
        "A24",
        "A constant LR/BS ratio ensures that adversarial robustness does not degrade with increasing batch size",
        Source(PAPER, "1", REGIME_ACCURACY + REGIME_PGD + LR_BS_MOMENTUM_ACCURACY + LR_BS_MOMENTUM_PGD),
        Scope(STUDIES, LR_BS_MOMENTA),
        tests=[falls_nowhere(FGSM, PGD)],
    ),
)
