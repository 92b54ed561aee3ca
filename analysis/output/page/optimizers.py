"""The section on optimizers: does a gain of SVRG or selective backprop remain at equal compute?"""

from __future__ import annotations

from itertools import groupby
from typing import Any

from analysis.claims.sgd_variants import TABLE_2
from analysis.findings import Findings
from analysis.output.page.templates import Section
from analysis.reports.budgets import (
    BASELINE,
    OptimizerComparison,
    OptimizerRun,
    gain_at_equal_compute,
    gain_per_epoch,
    level,
    survives,
)
from analysis.statistics.estimates import LinearContrast
from analysis.statistics.thresholds import SIGNIFICANCE
from analysis.tables.words import name, network_name, said
from analysis.theme import optimizer_style, percent, regime_style
from search_spaces.sgd_variants import CIFAR, CIFAR_BATCH_SIZE

HEAD = (
    *("Optimizer", "The gain", "Gain at equal compute", "Gain per epoch", "Accuracy"),
    *("Epochs", "Epochs of gradients", "Updates", "Seeds"),
)

Context = dict[str, Any]


def optimizer_section(findings: Findings) -> Section | None:
    """The tables of every comparison; None if only one optimizer was run."""
    found = findings.optimizers
    if not found:
        return None
    places = [_place(list(here)) for _, here in groupby(found, key=lambda one: one.place)]
    title = "Optimizers at equal epochs and at equal compute"
    return Section("optimizers", "Optimizers", title, {"places": places})


def _place(here: list[OptimizerComparison]) -> Context:
    """The tables of one data set and model: open are clean accuracy and that under the strongest attack at the batch
    size with most optimizers (nearest to 128 among those).
    """
    first = min(
        here, key=lambda one: (-len({run.optimizer for run in one.runs}), abs(one.batch_size - CIFAR_BATCH_SIZE))
    )
    sizes = f"{first['train_size']:,} training images, {first['test_size']:,} test images"
    of_paper = (first["dataset"], first["model"]) == (CIFAR.dataset, CIFAR.model)
    opened: list[Context] = []
    others: list[Context] = []
    for one in here:
        for measure in one.measures:
            is_open = one.batch_size == first.batch_size and measure in ("clean", one.strongest)
            (opened if is_open else others).append(_table(one, measure))
    return {
        "title": network_name(first["dataset"], first["model"]),
        "sizes": f"{sizes}, {said('augmentation', first['augmentation'])}.",
        "against": f"Against Choudhary (2020): {TABLE_2}." if of_paper else "",
        "open": opened,
        "others": others,
    }


def _measure_words(measure: str) -> str:
    """ "pgd 0.15" as "PGD accuracy, ε = 0.15"."""
    attack, *epsilon = measure.split()
    return f"{name(attack)} accuracy, ε = {epsilon[0]}" if epsilon else "Clean accuracy"


def _label(run: OptimizerRun) -> str:
    """Its optimizer, and its regime if that is its own."""
    label = optimizer_style(run.optimizer).label
    return f"{label} ({regime_style(run.own).label})" if run.own else label


def _table(comparison: OptimizerComparison, measure: str) -> Context:
    runs = sorted(comparison.runs, key=lambda r: (r.optimizer != BASELINE, r.optimizer, r.own, r.epochs))
    regime = regime_style(comparison.regime).label
    return {
        "head": HEAD,
        "caption": f"{_measure_words(measure)}, {regime}, batch size {comparison.batch_size}",
        "rows": [_row(comparison, run, measure) for run in runs],
    }


def _row(comparison: OptimizerComparison, run: OptimizerRun, measure: str) -> list[str]:
    per_epoch, equal = (gain(comparison, run, measure) for gain in (gain_per_epoch, gain_at_equal_compute))
    gains = [_said(comparison, run, per_epoch, equal, measure), _points(equal), _points(per_epoch)]
    return [
        _label(run),
        *(gains if run.optimizer != BASELINE else "–––"),
        _mean(run, measure),
        f"{run.epochs:,}",
        f"{run.gradient_epochs:,.4g}",
        f"{run.steps:,.0f}",
        str(len(run.seeds)),
    ]


def _mean(run: OptimizerRun, measure: str) -> str:
    values = run.accuracy.get(measure)
    return "–" if values is None else percent(float(values.mean()), 2)


def _points(gain: LinearContrast | None) -> str:
    if gain is None:
        return "–"
    low, high = gain.interval(1 - SIGNIFICANCE)
    written = f"{100 * gain.value:+.2f} [{100 * low:+.2f}, {100 * high:+.2f}]"
    return written.replace("-", "−").replace(" ", "\N{NO-BREAK SPACE}")


def _said(
    comparison: OptimizerComparison,
    run: OptimizerRun,
    per_epoch: LinearContrast | None,
    equal: LinearContrast | None,
    measure: str,
) -> str:
    if level(run, measure) is None:
        return "needs 3 seeds"
    if per_epoch and equal is None and survives(per_epoch, equal).startswith("unknown"):
        longest = comparison.of(BASELINE)[-1]
        needed = run.gradient_epochs / (longest.gradient_epochs / longest.epochs)
        return f"unknown: run SGD for {needed:.0f} epochs"
    return survives(per_epoch, equal)
