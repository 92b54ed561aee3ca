"""Template ACC: clean (solid) and adversarial (dashed) test accuracy against batch size."""

from __future__ import annotations

from analysis.figures.batch_size import ValueAxis, batch_sizes, records, template
from analysis.figures.curve_sets import CurveSet, Setup
from analysis.figures.figure import DATA, Figure
from analysis.figures.figure_data import FigureData
from analysis.figures.words import ends, gaps_and_marks, replicates
from analysis.tables.words import name
from analysis.theme import percent

_AXIS = ValueAxis("test accuracy", ".0%", ".2%")


def accuracy_figure(
    data: FigureData,
    setup: Setup,
    curves: CurveSet,
    *,
    attack: str,
    epsilon: float,
    loss: str,
    others: tuple[float, ...] = (),
) -> Figure | None:
    """Accuracy of `setup` along `curves` under one attack; None when no network of it was attacked so.

    A picker can set the chart's parameter `epsilon` to one of `others`.
    """
    clean = curves.of(data.of("clean", setup))
    adversarial = {
        chosen: curves.of(data.asked("adversarial", setup, attack=attack, loss=loss, split="test", epsilon=chosen))
        for chosen in (epsilon, *others)
    }
    shown = adversarial[epsilon]
    if not shown["drawn"].any():
        return None
    values = records(clean, curves, "clean", percent)
    for cells in adversarial.values():
        values += records(cells, curves, "adversarial", percent)
    chosen_by_picker = epsilon if others else None
    chart = template(batch_sizes(values), ("clean", "adversarial"), curves.styles, _AXIS, chosen_by_picker)
    under = f"{name(attack)} at ε = {epsilon:g}, {name(loss)}"
    strength = ", ε as chosen above" if others else f", ε = {epsilon:g}"
    return Figure(
        name="-".join((*setup.slug, curves.slug, attack, f"eps{epsilon:g}", loss)),
        title=f"{setup.title}: accuracy under {under}",
        template=chart,
        data={DATA: values},
        caption=f"Clean (solid) and {name(attack)} (dashed) test accuracy{strength}, {name(loss)}. "
        f"{replicates(shown)}{gaps_and_marks(clean, shown)}",
        description=f"{setup.title}, {curves.title}: clean and adversarial test accuracy against batch size under "
        f"{under}. Adversarial accuracy: {ends(shown, curves, percent)}",
        legend=curves.styles,
        attack=attack,
    )
