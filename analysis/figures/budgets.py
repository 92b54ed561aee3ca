"""Accuracy of several optimizers against their budget: epochs, or gradients that they took."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import altair as alt

from analysis.figures.figure import DATA, Figure, encoded, layer, layered
from analysis.reports.budgets import BASELINE, OptimizerComparison, OptimizerRun
from analysis.statistics.intervals import mean_interval
from analysis.tables.words import name
from analysis.theme import SeriesStyle, optimizer_style, percent, regime_style

LEVEL = "baseline"


@dataclass(frozen=True)
class Budget:
    """What an accuracy is charged to: a horizontal axis."""

    slug: str
    title: str
    of: Callable[[OptimizerRun], float]


EPOCHS = Budget("epochs", "epochs", lambda run: float(run.epochs))
GRADIENTS = Budget(
    "gradients", "epochs of gradients (gradients of one image / training images)", lambda run: run.gradient_epochs
)


def measure_words(measure: str) -> str:
    """ "pgd 0.15" as "PGD accuracy, ε = 0.15"."""
    attack, *epsilon = measure.split()
    return f"{name(attack)} accuracy, ε = {epsilon[0]}" if epsilon else "clean accuracy"


def styles(comparison: OptimizerComparison) -> tuple[SeriesStyle, ...]:
    """The style of each optimizer, SGD first; one with a rate of its own says so."""
    return tuple(dict.fromkeys(run_style(run) for run in sorted(comparison.runs, key=_first_sgd)))


def run_style(run: OptimizerRun) -> SeriesStyle:
    """The style of a run's optimizer."""
    style = optimizer_style(run.optimizer)
    label = f"{style.label} ({regime_style(run.own).label})" if run.own else style.label
    return SeriesStyle(label, style.colour, style.shape)


def _first_sgd(run: OptimizerRun) -> tuple[bool, str]:
    return run.optimizer != BASELINE, run.optimizer


def budget_figure(
    comparison: OptimizerComparison,
    measure: str,
    budget: Budget,
    cell_id: Callable[[OptimizerRun], str] = lambda run: "",
) -> Figure:
    """One accuracy of all optimizers against one budget; a thin line marks SGD's level at its largest budget.

    `cell_id` names the cell of a run.
    """
    shown = [run for run in comparison.runs if measure in run.accuracy]
    values = [{"cell": cell_id(run), **_record(run, measure, budget)} for run in shown]
    of_sgd = [v for v in values if v["optimizer"] == BASELINE]
    largest = max(of_sgd, key=lambda v: float(v["x"]), default=None)
    reference = [{"mean": largest["mean"]}] if largest else []
    where = f"{name(str(comparison['dataset']))} · {name(str(comparison['model']))}, batch {comparison.batch_size}"
    said = measure_words(measure)
    ends = " ".join(f"{v['curve']}: {percent(v['mean'], 2)} after {v['x']:.4g}." for v in values)
    regime = regime_style(comparison.regime).label
    slug = measure.replace(" ", "-eps")
    least = min(int(v["seeds"]) for v in values)
    seeds = f"Means of at least {least} seeds with 95 % Student t intervals" if least > 1 else "One seed, no interval"
    return Figure(
        name=f"optimizers-{_digest(comparison)}-{slug}-{budget.slug}",
        title=f"{where}, {regime}: {said} against {budget.title}",
        template=_template(budget, said, styles(comparison), _span(values)),
        data={DATA: values, LEVEL: reference},
        caption=f"{seeds}. Thin line: SGD at its largest budget.",
        description=f"{where}, {regime}: {said} against {budget.title}. {ends}",
        legend=styles(comparison),
    )


def _digest(comparison: OptimizerComparison) -> str:
    words = [str(value) for value in comparison.place if value is not None]
    return "-".join([*words, f"b{comparison.batch_size}", comparison.regime])


def _record(run: OptimizerRun, measure: str, budget: Budget) -> dict[str, Any]:
    found = mean_interval(run.accuracy[measure])
    known = found.n > 1
    return {
        "optimizer": run.optimizer,
        "curve": run_style(run).label,
        "x": float(f"{budget.of(run):.6g}"),
        "mean": float(f"{found.estimate:.6g}"),
        "low": float(f"{found.low:.6g}") if known else None,
        "high": float(f"{found.high:.6g}") if known else None,
        "epochs": run.epochs,
        "gradients": float(f"{run.gradient_epochs:.4g}"),
        "seeds": found.n,
        "interval": f"{percent(found.low, 2)} to {percent(found.high, 2)}" if known else "–",
    }


def _span(values: list[dict[str, Any]]) -> tuple[tuple[float, float], tuple[float, float]]:
    """Limits of both axes: every mean, and intervals as far as they do not dwarf the means."""
    x = [v["x"] for v in values]
    means = [v["mean"] for v in values]
    room = max(max(means) - min(means), 0.004)
    low = max(min(v["mean"] if v["low"] is None else v["low"] for v in values), min(means) - room)
    high = min(max(v["mean"] if v["high"] is None else v["high"] for v in values), max(means) + room)
    pad = 0.08 * (high - low)
    return (min(x) / 1.3, max(x) * 1.3), (max(0.0, low - pad), min(1.0, high + pad))


def _template(
    budget: Budget,
    said: str,
    shown: tuple[SeriesStyle, ...],
    span: tuple[tuple[float, float], tuple[float, float]],
) -> dict[str, Any]:
    names = [style.label for style in shown]
    scales = {
        channel: alt.Scale(domain=names, range=[getattr(style, channel) for style in shown])
        for channel in ("colour", "shape")
    }
    x = encoded(
        alt.X(
            "x:Q",
            title=budget.title,
            scale=alt.Scale(type="log", base=2, domain=list(span[0]), nice=False),
            axis=alt.Axis(format="~g", grid=False, tickCount=5),
        )
    )
    y_scale = alt.Scale(domain=list(span[1]), nice=False, zero=False)
    y = encoded(alt.Y("mean:Q", title=said.split(",")[0], scale=y_scale, axis=alt.Axis(format="~%", tickCount=5)))
    low, high = encoded(alt.Y("low:Q", scale=y_scale)), encoded(alt.Y2("high:Q"))
    colour = encoded(alt.Color("curve:N", scale=scales["colour"], legend=alt.Legend(title=None, symbolOpacity=1)))
    shape = encoded(alt.Shape("curve:N", scale=scales["shape"], legend=alt.Legend(title=None)))
    tooltip = [
        alt.Tooltip("curve:N", title="optimizer"),
        alt.Tooltip("epochs:Q"),
        alt.Tooltip("gradients:Q", title="epochs of gradients", format=".4~g"),
        alt.Tooltip("mean:Q", title="accuracy", format=".2%"),
        alt.Tooltip("interval:N", title="95 % interval"),
        alt.Tooltip("seeds:Q"),
    ]
    level = layer(
        {"type": "rule", "strokeWidth": 1, "opacity": 0.45, "color": "currentColor"},
        y=encoded(alt.Y("mean:Q", scale=y_scale)),
    )
    return layered(
        level | {"data": {"name": LEVEL}},
        layer({"type": "line", "strokeWidth": 1.9, "clip": True}, x=x, y=y, color=colour),
        layer(
            {"type": "rule", "strokeWidth": 1.7, "opacity": 0.7, "clip": True}, "isValid(datum.low)",
            x=x, y=low, y2=high, color=colour,
        ),
        layer(
            {"type": "point", "size": 80, "filled": True, "opacity": 1},
            x=x, y=y, color=colour, shape=shape, tooltip=[encoded(one) for one in tooltip],
        ),
    )  # fmt: skip
