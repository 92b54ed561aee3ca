"""Claims where the truth was planted as yes, as no and as undecidable, and with one seed.

Those that need other data than these worlds, and floors, divergence and exceptions, are in the files of their papers.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from analysis.claims import CLAIMS
from analysis.claims import sgd_variants as b
from search_spaces.large_batch import METHODS
from study.results.schema import Row
from tests.analysis.claims.planted_claims import FALLS, RISES, judge, momentum_gains, regimes, rng
from tests.analysis.large_batch import falling, robust, to_the_loss
from tests.analysis.large_batch import level as steady
from tests.analysis.synthetic import Curve, curve_rows, flat, line
from tests.analysis.variants import FALLING, RISING, STEADY, Level, Setting, level, planned_settings, rows

World = Callable[..., list[Row]]
"""The rows of a planted study; takes `seeds`, and noise of accuracies and of lambda1."""

NOISE: dict[str, Any] = {"noise": 0.4, "lambda_noise": 8.0}
SIGNS: dict[str, Any] = {"dataset": "mnist", "model": "m1"}


def natural(regime: str, **planted: Any) -> World:
    """One curve of the natural-training paper."""
    return partial(curve_rows, regime=regime, **planted)


def two_regimes(lr: dict[str, Curve], lr_bs: dict[str, Curve], **benchmark: Curve) -> World:
    """LR, LR/BS and the benchmark (as LR unless given) of one network."""

    def world(**both: Any) -> list[Row]:
        return [
            *regimes(
                curve_rows(regime="lr", rng=rng(1), **lr, **both),
                curve_rows(regime="lr_bs", rng=rng(2), **lr_bs, **both),
            ),
            *curve_rows(regime="benchmark", rng=rng(3), **(benchmark or lr), **both),
        ]

    return world


def momenta(gain: float, *names: tuple[str, str], settings: tuple[str, ...] = ("lr", "lr_bs")) -> World:
    """Momentum .9 against none raises clean, FGSM and PGD accuracy by `gain` in these networks."""

    def world(**both: Any) -> list[Row]:
        made: list[Row] = []
        for k, (dataset, model) in enumerate(names):
            for m, share in ((0.0, 0.0), (0.9, 1.0)):
                curves = {n: flat(at + share * gain) for n, at in (("clean", 0.8), ("fgsm", 0.4), ("pgd", 0.3))}
                each = [
                    curve_rows(
                        regime=regime, dataset=dataset, model=model, momentum=m, rng=rng(10 * k + j), **curves, **both
                    )
                    for j, regime in enumerate(settings)
                ]
                made += regimes(each[0], each[1]) if len(each) == 2 else each[0]
        return made

    return world


def momentum(regime: str, measure: str, without: float, *others: float) -> tuple[World, ...]:
    """A world for each of `others`: the measure under momentum .9; it is `without` under none."""

    def world(other: float) -> World:
        levels = {0.0: without, 0.9: other}
        return lambda **both: [
            row
            for k, (m, at) in enumerate(levels.items())
            for row in curve_rows(**{"regime": regime, "momentum": m, "rng": rng(k), measure: flat(at)}, **both)
        ]

    return tuple(world(other) for other in others)


def falls_with_the_ratio(loss: float) -> World:
    """Accuracy under attack with a constant ratio is the same at every batch size, but lower by `loss` at 512."""

    def curve(level: float) -> Curve:
        return lambda doublings: level - (loss if doublings == 5 else 0.0)

    return lambda **both: curve_rows(regime="lr_bs", fgsm=curve(0.4), pgd=curve(0.3), rng=rng(1), **both)


def counterexample(*datasets: str, gain: float = 0.03) -> World:
    rising: dict[str, Curve] = {"fgsm": line(0.3, gain), "pgd": line(0.3, gain), "log2_lambda1": line(1.0, 0.6)}
    return lambda **both: [
        row
        for k, dataset in enumerate(datasets)
        for row in curve_rows(regime="lr", dataset=dataset, model="stdcnn", rng=rng(k), **rising, **both)
    ]


def variants(dataset: str, base: Level, settings: dict[Setting, Level]) -> World:
    """Every setting of Choudhary's grid at `base`, but for these."""
    others = {setting: base for setting in planned_settings(dataset) if setting not in settings}
    return lambda **both: rows(dataset, {**settings, **others}, **both)


MID = level(0.9, 0.5)
BETTER, WORSE = level(0.95, 0.7), level(0.8, 0.2)
SHARP, FLAT = level(0.9, 0.5, lambda1=8.0), level(0.9, 0.5, lambda1=1.0)
NINE, HIGH_NINE = b.with_momentum(0.9), b.with_momentum(0.9, b.HIGH)
CIFAR_PAIRS = [(base, b.by("svrg", base), b.by("msgd", base)) for base in (b.LR, b.HIGH_STEP)]


def mnist(settings: dict[Setting, Level]) -> World:
    return variants("mnist", MID, settings)


def cifar(settings: dict[Setting, Level]) -> World:
    return variants("cifar10", MID, settings)


def together(*worlds: World) -> World:
    return lambda **both: [row for world in worlds for row in world(**both)]


def small_batches(gain: float) -> Level:
    """Better by `gain` up to batch 64, as the others beyond."""

    def curve(at: float) -> Curve:
        return lambda doublings: at + (gain if doublings <= 2 else 0.0)

    return Level(flat(0.9), curve(0.5), curve(0.4), flat(4.0))


def decay(clean: float, fgsm: float, lambda1: float, helps: float = 0.2) -> World:
    """Weight decay on CIFAR-10 changes these (with momentum .9 as well); on MNIST, at the high rate, FGSM and PGD."""
    plain = level(0.8, 0.5, lambda1=4.0)
    other = level(0.8 + clean, 0.5 + fgsm, lambda1=4.0 + lambda1)
    on_cifar = {b.LR: plain, NINE: plain, b.decayed(b.LR, b.CIFAR): other, b.decayed(NINE, b.CIFAR): other}
    on_mnist = {b.HIGH: MID, b.decayed(b.HIGH, b.MNIST): level(0.9, 0.5 + helps)}
    return together(lambda **both: rows("cifar10", on_cifar, **both), lambda **both: rows("mnist", on_mnist, **both))


def decay_hurts(mnist: float, cifar: float) -> World:
    """Accuracy under FGSM with weight decay at the usual rate; without it .4 on MNIST and .5 on CIFAR-10."""
    on_mnist = {b.LR: STEADY, b.decayed(b.LR, b.MNIST): level(0.98, mnist)}
    on_mnist |= {b.HIGH: STEADY, b.decayed(b.HIGH, b.MNIST): STEADY}
    on_cifar = {b.LR: level(0.8), b.decayed(b.LR, b.CIFAR): level(0.8, cifar, lambda1=3.6)}
    return together(partial(rows, "mnist", on_mnist), partial(rows, "cifar10", on_cifar))


def flatter_with_momentum(at_half: float, at_most: float) -> World:
    """log2 lambda1 at momentum .5 and .9 on MNIST, 4 without; accuracy and robustness rise with either."""
    on_mnist = {b.LR: level(0.95), b.with_momentum(0.5): level(0.97, 0.5, lambda1=at_half)}
    on_mnist[NINE] = level(0.99, 0.6, lambda1=at_most)
    on_cifar = {b.LR: level(0.77), NINE: level(0.86, 0.6, lambda1=1.0)}
    return together(partial(rows, "mnist", on_mnist), partial(rows, "cifar10", on_cifar))


def high_rate_with_momentum(accuracy: float) -> World:
    """Clean accuracy with any momentum at the high rate; .98 without."""
    return partial(rows, "mnist", {b.HIGH: STEADY, **{b.with_momentum(m, b.HIGH): level(accuracy) for m in b.MOMENTA}})


def rates(high_step: Level) -> World:
    """The four rates of MNIST, of which one is at `high_step`."""
    return partial(rows, "mnist", {b.LR: STEADY, b.STEP: STEADY, b.HIGH: STEADY, b.HIGH_STEP: high_step})


def adam(reached: Level) -> World:
    """Adam on CIFAR-10 beside the others."""
    levels = {b.by(o, base): level(0.8, 0.4) for base in (b.LR, b.HIGH_STEP) for o in ("sgd", *b.OTHERS)}
    return partial(rows, "cifar10", {**levels, NINE: level(0.86, 0.45), b.ADAM: reached})


def variants_reach(fgsm: float) -> World:
    """Accuracy under FGSM of every variant of SGD on both data sets; minibatch SGD reaches .4."""

    def of(dataset: str, bases: tuple[Setting, ...], *adams: Setting) -> World:
        levels = {base: level(0.9) for base in bases}
        levels |= {b.by(o, base): level(0.9, fgsm) for base in bases for o in b.OTHERS}
        return partial(rows, dataset, {**levels, **dict.fromkeys(adams, level(0.9, fgsm))})

    return together(
        of("mnist", (b.LR, b.HIGH, b.RATIO), b.ADAM, b.ADAM_RATIO), of("cifar10", (b.LR, b.HIGH_STEP), b.ADAM)
    )


def ratio_curve(lambda1: float, fgsm: float) -> World:
    """Both change by this much from batch 32 to 512 with a constant ratio, in doublings and as a fraction."""
    curve = Level(flat(0.8), line(0.5, fgsm / 4), line(0.4, fgsm / 4), line(6.0, lambda1 / 4))
    return partial(rows, "cifar10", {b.RATIO: curve})


def opposition(curve: Level, *, exception: bool) -> World:
    """Every setting of MNIST on this curve; on CIFAR-10 the flatter the more robust, with or without an exception."""
    mnist = {b.by(o, base): curve for base in (b.LR, b.HIGH) for o in ("sgd", *b.OTHERS)}
    sharp = level(0.9, 0.5 if exception else 0.2, lambda1=8.0)
    names = [b.by(o, base) for base in (b.LR, b.HIGH_STEP) for o in b.OTHERS]
    others = {name: level(0.9, 0.3 + 0.01 * k, lambda1=6.0 - 0.3 * k) for k, name in enumerate(names)}
    return together(partial(rows, "mnist", mnist), partial(rows, "cifar10", {**others, b.LR: sharp, b.ADAM: sharp}))


def loss_world(**planted: Any) -> World:
    return lambda lambda_noise=0.0, **both: to_the_loss(**{**planted, **both})


def robust_world(**planted: Any) -> World:
    return lambda lambda_noise=0.0, **both: robust(**{**planted, **both})


def with_signs(*eigenvalues: float) -> World:
    return robust_world(**SIGNS, whole=eigenvalues, log2_lambda1=(2.0, 2.0))


POSITIVE = tuple(4.0 * 0.8**k for k in range(20))
SADDLE = (*POSITIVE[:19], -1.0)
SECOND = ("fhsm", "l2hess")
C1: dict[str, Any] = {"dataset": "cifar10", "model": "c1"}
C3: dict[str, Any] = {"dataset": "cifar10", "model": "c3"}


def second_order_reach(own: float, transferred: float) -> World:
    return robust_world(**C3, original=dict.fromkeys(SECOND, own), transferred=dict.fromkeys(SECOND, transferred))


def rising(attack: str, doublings: float) -> float:
    return 0.2 + 0.04 * doublings


def apart(attack: str, doublings: float) -> float:
    return (falling if attack == "fgsm" else rising)(attack, doublings)


def second_order(accuracy: float) -> World:
    """The children of second-order attacks are right on this share; those of first-order attacks on .8."""
    methods = ("fgsm", "fgsm10", "l2grad")
    transferred = dict.fromkeys(("fgsm", "fgsm10", "l2grad", "fhsm", "l2hess"), accuracy)

    def world(lambda_noise: float = 0.0, **both: Any) -> list[Row]:
        first = robust(**C3, methods=methods, **both)
        second = robust(**C3, methods=SECOND, transferred=transferred, rng=rng(1), **both)
        return first + [row for row in second if row["parent"]]

    return world


ON_MNIST = (("mnist", "m1_20"), ("mnist", "stdcnn"))
FOUR = (*ON_MNIST, ("cifar10", "c1"), ("cifar10", "resnet18"))
STEEP: dict[str, Curve] = {"log2_lambda1": line(1.4, 0.8)}
LEVEL: dict[str, Curve] = {"log2_lambda1": flat(3.0)}
WEAK: dict[str, Curve] = {"clean": flat(0.9), "fgsm": flat(0.3), "pgd": flat(0.2)}
STRONG: dict[str, Curve] = {"clean": flat(0.95), "fgsm": flat(0.5), "pgd": flat(0.4)}
DROPS: dict[str, Curve] = {"clean": line(0.99, -0.01), "log2_lambda1": line(1.0, 0.6)}

DROPPING: dict[str, Curve] = {"fgsm": line(0.5, -0.03), "pgd": line(0.4, -0.02)}
STDCNN: dict[str, Any] = {"dataset": "fashion-mnist", "model": "stdcnn", "regime": "lr"}
STDCNN |= {"fgsm": line(0.3, 0.03), "pgd": line(0.2, 0.03), "log2_lambda1": line(1.0, 0.6)}

TRUTHS: dict[str, tuple[World, ...]] = {
    "A1": tuple(natural("benchmark", clean=curve) for curve in (FALLS, RISES, flat(0.97))),
    "A2": tuple(natural("benchmark", fgsm=curve) for curve in (line(0.5, -0.03), line(0.2, 0.03), flat(0.4))),
    "A3": tuple(natural("benchmark", log2_lambda1=curve) for curve in (line(0, 0.6), line(4, -0.6), flat(3.0))),
    "A4": (two_regimes(STEEP, LEVEL), two_regimes(STEEP, STEEP), two_regimes(LEVEL, LEVEL)),
    "A5": (natural("lr_bs", clean=flat(0.99)), natural("lr_bs", clean=line(0.99, -0.01))),
    "A6": (natural("lr_bs", fgsm=flat(0.4)), natural("lr_bs", fgsm=line(0.5, -0.03))),
    "A7": (
        together(natural("lr", **DROPPING), natural("benchmark", **DROPPING)),
        natural("lr", **(DROPPING | {"pgd": flat(0.2)})),
    ),
    "A9": (
        natural(**STDCNN),
        natural(**(STDCNN | {"fgsm": line(0.35, -0.02)})),
        natural(**(STDCNN | {"pgd": line(0.35, -0.02)})),
        natural(**(STDCNN | {"log2_lambda1": line(5.0, -0.6)})),
    ),
    "A10": momentum("lr", "clean", 0.90, 0.95, 0.85, 0.90),
    "A12": momentum("lr", "log2_lambda1", 4.0, 2.0, 6.0, 4.0),
    "A14": tuple(partial(momentum_gains, *gains) for gains in ((0.1, 0.0), (0.0, 0.1), (0.1, -0.1))),
    "A15": momentum("lr_bs", "fgsm", 0.4, 0.4, 0.6),
    "A18": (two_regimes(STEEP, LEVEL), two_regimes(LEVEL, STEEP)),
    "A19": (two_regimes(WEAK, STRONG), two_regimes(STRONG, WEAK)),
    "A20": (two_regimes(DROPS, {}), two_regimes({"clean": line(0.9, 0.01)}, {})),
    "A21": (momenta(0.05, ("mnist", "m1_20")), momenta(-0.05, ("mnist", "m1_20"))),
    "A22": (momenta(0.1, *FOUR), momenta(-0.1, *FOUR)),
    "A24": (falls_with_the_ratio(0.0), falls_with_the_ratio(0.1)),
    "B1": (
        partial(rows, "mnist", {b.LR: FALLING, b.HIGH: FALLING}),
        partial(rows, "mnist", {b.LR: RISING, b.HIGH: FALLING}),
        partial(rows, "mnist", {b.LR: STEADY}),
    ),
    "B2": (
        partial(rows, "mnist", {b.LR: STEADY, b.HIGH: level(0.99, 0.6)}),
        partial(rows, "mnist", {b.LR: level(0.99, 0.6), b.HIGH: STEADY}),
    ),
    "B3": (partial(rows, "mnist", {b.RATIO: STEADY}), partial(rows, "mnist", {b.RATIO: FALLING})),
    "B4": (ratio_curve(-3.0, -0.2), ratio_curve(-3.0, +0.2), ratio_curve(+3.0, -0.2)),
    "B5": (rates(STEADY), rates(level(0.98, 0.6))),
    "B6": (decay_hurts(0.4, 0.4), decay_hurts(0.6, 0.4), decay_hurts(0.4, 0.6)),
    "B7": (flatter_with_momentum(3.9, 1.0), flatter_with_momentum(1.0, 1.0), flatter_with_momentum(4.0, 4.0)),
    "B8": (high_rate_with_momentum(0.95), high_rate_with_momentum(0.99), high_rate_with_momentum(0.98)),
    "B9": (
        opposition(FALLING, exception=True),
        opposition(Level(flat(0.98), line(0.3, 0.05), line(0.2, 0.04), line(1.0, 0.8)), exception=True),
    ),
    "B10": (
        adam(level(0.87, 0.3, 0.2, 9.0)),
        adam(level(0.7, 0.3, 0.2, 9.0)),
        adam(level(0.87, 0.3, 0.2, 4.0)),
        adam(level(0.87, 0.6, 0.5, 9.0)),
    ),
    "B11": (variants_reach(0.3), variants_reach(0.6)),
    "B12": (mnist({b.ADAM: WORSE}), mnist({b.ADAM: BETTER})),
    "B13": (
        mnist({b.by("msgd", b.LR): BETTER, b.by("svrg", b.LR): BETTER}),
        mnist({b.by("msgd", b.LR): WORSE, b.by("svrg", b.LR): BETTER}),
    ),
    "B14": (mnist({b.ADAM_RATIO: small_batches(0.2)}), mnist({b.ADAM_RATIO: BETTER})),
    "B15": (mnist({b.ADAM_RATIO: FLAT}), mnist({b.ADAM_RATIO: SHARP})),
    "B16": (mnist({b.by("selective_backprop", b.RATIO): BETTER}), mnist({b.by("selective_backprop", b.RATIO): WORSE})),
    "B17": (mnist({b.RATIO: WORSE}), mnist({b.RATIO: BETTER})),
    "B18": (mnist({b.by("svrg", b.RATIO): WORSE}), mnist({b.by("svrg", b.RATIO): BETTER})),
    "B19": (
        cifar({svrg: level(0.95, 0.7, lambda1=1.0) for _, svrg, _ in CIFAR_PAIRS}),
        cifar({CIFAR_PAIRS[0][1]: level(0.95, 0.2, lambda1=1.0)}),
    ),
    "B20": (
        cifar({noise: level(0.9, 0.3, lambda1=1.0) for _, _, noise in CIFAR_PAIRS}),
        cifar({noise: level(0.9, 0.7, lambda1=1.0) for _, _, noise in CIFAR_PAIRS}),
    ),
    "B21": (cifar({b.RATIO: FALLING}), cifar({b.RATIO: RISING})),
    "B22": (decay(0.03, 0.0, -0.5), decay(0.03, -0.2, -0.5)),
    "B23": (mnist({NINE: level(0.95, 0.8)}), mnist({HIGH_NINE: level(0.95, 0.8)})),
    "B24": (mnist({HIGH_NINE: BETTER}), mnist({HIGH_NINE: WORSE})),
    "B25": (
        together(mnist({NINE: BETTER}), cifar({NINE: BETTER})),
        together(mnist({NINE: BETTER}), cifar({NINE: WORSE})),
    ),
    "C1": tuple(loss_world(log2_lambda1=curve) for curve in (line(1, 0.8), line(5, -0.8), flat(3.0))),
    "C2": tuple(loss_world(log2_lambda1=curve) for curve in (line(1, 0.8), line(5, -0.8), flat(3.0))),
    "C3": (
        loss_world(**C1, clean=lambda doublings: 0.98 - 0.02 * abs(doublings - 3)),
        loss_world(**C1, clean=line(0.80, 0.02)),
        loss_world(**C1, clean=flat(0.98)),
    ),
    "C4": tuple(loss_world(accuracy=curve) for curve in (falling, rising, steady)),
    "C5": (loss_world(), loss_world(log2_lambda1=line(6, -0.8))),
    "C7": (loss_world(), loss_world(accuracy=apart)),
    "C8": (
        robust_world(),
        robust_world(transferred={"l2grad": 0.1}),
        robust_world(transferred=dict.fromkeys(METHODS, 0.3)),
        robust_world(clean=(0.97, 0.99), noise=0.0005),
    ),
    "C9": (robust_world(), robust_world(log2_lambda1=(2.0, 6.0)), robust_world(log2_lambda1=(3.0, 3.0))),
    "C10": (second_order_reach(0.5, 0.9), second_order_reach(0.1, 0.1)),
    "C11": tuple(loss_world(log2_ratio=flat(ratio)) for ratio in (2.0, -2.0, 0.0)),
    "C12": (
        robust_world(seeds=range(6)),
        robust_world(whole=(5.0, 1.0, *[0.1] * 17, -2.0)),
        robust_world(single=(5.0, *[1.0] * 19), seeds=range(9)),  # of seven strata
    ),
    "C14": (second_order(0.5), second_order(0.95)),
    "C15": (
        robust_world(**SIGNS, original={"fhsm": 0.2}, transferred={"fhsm": 0.6}),
        robust_world(**SIGNS, original={"fhsm": 0.5}, transferred={"fhsm": 0.9}),
    ),
    "C16": (with_signs(*SADDLE), with_signs(*POSITIVE)),
    "C17": (loss_world(log2_ratio=line(0.5, 0.6)), loss_world(log2_ratio=line(4.0, -0.6))),
}
"""Claim -> a world in which it is true, and those in which it is false."""

ALSO_TRUE: dict[str, World] = {
    "A14": partial(momentum_gains, -0.1, 0.0),
    "B5": rates(level(0.98, 0.2)),  # a loss is no gain
    "B11": variants_reach(0.4),
    "C3": loss_world(**C1, clean=line(0.99, -0.02)),  # from the start
}


def one_saddle_of_three() -> list[Row]:
    return [*with_signs(*SADDLE)(seeds=(0,)), *with_signs(*POSITIVE)(seeds=(1, 2))]


def ratios_far_apart() -> list[Row]:
    made = TRUTHS["C17"][0]()
    for row, factor in zip(made, rng(4).normal(size=len(made)), strict=True):
        row["lambda1_test"] *= 2.0 ** (5 * factor)
    return made


LARGE = (256, 512, 1024, 2048)
HALF = {"fhsm": 0.9, "l2hess": 0.1}

UNDECIDABLE: dict[str, Callable[[], list[Row]]] = {
    **{claim: partial(true, **NOISE) for claim, (true, *_) in TRUTHS.items()},
    "B8": partial(high_rate_with_momentum(0.97), noise=0.2),
    "C1": loss_world(diverged=LARGE),
    "C2": loss_world(diverged=LARGE),
    "C3": loss_world(**C1, clean=line(0.8, -0.01), noise=0.2),
    "C5": loss_world(log2_lambda1=lambda doublings: float(round(doublings) % 2)),
    "C9": robust_world(status="diverged"),
    "C10": robust_world(**C3, original=HALF, transferred=HALF),
    "C11": loss_world(diverged=LARGE),
    "C12": robust_world(),  # three seeds
    "C16": one_saddle_of_three,
    "C17": ratios_far_apart,
}


@pytest.mark.parametrize("claim", TRUTHS)
def test_planted_truths(claim: str) -> None:
    true, *false = TRUTHS[claim]
    assert judge(claim, true()).verdict == "supported"
    assert judge(claim, ALSO_TRUE.get(claim, true)()).verdict == "supported"
    assert [judge(claim, world()).verdict for world in false] == ["refuted"] * len(false)
    assert judge(claim, true(seeds=(0,))).verdict == "not run"
    assert judge(claim, UNDECIDABLE[claim]()).verdict == "inconclusive"


def test_a23_needs_a_counterexample_in_each_data_set() -> None:
    both = counterexample("mnist", "fashion-mnist")
    assert judge("A23", both()).verdict == "supported"
    assert judge("A23", both(**NOISE)).verdict == "inconclusive"
    assert judge("A23", both(seeds=(0,))).verdict == "not run"
    assert judge("A23", counterexample("mnist")()).verdict == "inconclusive"
    assert judge("A23", counterexample("mnist", "fashion-mnist", gain=-0.03)()).verdict == "inconclusive"


def test_claims_that_contradict_each_other_name_each_other() -> None:
    pairs = {(claim.name, other) for claim in CLAIMS.values() for other in claim.contradicts}
    assert pairs == {(other, name) for name, other in pairs}
    assert {("A15", "A21"), ("B11", "B17"), ("C12", "C16")} <= pairs
