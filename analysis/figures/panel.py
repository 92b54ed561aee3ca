"""A numbered panel of a paper: which cells it shows, drawn from ours, and the command that runs them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from analysis.figures.accuracy import accuracy_figure
from analysis.figures.curves import FigureData
from analysis.figures.figure import Figure
from analysis.figures.lambda1 import lambda1_figure
from analysis.figures.sweep import Setting, Sweep
from analysis.theme import name

GRID = "natural_training"


@dataclass(frozen=True)
class Panel:
    """One panel of one paper; called with the figures' data it draws itself from the rows.

    `attacks` and `epsilon` are those of an accuracy panel; without attacks the panel shows lambda1.
    """

    source: str
    number: str
    dataset: str
    models: tuple[str, ...]
    sweep: Sweep
    attacks: tuple[str, ...] = ()
    epsilon: float = 0.0
    note: str = ""

    @property
    def id(self) -> str:
        """Paper and number: `A-1L`."""
        return f"{self.source}-{self.number}"

    @property
    def title(self) -> str:
        """What it shows, in a line."""
        models = " and ".join(name(model) for model in self.models)
        shown = " and ".join(f"{name(a)} accuracy, ε = {self.epsilon:g}" for a in self.attacks) or "λ₁"
        return f"{name(self.dataset)} · {models}: {shown}; {self.sweep.title.lower()}"

    @property
    def command(self) -> str:
        """The command that runs its cells."""
        regimes = ",".join(dict.fromkeys(regime for regime, _ in self.sweep.curves))
        momenta = ",".join(f"{m:g}" for m in dict.fromkeys(m for _, m in self.sweep.curves))
        where = f"dataset={self.dataset} model={','.join(self.models)} regime={regimes} momentum={momenta}"
        return f"python -m study.run --grid {GRID} --select {where}"

    def __call__(self, data: FigureData) -> list[Figure]:
        """One figure a model and attack; those of which fewer than two curves were run are left out.

        Where several protocols were run, the largest one with values is drawn.
        """
        drawn = []
        for model in self.models:
            for attack in self.attacks or ("",):
                figure = self._draw(data, model, attack)
                if figure is not None:
                    parts = [self.id]
                    parts += [model] if len(self.models) > 1 else []
                    parts += [attack] if len(self.attacks) > 1 else []
                    drawn.append(replace(figure, name="-".join(parts)))
        return drawn

    def _draw(self, data: FigureData, model: str, attack: str) -> Figure | None:
        for setting in data.settings:
            if (setting["dataset"], setting["model"]) != (self.dataset, model):
                continue
            absent = self._absent(data, setting)
            if len(absent) > len(self.sweep.curves) - 2:
                continue
            if attack:
                figure = data.figure(
                    accuracy_figure, setting, self.sweep, attack=attack, epsilon=self.epsilon, loss="ce"
                )
            else:
                figure = data.figure(lambda1_figure, setting, self.sweep, split="train")
            if figure is not None:
                missing = f" Not run: {', '.join(absent)}." if absent else ""
                return replace(figure, caption=f"{figure.caption}{missing} {setting.protocol}.")
        return None

    def _absent(self, data: FigureData, setting: Setting) -> list[str]:
        cells = setting.of(data.clean)
        sizes = cells[cells["drawn"]].groupby(["regime", "momentum"])["batch_size"].nunique()
        curves = set(sizes[sizes > 1].index)
        return [self.sweep.style(*curve).label for curve in self.sweep.curves if curve not in curves]


def accuracy(
    source: str,
    number: str,
    dataset: str,
    models: tuple[str, ...],
    sweep: Sweep,
    attacks: tuple[str, ...],
    epsilon: float,
    note: str = "",
) -> Panel:
    """A panel of clean and adversarial accuracy against batch size."""
    return Panel(source, number, dataset, models, sweep, attacks, epsilon, note)


def lambda1(source: str, number: str, dataset: str, models: tuple[str, ...], sweep: Sweep) -> Panel:
    """A panel of the top Hessian eigenvalue against batch size."""
    return Panel(source, number, dataset, models, sweep)
