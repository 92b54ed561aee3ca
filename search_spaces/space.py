"""A space: one paper's study, as curves of trials and the probes of each trial."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache

from search_spaces.probe import LOSSES, PGD_STEPS, AttackProbe, Probe, Source, SpectrumProbe, Split
from search_spaces.regimes import Regime
from search_spaces.trial import Trial


@dataclass(frozen=True)
class Curve:
    """Cells (trials with seed 0) that a figure joins by a line: the same settings at several batch sizes."""

    regime: str
    cells: tuple[Trial, ...]


@dataclass(frozen=True)
class Space:
    """One paper's study: its name, citation, curves, seeds and the probes of each trial."""

    name: str
    citation: str
    curves: tuple[Curve, ...]
    seeds: tuple[int, ...]
    probes: Callable[[Trial], frozenset[Probe]]

    @property
    def cells(self) -> tuple[Trial, ...]:
        """The cells of every curve, in order; a cell on two curves occurs twice."""
        return tuple(cell for curve in self.curves for cell in curve.cells)


def curve(regime: Regime, base: Trial, batch_sizes: Iterable[int], momentum: float) -> Curve:
    """The cells of `base` under `regime` at each batch size."""
    cells = tuple(
        replace(
            base,
            batch_size=batch_size,
            learning_rate=regime.learning_rate(batch_size),
            schedule=regime.schedule,
            momentum=momentum,
        )
        for batch_size in batch_sizes
    )
    return Curve(regime.label, cells)


@cache
def attack_probes(
    attacks: tuple[str, ...],
    epsilons: tuple[float, ...],
    *,
    split: Split = "test",
    source: Source = "self",
    steps: int = PGD_STEPS,
) -> frozenset[Probe]:
    """Each attack at each epsilon with both losses; PGD takes so many `steps`."""
    probes = (AttackProbe(a, e, loss, split, source) for a in attacks for e in epsilons for loss in LOSSES)
    return frozenset(replace(p, steps=steps) if p.attack == "pgd" else p for p in probes)


def lambda1_probes(trial: Trial) -> frozenset[Probe]:
    """The Hessian's top eigenvalue on the whole training set and on the whole test set."""
    return frozenset({SpectrumProbe("train", trial.train_size), SpectrumProbe("test", trial.test_size)})
