"""The figures of Choudhary (2020), source "B": MNIST, M1, batch size 32 to 1024.

Transcribed from the captions of Figures 1 to 5 and from Table 1. Figure 1 holds several rates: ours is drawn in two
parts, one a rate (1 and 1b), so that each optimizer keeps its colour.
"""

from __future__ import annotations

from analysis.claims.sweeps import Setting
from analysis.figures.variants import VariantCurves, VariantPanel
from analysis.theme import OPTIMIZERS, SeriesStyle
from search_spaces.sgd_variants import ADAMW_DECAY, EPSILONS

WEAK, STRONG = EPSILONS["mnist"]

_MARKS = tuple((style.colour, style.shape) for style in OPTIMIZERS.values())


def _optimizers(title: str, regime: str, adaptive: str | None) -> VariantCurves:
    """SGD and its three variants under one regime, and Adam and AdamW under theirs."""
    settings = [Setting(regime, optimizer=optimizer) for optimizer in ("sgd", "svrg", "msgd", "selective_backprop")]
    if adaptive:
        settings += [Setting(adaptive, 0.0, "adam"), Setting(adaptive, 0.0, "adamw", ADAMW_DECAY)]
    return VariantCurves(title, tuple((setting, OPTIMIZERS[setting.optimizer]) for setting in settings))


def _settings(title: str, *labelled: tuple[Setting, str]) -> VariantCurves:
    """Settings of minibatch SGD, each with a colour and shape of its own."""
    marks = zip(labelled, _MARKS, strict=False)
    return VariantCurves(title, tuple((setting, SeriesStyle(label, *mark)) for (setting, label), mark in marks))


CONSTANT_LR = _optimizers("SGD variants with constant learning rate (0.01; Adam and AdamW 0.0005)", "lr", "lr_0.0005")
HIGH_LR = _optimizers("SGD variants with constant learning rate (0.1)", "lr_0.1", None)
CONSTANT_RATIO = _optimizers("SGD variants with constant LR/BS ratio", "lr_bs", "lr_bs")

RATES = (("lr", "0.01"), ("lr_0.1", "0.1"))

MOMENTUM = _settings(
    "impact of momentum on minibatch SGD",
    *((Setting(regime, m), f"lr {rate}, momentum {m:g}") for regime, rate in RATES for m in (0.0, 0.5, 0.9)),
)
WEIGHT_DECAY = _settings(
    "impact of weight regularization on minibatch SGD",
    *(
        (Setting(regime, weight_decay=w), f"lr {rate}, weight decay {w:g}")
        for regime, rate in RATES
        for w in (0.0, 1e-3, 1e-2)
    ),
)
ANNEALING = _settings(
    "impact of learning rate annealing on minibatch SGD",
    (Setting("lr"), "lr 0.01 constant"),
    (Setting("step"), "lr 0.01 in steps"),
    (Setting("lr_0.1"), "lr 0.1 constant"),
    (Setting("step_0.1"), "lr 0.1 in steps"),
)


def _panel(number: str, curves: VariantCurves, *epsilons: float, note: str = "") -> VariantPanel:
    return VariantPanel("B", number, "mnist", "m1", curves, epsilons, note=note)


PANELS: tuple[VariantPanel, ...] = (
    _panel("1", CONSTANT_LR, WEAK, STRONG),
    _panel("1b", HIGH_LR, WEAK, STRONG, note="The higher of the paper's two rates, in a part of its own."),
    _panel("2", CONSTANT_RATIO, WEAK, STRONG),
    _panel("3", MOMENTUM, WEAK),
    _panel("4", WEIGHT_DECAY, WEAK, STRONG),
    _panel("5", ANNEALING, WEAK, STRONG, note="The paper does not state the epsilon of this figure: both are drawn."),
)
