"""Template ACC: clean (solid) and adversarial (dashed) test accuracy against batch size."""

from __future__ import annotations

from analysis.figures.batch_axis import ValueAxis, batch_sizes, records, template
from analysis.figures.curves import FigureData
from analysis.figures.figure import DATA, Figure
from analysis.figures.sweep import Setting, Sweep
from analysis.figures.words import ends, gaps_and_marks, replicates
from analysis.tables.words import name
from analysis.theme import percent

_AXIS = ValueAxis("test accuracy", ".0%", ".2%")


def accuracy_figure(
    data: FigureData,
    setting: Setting,
    sweep: Sweep,
    *,
    attack: str,
    epsilon: float,
    loss: str,
    others: tuple[float, ...] = (),
) -> Figure | None:
    """Accuracy of `setting` along `sweep` under one attack; None when no network of it was attacked so.

    A picker can set the chart's parameter `epsilon` to one of `others`.
    """
    clean = sweep.of(data.of("clean", setting))
    adversarial = {
        chosen: sweep.of(data.asked("adversarial", setting, attack=attack, loss=loss, split="test", epsilon=chosen))
        for chosen in (epsilon, *others)
    }
    shown = adversarial[epsilon]
    if not shown["drawn"].any():
        return None
    values = records(clean, sweep, "clean", percent)
    for cells in adversarial.values():
        values += records(cells, sweep, "adversarial", percent)
    chosen_by_picker = epsilon if others else None
    chart = template(batch_sizes(values), ("clean", "adversarial"), sweep.styles, _AXIS, chosen_by_picker)
    under = f"{name(attack)} at ε = {epsilon:g}, {name(loss)}"
    strength = ", ε as chosen above" if others else f", ε = {epsilon:g}"
    return Figure(
        name="-".join((*setting.slug, sweep.slug, attack, f"eps{epsilon:g}", loss)),
        title=f"{setting.title}: accuracy under {under}",
        template=chart,
        data={DATA: values},
        caption=f"Clean (solid) and {name(attack)} (dashed) test accuracy{strength}, {name(loss)}. "
        f"{replicates(shown)}{gaps_and_marks(clean, shown)}",
        description=f"{setting.title}, {sweep.title}: clean and adversarial test accuracy against batch size under "
        f"{under}. Adversarial accuracy: {ends(shown, sweep, percent)}",
        legend=sweep.styles,
        attack=attack,
    )
