"""The figures of Choudhary (2020), source "B": MNIST, M1, batch size 32 to 1024.

Transcribed from the captions of Figures 1 to 5 and from Table 1. Figure 1 holds several rates: ours is drawn in two
parts, one per rate (1 and 1b), so that each optimizer keeps its colour.
"""

from __future__ import annotations

from collections.abc import Iterable

from analysis.figures.curve_sets import CurveSet
from analysis.figures.panels import VariantPanel
from analysis.theme import OPTIMIZERS, SeriesStyle
from search_spaces.sgd_variants import ADAMW_DECAY, EPSILONS

WEAK, STRONG = EPSILONS["mnist"]

COLUMNS = ("optimizer", "regime", "momentum", "weight_decay")

Curve = tuple[str, str, float, float]
"""The values of `COLUMNS`."""


def _curve_set(title: str, curves: Iterable[tuple[Curve, SeriesStyle]]) -> CurveSet:
    return CurveSet(title, "configuration", COLUMNS, tuple(curves))


def _optimizers(title: str, regime: str, adaptive: str | None) -> CurveSet:
    """SGD and its three variants under one regime, and Adam and AdamW under the regime `adaptive`."""
    curves: list[Curve] = [(name, regime, 0.0, 0.0) for name in ("sgd", "svrg", "msgd", "selective_backprop")]
    if adaptive:
        curves += [("adam", adaptive, 0.0, 0.0), ("adamw", adaptive, 0.0, ADAMW_DECAY)]
    return _curve_set(title, ((curve, OPTIMIZERS[curve[0]]) for curve in curves))


def _sgd(title: str, curves: dict[str, tuple[str, float, float]]) -> CurveSet:
    """Curves of minibatch SGD: label -> regime, momentum and weight decay."""
    styles = zip(curves.items(), OPTIMIZERS.values(), strict=False)
    return _curve_set(
        title,
        ((("sgd", *curve), SeriesStyle(label, style.colour, style.shape)) for (label, curve), style in styles),
    )


CONSTANT_LR = _optimizers("SGD variants with constant learning rate (0.01; Adam and AdamW 0.0005)", "lr", "lr_0.0005")
HIGH_LR = _optimizers("SGD variants with constant learning rate (0.1)", "lr_0.1", None)
CONSTANT_RATIO = _optimizers("SGD variants with constant LR/BS ratio", "lr_bs", "lr_bs")

RATES = (("lr", "0.01"), ("lr_0.1", "0.1"))

MOMENTUM = _sgd(
    "impact of momentum on minibatch SGD",
    {f"lr {rate}, momentum {m:g}": (regime, m, 0.0) for regime, rate in RATES for m in (0.0, 0.5, 0.9)},
)
WEIGHT_DECAY = _sgd(
    "impact of weight regularization on minibatch SGD",
    {f"lr {rate}, weight decay {w:g}": (regime, 0.0, w) for regime, rate in RATES for w in (0.0, 1e-3, 1e-2)},
)
ANNEALING = _sgd(
    "impact of learning rate annealing on minibatch SGD",
    {
        "lr 0.01 constant": ("lr", 0.0, 0.0),
        "lr 0.01 in steps": ("step", 0.0, 0.0),
        "lr 0.1 constant": ("lr_0.1", 0.0, 0.0),
        "lr 0.1 in steps": ("step_0.1", 0.0, 0.0),
    },
)


def _panel(number: str, curves: CurveSet, *epsilons: float, note: str = "") -> VariantPanel:
    return VariantPanel(
        source="B", number=number, dataset="mnist", model="m1", curves=curves, epsilons=epsilons, note=note
    )


PANELS: tuple[VariantPanel, ...] = (
    _panel("1", CONSTANT_LR, WEAK, STRONG),
    _panel("1b", HIGH_LR, WEAK, STRONG, note="The higher of the paper's two learning rates, drawn separately."),
    _panel("2", CONSTANT_RATIO, WEAK, STRONG),
    _panel("3", MOMENTUM, WEAK),
    _panel("4", WEIGHT_DECAY, WEAK, STRONG),
    _panel("5", ANNEALING, WEAK, STRONG, note="The paper does not state the ε of this figure: this panel has both."),
)
