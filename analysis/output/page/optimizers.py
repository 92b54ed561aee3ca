"""The section on optimizers: does a gain of SVRG or selective backprop remain at equal compute?"""

from __future__ import annotations

from itertools import groupby

from analysis.claims.sgd_variants import TABLE_2
from analysis.figures.budgets import EPOCHS, GRADIENTS, budget_figure, measure_words, run_style, styles
from analysis.output.page.charts import Charts, glyph, group
from analysis.output.page.html import Content, Html, details, element, note, section
from analysis.output.page.html import table as data_table
from analysis.reports.budgets import (
    BASELINE,
    OptimizerComparison,
    OptimizerRun,
    comparisons,
    gain_at_equal_compute,
    gain_per_epoch,
    level,
    survives,
)
from analysis.statistics.estimates import LinearContrast
from analysis.statistics.thresholds import SIGNIFICANCE
from analysis.tables.table import StudyTable
from analysis.tables.words import name, said
from analysis.theme import percent, regime_style
from search_spaces.sgd_variants import CIFAR, CIFAR_BATCH_SIZE


def optimizer_section(table: StudyTable, charts: Charts) -> Html | None:
    """Each comparison with its charts per epoch and per gradient and a table; None if only one optimizer was run.

    Charts are drawn at one batch size a data set and model, the one with most optimizers (nearest to 128 among
    those); the tables of the others are folded away.
    """
    found = comparisons(table)
    if not found:
        return None
    places = [list(group) for _, group in groupby(found, key=lambda c: c.place)]
    intro = note(
        "Accuracy at equal epochs and at equal numbers of gradients: SVRG computes about three gradients for each that "
        "SGD computes, selective backprop fewer. A gain per epoch survives if it remains against SGD trained with as "
        "many gradients. Networks without momentum; robust accuracies under the published loss."
    )
    return section(
        "optimizers",
        "Optimizers at equal epochs and at equal compute",
        intro,
        [_place(place, charts) for place in places],
    )


def _place(here: list[OptimizerComparison], charts: Charts) -> Html:
    shown = min(here, key=lambda c: (-len({run.optimizer for run in c.runs}), abs(c.batch_size - CIFAR_BATCH_SIZE)))
    drawn = [c for c in here if c.batch_size == shown.batch_size]
    rest = [c for c in here if c.batch_size != shown.batch_size]
    first = here[0]
    sizes = f"{first['train_size']:,} training images, {first['test_size']:,} test images"
    of_paper = (first["dataset"], first["model"]) == (CIFAR.dataset, CIFAR.model)
    return element(
        "div",
        element("h3", f"{name(str(first['dataset']))} · {name(str(first['model']))}"),
        note(f"{sizes}, {said('augmentation', first['augmentation'])}."),
        note(f"Against Choudhary (2020): {TABLE_2}.") if of_paper else None,
        [_drawn(c, charts, opened=n == 0) for n, c in enumerate(drawn)],
        details("Other batch sizes", [_table(c, m) for c in rest for m in _measures(c)]) if rest else None,
    )


def _drawn(comparison: OptimizerComparison, charts: Charts, *, opened: bool) -> Html:
    """One regime: clean and the strongest attack, each per epoch (left), per gradient (right) and as a table."""
    measures = _measures(comparison)
    return details(
        _title(comparison),
        [
            (_summary(comparison, measure), _charts(comparison, measure, charts), _table(comparison, measure))
            for measure in measures
        ],
        [details(measure_words(m), _table(comparison, m)) for m in comparison.measures if m not in measures],
        open=opened,
    )


def _summary(comparison: OptimizerComparison, measure: str) -> Html:
    """The gain of each optimizer over SGD at the longest budget that both have, per epoch and at equal compute."""
    budgets = {run.epochs for run in comparison.of(BASELINE)}
    items = []
    for style in styles(comparison):
        mine = [r for r in comparison.runs if run_style(r) == style and r.optimizer != BASELINE and r.epochs in budgets]
        if mine:
            items.append(element("li", glyph(style), " ", _verdict(comparison, mine[-1], measure)))
    words = measure_words(measure)
    return element("div", element("h4", f"{words[0].upper()}{words[1:]}"), element("ul", items, class_="legend"))


def _verdict(comparison: OptimizerComparison, run: OptimizerRun, measure: str) -> list[Content]:
    per_epoch, equal = (gain(comparison, run, measure) for gain in (gain_per_epoch, gain_at_equal_compute))
    gained = f"{_signed(per_epoch)} points after {run.epochs:,} epochs" if per_epoch else "not comparable"
    paid = f", {_signed(equal)} at equal compute" if equal else ""
    said = _said(comparison, run, per_epoch, equal, measure)
    return [f"{run_style(run).label}: {gained}{paid}: ", element("strong", said)]


def _signed(gain: LinearContrast) -> str:
    return f"{100 * gain.value:+.1f}".replace("-", "−")


def _measures(comparison: OptimizerComparison) -> list[str]:
    return ["clean", *([comparison.strongest] if comparison.strongest else [])]


def _charts(comparison: OptimizerComparison, measure: str, charts: Charts) -> Html:
    places = [
        charts.figure(budget_figure(comparison, measure, budget), words)
        for budget, words in ((EPOCHS, "Per epoch"), (GRADIENTS, "Per unit of compute"))
    ]
    return group(places, styles(comparison), columns="two")


def _title(comparison: OptimizerComparison) -> str:
    return f"{regime_style(comparison.regime).label}, batch size {comparison.batch_size}"


def _table(comparison: OptimizerComparison, measure: str) -> Html:
    head = (
        *("Optimizer", "Epochs", "Epochs of gradients", "Updates", "Seeds", "Accuracy"),
        *("Gain per epoch", "Gain at equal compute", "The gain"),
    )
    runs = sorted(comparison.runs, key=lambda r: (r.optimizer != BASELINE, r.optimizer, r.own, r.epochs))
    said = measure_words(measure)
    caption = f"{_title(comparison)}, {said}: gains over SGD in points, with 95 % intervals (Welch)"
    return data_table(head, [_row(comparison, run, measure) for run in runs], caption=caption, class_="pairs")


def _row(comparison: OptimizerComparison, run: OptimizerRun, measure: str) -> list[Content]:
    cells: list[Content] = [
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
    return [*cells, _points(per_epoch), _points(equal), element("strong", said)]


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
