"""Template ACC: clean (solid) and adversarial (dashed) test accuracy against batch size."""

from __future__ import annotations

import altair as alt

from analysis.figures.batch_axis import layers, records
from analysis.figures.curves import FigureData, with_gaps
from analysis.figures.figure import Figure
from analysis.figures.sweep import Setting, Sweep
from analysis.figures.words import ends, gaps_and_marks, replicates
from analysis.theme import name, percent


def accuracy_figure(
    data: FigureData, setting: Setting, sweep: Sweep, *, attack: str, epsilon: float, loss: str, id: str
) -> Figure | None:
    """Accuracy of `setting` along `sweep` under one attack; None when no network of it was attacked so."""
    clean = with_gaps(sweep.of(setting.of(data.clean)))
    asked = setting.of(data.adversarial)
    question = {"attack": attack, "loss": loss, "split": "test", "epsilon": epsilon}
    for column, value in question.items():
        asked = asked[asked[column] == value]
    adversarial = with_gaps(sweep.of(asked))
    if not adversarial["drawn"].any():
        return None
    values = [*records(clean, sweep, "clean"), *records(adversarial, sweep, "adversarial")]
    chart = layers(
        values,
        sweep,
        title="test accuracy",
        scale=alt.Scale(domain=[0, 1], nice=False, zero=True),
        axis=alt.Axis(format=".0%", tickCount=5),
        value_format=".2%",
    )
    under = f"{name(attack)} at ε = {epsilon:g}, {name(loss)}"
    return Figure(
        name=id,
        title=f"{setting.title}: accuracy under {under}",
        chart=chart,
        caption=f"Clean (solid) and {name(attack)} (dashed) test accuracy, ε = {epsilon:g}, {name(loss)}. "
        f"{replicates(adversarial)}{gaps_and_marks(clean, adversarial)}",
        description=f"{setting.title}, {sweep.title}: clean and adversarial test accuracy against batch size under "
        f"{under}. Adversarial accuracy: {ends(adversarial, sweep, percent)}",
        legend=sweep.styles,
    )
