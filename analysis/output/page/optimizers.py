"""The section on optimizers: does a gain of SVRG or selective backprop remain at equal compute?"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from analysis.claims.sgd_variants import TABLE_2
from analysis.figures import Figure
from analysis.figures.budgets import DrawnComparison, drawn_measures, measure_words, run_style, styles
from analysis.findings import Findings
from analysis.output.page.charts import Charts, group
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
from analysis.tables.words import name, said
from analysis.theme import percent, regime_style
from search_spaces.sgd_variants import CIFAR

HEAD = (
    *("Optimizer", "Epochs", "Epochs of gradients", "Updates", "Seeds", "Accuracy"),
    *("Gain per epoch", "Gain at equal compute", "The gain"),
)

Context = dict[str, Any]


def optimizer_section(findings: Findings, charts: Charts) -> Section | None:
    """Each comparison with its charts per epoch and per gradient and a table; None if only one optimizer was run.

    The tables of batch sizes that are not drawn are folded away.
    """
    found = findings.optimizers
    if not found:
        return None
    places = [_place(list(here), charts) for _, here in groupby(found, key=lambda one: one.comparison.place)]
    title = "Optimizers at equal epochs and at equal compute"
    return Section("optimizers", "Optimizers", title, {"places": places})


def _place(here: list[DrawnComparison], charts: Charts) -> Context:
    first = here[0].comparison
    sizes = f"{first['train_size']:,} training images, {first['test_size']:,} test images"
    of_paper = (first["dataset"], first["model"]) == (CIFAR.dataset, CIFAR.model)
    return {
        "title": f"{name(str(first['dataset']))} · {name(str(first['model']))}",
        "sizes": f"{sizes}, {said('augmentation', first['augmentation'])}.",
        "against": f"Against Choudhary (2020): {TABLE_2}." if of_paper else "",
        "drawn": [_drawn(one, charts) for one in here if one.figures],
        "rest": [_table(c, m) for c in (one.comparison for one in here if not one.figures) for m in drawn_measures(c)],
    }


def _drawn(one: DrawnComparison, charts: Charts) -> Context:
    """One regime: clean and the strongest attack, each per epoch (left), per gradient (right) and as a table."""
    comparison = one.comparison
    return {
        "title": _title(comparison),
        "measures": [_measure(comparison, measure, figures, charts) for measure, figures in one.figures.items()],
        "others": [(measure_words(m), _table(comparison, m)) for m in comparison.measures if m not in one.figures],
    }


def _measure(comparison: OptimizerComparison, measure: str, figures: Sequence[Figure], charts: Charts) -> Context:
    words = measure_words(measure)
    return {
        "title": f"{words[0].upper()}{words[1:]}",
        "gains": _gains(comparison, measure),
        "charts": group(
            charts, figures, ["Per epoch", "Per unit of compute"], styles=styles(comparison), columns="two"
        ),
        "table": _table(comparison, measure),
    }


def _gains(comparison: OptimizerComparison, measure: str) -> list[Context]:
    """The gain of each optimizer over SGD at the longest budget that both have, per epoch and at equal compute."""
    budgets = {run.epochs for run in comparison.of(BASELINE)}
    gains = []
    for style in styles(comparison):
        mine = [r for r in comparison.runs if run_style(r) == style and r.optimizer != BASELINE and r.epochs in budgets]
        if mine:
            gains.append({"style": style, **_gain(comparison, mine[-1], measure)})
    return gains


def _gain(comparison: OptimizerComparison, run: OptimizerRun, measure: str) -> Context:
    per_epoch, equal = (gain(comparison, run, measure) for gain in (gain_per_epoch, gain_at_equal_compute))
    gained = f"{_signed(per_epoch)} points after {run.epochs:,} epochs" if per_epoch else "not comparable"
    paid = f", {_signed(equal)} at equal compute" if equal else ""
    said = _said(comparison, run, per_epoch, equal, measure)
    return {"text": f"{run_style(run).label}: {gained}{paid}", "said": said}


def _signed(gain: LinearContrast) -> str:
    return f"{100 * gain.value:+.1f}".replace("-", "−")


def _title(comparison: OptimizerComparison) -> str:
    return f"{regime_style(comparison.regime).label}, batch size {comparison.batch_size}"


def _table(comparison: OptimizerComparison, measure: str) -> Context:
    runs = sorted(comparison.runs, key=lambda r: (r.optimizer != BASELINE, r.optimizer, r.own, r.epochs))
    return {
        "head": HEAD,
        "caption": f"{_title(comparison)}, {measure_words(measure)}: gains over SGD in points, with 95 % intervals "
        "(Welch)",
        "rows": [_row(comparison, run, measure) for run in runs],
    }


def _row(comparison: OptimizerComparison, run: OptimizerRun, measure: str) -> list[str]:
    cells = [
        run_style(run).label,
        f"{run.epochs:,}",
        f"{run.gradient_epochs:,.4g}",
        f"{run.steps:,.0f}",
        str(len(run.seeds)),
        _mean(run, measure),
    ]
    if run.optimizer == BASELINE:
        return [*cells, "–", "–", "–"]
    per_epoch, equal = (gain(comparison, run, measure) for gain in (gain_per_epoch, gain_at_equal_compute))
    said = _said(comparison, run, per_epoch, equal, measure)
    return [*cells, _points(per_epoch), _points(equal), said]


def _mean(run: OptimizerRun, measure: str) -> str:
    values = run.accuracy.get(measure)
    return "–" if values is None else percent(float(values.mean()), 2)


def _points(gain: LinearContrast | None) -> str:
    if gain is None:
        return "–"
    low, high = gain.interval(1 - SIGNIFICANCE)
    return f"{100 * gain.value:+.2f} [{100 * low:+.2f}, {100 * high:+.2f}]".replace("-", "−")


def _said(
    comparison: OptimizerComparison,
    run: OptimizerRun,
    per_epoch: LinearContrast | None,
    equal: LinearContrast | None,
    measure: str,
) -> str:
    if level(run, measure) is None:
        return "needs 3 seeds"
    said = survives(per_epoch, equal)
    longest = comparison.of(BASELINE)[-1:]
    if equal is None and per_epoch is not None and said.startswith("unknown") and longest:
        needed = run.gradient_epochs / (longest[0].gradient_epochs / longest[0].epochs)
        return f"{said} (run SGD for {needed:.0f} epochs)"
    return said
