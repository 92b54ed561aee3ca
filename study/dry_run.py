"""What `--dry-run` prints: the work, curve by curve, with its cost."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

from search_spaces import Grid, Planned, Trial
from study.tuning.costs import CostModel
from study.tuning.progress import describe_settings, duration


@dataclass
class Curve:
    """The trials of a grid that differ in batch size, learning rate and seed only."""

    trials: list[Trial] = field(default_factory=list)
    work: list[Planned] = field(default_factory=list)


def lines(grid: Grid, work: Collection[Planned], costs: CostModel, cores: int) -> Iterator[str]:
    """A line for each curve, and the estimate for all of them.

    Args:
        grid: every trial; one that is on several curves is listed with the first.
        work: those with something left to do.
        costs: expected seconds of each.
        cores: of this machine, if trials run here, else 1.
    """
    curves: dict[str, Curve] = {}
    for planned in grid.values():
        curves.setdefault(_name(planned), Curve()).trials.append(planned.trial)
    for planned in work:
        curves[_name(planned)].work.append(planned)
    rows = []
    for name, curve in curves.items():
        cost = f"~{duration(sum(map(costs.seconds, curve.work)))}" if curve.work else "done"
        guess = "" if all(map(costs.knows, curve.work)) else "?"
        rows.append((f"{len(curve.work)}/{len(curve.trials)}", f"{cost}{guess}", f"{name} {_range(curve.trials)}"))
    yield "to run / all, time in sequence, curve"
    left, cost_width = (max(len(row[i]) for row in rows) for i in (0, 1))
    yield from (f"{row[0]:>{left}} {row[1]:>{cost_width}}  {row[2]}" for row in rows)
    yield costs.summary(work, cores)
    guessed = [planned for planned in work if not costs.knows(planned)]
    if guessed:
        time = duration(sum(map(costs.seconds, guessed)))
        yield f"? includes {time} for models or attacks whose cost is not measured"


def tracking(work: Collection[Planned], costs: CostModel, share: float) -> str:
    """What `--track SHARE` measures of this work and what it costs; networks that are trained already have no part."""
    from study.training.tracking import tracked  # importing torch takes seconds

    untrained = [planned for planned in work if planned.trial.trial_id not in costs.trained]
    chosen = [planned for planned in untrained if tracked(planned.trial.epochs, planned.trial.train_size, share)[0]]
    if not untrained:
        return "nothing is tracked: all networks are trained already; another --results trains them again"
    if not chosen:
        return f"a share of {share:g} allows no measurement for these networks; use a larger --track"
    counted, most = f"{len(chosen)} of {len(untrained)} networks", share * sum(map(costs.training_seconds, chosen))
    return f"tracked while they train: {counted}, up to {duration(most)} of one core more"


def _name(planned: Planned) -> str:
    return describe_settings(planned.trial, planned.regimes[:1] or ("parent",))


def _range(trials: Iterable[Trial]) -> str:
    """The batch sizes and seeds of a curve: `bs 16-1024 seeds 0-2`."""
    sizes, seeds = (sorted({getattr(trial, name) for trial in trials}) for name in ("batch_size", "seed"))
    batches = f"bs {sizes[0]}" + (f"-{sizes[-1]}" if len(sizes) > 1 else "")
    if len(seeds) == 1:
        return f"{batches} seed {seeds[0]}"
    if seeds == list(range(seeds[0], seeds[-1] + 1)):
        return f"{batches} seeds {seeds[0]}-{seeds[-1]}"
    return f"{batches} {len(seeds)} seeds"
