"""Accuracy of several optimizers against their budget: epochs, or computed gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import altair as alt

from analysis.figures.batch_size import REACH, SEEDS
from analysis.figures.figure import DATA, Figure, Spec, curve_channels, encoded, layer, layered, rounded
from analysis.reports.budgets import BASELINE, OptimizerComparison, OptimizerRun, comparisons
from analysis.statistics.intervals import mean_interval
from analysis.tables.table import StudyTable
from analysis.tables.words import name
from analysis.theme import SeriesStyle, optimizer_style, percent, regime_style
from search_spaces.sgd_variants import CIFAR_BATCH_SIZE

LEVEL = "baseline"


@dataclass(frozen=True)
class Budget:
    """What training costs: the horizontal axis."""

    slug: str
    title: str
    of: Callable[[OptimizerRun], float]


EPOCHS = Budget("epochs", "epochs", lambda run: float(run.epochs))
GRADIENTS = Budget(
    "gradients", "epochs of gradients (gradients of one image / training images)", lambda run: run.gradient_epochs
)


@dataclass(frozen=True)
class DrawnComparison:
    """A comparison with its figures: measure -> its accuracy against epochs and against gradients.

    It has none where another batch size of the same data set and model is drawn.
    """

    comparison: OptimizerComparison
    figures: Mapping[str, tuple[Figure, ...]]


def drawn_comparisons(table: StudyTable) -> list[DrawnComparison]:
    """The comparisons of a table. At one batch size of each data set and model, that with most optimizers (nearest to
    128 among those), clean accuracy and that under the strongest attack are drawn.
    """
    found = []
    for _, here in groupby(comparisons(table), key=lambda one: one.place):
        several = list(here)
        size = min(several, key=_first).batch_size
        found += [DrawnComparison(one, _figures(one) if one.batch_size == size else {}) for one in several]
    return found


def _first(comparison: OptimizerComparison) -> tuple[int, int]:
    optimizers = {run.optimizer for run in comparison.runs}
    return -len(optimizers), abs(comparison.batch_size - CIFAR_BATCH_SIZE)


def _figures(comparison: OptimizerComparison) -> dict[str, tuple[Figure, ...]]:
    return {
        measure: tuple(budget_figure(comparison, measure, budget) for budget in (EPOCHS, GRADIENTS))
        for measure in drawn_measures(comparison)
    }


def drawn_measures(comparison: OptimizerComparison) -> list[str]:
    """Clean accuracy, and that under the strongest attack if there is one."""
    return ["clean", *([comparison.strongest] if comparison.strongest else [])]


def measure_words(measure: str) -> str:
    """ "pgd 0.15" as "PGD accuracy, ε = 0.15"."""
    attack, *epsilon = measure.split()
    return f"{name(attack)} accuracy, ε = {epsilon[0]}" if epsilon else "clean accuracy"


def styles(comparison: OptimizerComparison) -> tuple[SeriesStyle, ...]:
    """The style of each optimizer, SGD first."""
    runs = sorted(comparison.runs, key=lambda run: (run.optimizer != BASELINE, run.optimizer))
    return tuple(dict.fromkeys(run_style(run) for run in runs))


def run_style(run: OptimizerRun) -> SeriesStyle:
    """The style of a run's optimizer; the label says if it has its own learning rate."""
    style = optimizer_style(run.optimizer)
    label = f"{style.label} ({regime_style(run.own).label})" if run.own else style.label
    return SeriesStyle(label, style.colour, style.shape)


def budget_figure(comparison: OptimizerComparison, measure: str, budget: Budget) -> Figure:
    """One accuracy of all optimizers against one budget; a thin line marks SGD's accuracy at its largest budget."""
    values = [_record(run, measure, budget) for run in comparison.runs if measure in run.accuracy]
    of_sgd = [v for v in values if v["optimizer"] == BASELINE]
    largest = max(of_sgd, key=lambda v: float(v["x"]), default=None)
    reference = [{"mean": largest["mean"]}] if largest else []
    where = f"{name(str(comparison['dataset']))} · {name(str(comparison['model']))}, batch {comparison.batch_size}"
    shown = measure_words(measure)
    ends = " ".join(f"{v['curve']}: {percent(v['mean'], 2)} after {v['x']:.4g}." for v in values)
    regime = regime_style(comparison.regime).label
    place, slug = [str(v) for v in comparison.place if v is not None], measure.replace(" ", "-eps")
    count = min(int(v["seeds"]) for v in values)
    dots = f"Dots are seeds, marks the means of at least {count}; thin bars are 95 % Student t intervals"
    seeds = dots if count > 1 else "One seed, no interval"
    return Figure(
        name="-".join(["optimizers", *place, f"b{comparison.batch_size}", comparison.regime, slug, budget.slug]),
        title=f"{where}, {regime}: {shown} against {budget.title}",
        template=_template(budget, shown, styles(comparison), _span(values)),
        data={DATA: values, LEVEL: reference},
        caption=f"{seeds}. Thin line: SGD at its largest budget.",
        description=f"{where}, {regime}: {shown} against {budget.title}. {ends}",
        legend=styles(comparison),
    )


def _record(run: OptimizerRun, measure: str, budget: Budget) -> dict[str, Any]:
    found = mean_interval(run.accuracy[measure])
    known = found.n > 1
    return {
        "cell": run.cell_id,
        "optimizer": run.optimizer,
        "curve": run_style(run).label,
        "x": rounded(budget.of(run)),
        "mean": rounded(found.estimate),
        "low": rounded(found.low) if known else None,
        "high": rounded(found.high) if known else None,
        "values": [rounded(float(value), 4) for value in run.accuracy[measure]],
        "epochs": run.epochs,
        "gradients": rounded(run.gradient_epochs, 4),
        "seeds": found.n,
        "interval": f"{percent(found.low, 2)} to {percent(found.high, 2)}" if known else "–",
    }


def _span(values: list[dict[str, Any]]) -> tuple[tuple[float, float], tuple[float, float]]:
    """Limits of both axes: all seeds, and the intervals up to a distance, so that a wide one does not flatten all."""
    x = [v["x"] for v in values]
    seeds = [seed for v in values for seed in v["values"]]
    reach = max(REACH * (max(seeds) - min(seeds)), 0.002)
    low = max(min([*seeds, *(v["low"] for v in values if v["low"] is not None)]), min(seeds) - reach)
    high = min(max([*seeds, *(v["high"] for v in values if v["high"] is not None)]), max(seeds) + reach)
    pad = 0.08 * (high - low)
    return (min(x) / 1.3, max(x) * 1.3), (max(0.0, low - pad), min(1.0, high + pad))


def _template(
    budget: Budget,
    shown: str,
    styles: tuple[SeriesStyle, ...],
    span: tuple[tuple[float, float], tuple[float, float]],
) -> Spec:
    channels = curve_channels(styles)
    x = encoded(
        alt.X(
            "x:Q",
            title=budget.title,
            scale=alt.Scale(type="log", base=2, domain=list(span[0]), nice=False),
            axis=alt.Axis(format="~g", grid=False, tickCount=5),
        )
    )
    y_scale = alt.Scale(domain=list(span[1]), nice=False, zero=False)
    y = encoded(alt.Y("mean:Q", title=shown.split(",")[0], scale=y_scale, axis=alt.Axis(format="~%", tickCount=5)))
    low, seeds = (encoded(alt.Y(f"{field}:Q", scale=y_scale)) for field in ("low", "value"))
    high = encoded(alt.Y2("high:Q"))
    colour, shape = encoded(channels.color), encoded(channels.shape)
    tooltip = [
        alt.Tooltip("curve:N", title="optimizer"),
        alt.Tooltip("epochs:Q"),
        alt.Tooltip("gradients:Q", title="epochs of gradients", format=".4~g"),
        alt.Tooltip("mean:Q", title="accuracy", format=".2%"),
        alt.Tooltip("interval:N", title="95 % interval"),
        alt.Tooltip("seeds:Q"),
    ]
    level = layer(
        {"type": "rule", "strokeWidth": 1, "opacity": 0.55, "color": "currentColor"},
        y=encoded(alt.Y("mean:Q", scale=y_scale)),
    )
    return layered(
        level | {"data": {"name": LEVEL}},
        layer({"type": "line", "strokeWidth": 1.9, "clip": True}, x=x, y=y, color=colour),
        layer(
            {"type": "rule", "strokeWidth": 1, "opacity": 0.55, "clip": True}, "isValid(datum.low)",
            x=x, y=low, y2=high, color=colour,
        ),
        layer({"type": "circle", "size": 11, "opacity": 0.8}, x=x, y=seeds, color=colour) | {"transform": [SEEDS]},
        layer(
            {"type": "point", "size": 80, "filled": True, "opacity": 1},
            x=x, y=y, color=colour, shape=shape, tooltip=[encoded(one) for one in tooltip],
        ),
    )  # fmt: skip
