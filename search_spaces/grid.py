"""A grid: the work of one command, `{trial: probes}` merged over spaces, narrowed by the user's choices."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from search_spaces.probe import AttackProbe, Probe
from search_spaces.request import GridError, Request
from search_spaces.space import Space
from search_spaces.trial import TRIAL_FIELDS, Trial

SELECTABLE = ("space", "regime", *(name for name in TRIAL_FIELDS if name not in ("parent", "precision")))
"""What `select` may name. A grid's trials have no choice of precision: it is the request's."""


RESIZED = ("epochs", "train_size", "test_size", "precision")
"""Fields of a request that replace those of every trial."""


@dataclass(frozen=True)
class Planned:
    """One trial of a grid with the probes asked of it and the labels it carries."""

    trial: Trial
    probes: frozenset[Probe]
    spaces: tuple[str, ...]
    regimes: tuple[str, ...]

    def merged(self, other: Planned) -> Planned:
        """The same trial asked for twice: trained once, every question kept."""
        return Planned(
            self.trial,
            self.probes | other.probes,
            tuple(sorted({*self.spaces, *other.spaces})),
            tuple(sorted({*self.regimes, *other.regimes})),
        )


Grid = dict[str, Planned]
"""Trial id -> planned trial, in the order in which the curves name them."""


def build(request: Request, spaces: Iterable[Space]) -> Grid:
    """Merge the trials of `spaces` under the request's choices.

    Raises:
        GridError: a key or value of `select`, or an epsilon, that this grid does not have; a size below 1; no trial.
    """
    spaces = tuple(spaces)
    request.check()
    wanted = {key: _parse_values(request, spaces, key) for key in request.select}
    grid: Grid = {}
    offered: dict[str, set[float]] = {}
    for label, space, cell in _cells(spaces):
        values = {"space": space.name, "regime": label, **cell.to_dict()}
        if any(values[key] not in allowed for key, allowed in wanted.items() if key != "seed"):
            continue
        seeds = request.seeds if request.seeds is not None else space.seeds
        for seed in seeds:
            if "seed" in wanted and seed not in wanted["seed"]:
                continue
            trial = _resized(cell, request).with_seed(seed)
            probes = space.probes(trial)
            epsilons = offered.setdefault(trial.dataset, set())
            epsilons.update(p.epsilon for p in probes if isinstance(p, AttackProbe))
            asked = request.narrowed(probes, trial.dataset)
            _plan_ancestors(grid, trial, space.name)
            _add(grid, Planned(trial, asked, (space.name,), (label,)))
    if not grid:
        chosen = " ".join(f"{key}={','.join(values)}" for key, values in request.select.items())
        raise GridError(f"no trial of grid {request.grid!r} has {chosen}: these values never occur together")
    _check_epsilons(request, offered)
    return grid


def merge(grids: Iterable[Grid]) -> Grid:
    """Several grids as one: every trial once, with all the probes asked of it."""
    merged: Grid = {}
    for grid in grids:
        for planned in grid.values():
            _add(merged, planned)
    return merged


def _add(grid: Grid, planned: Planned) -> None:
    known = grid.get(planned.trial.trial_id)
    grid[planned.trial.trial_id] = planned if known is None else known.merged(planned)


def _plan_ancestors(grid: Grid, trial: Trial, space: str) -> None:
    """Trials that must be trained first, asked nothing unless they are chosen themselves."""
    if trial.parent is not None:
        _plan_ancestors(grid, trial.parent, space)
        _add(grid, Planned(trial.parent, frozenset(), (space,), ()))


def _cells(spaces: tuple[Space, ...]) -> Iterator[tuple[str, Space, Trial]]:
    for space in spaces:
        for curve in space.curves:
            for cell in curve.cells:
                yield curve.regime, space, cell


def _resized(cell: Trial, request: Request) -> Trial:
    """The cell at the sizes and precision asked for; a child never gets more epochs than its paper gives it."""
    asked: dict[str, Any] = {name: getattr(request, name) for name in RESIZED}
    chosen = {name: value for name, value in asked.items() if value is not None}
    if cell.parent is not None:
        chosen["parent"] = _resized(cell.parent, request)
        chosen["epochs"] = min(cell.epochs, chosen.get("epochs", cell.epochs))
    return replace(cell, **chosen)


def _check_epsilons(request: Request, offered: Mapping[str, set[float]]) -> None:
    """Every epsilon must be some attack's, and every data set must keep one."""
    if request.epsilons is None:
        return
    valid = "; ".join(f"{name}: {', '.join(f'{e:g}' for e in sorted(own))}" for name, own in offered.items())
    unknown = [f"{epsilon:g}" for epsilon in request.epsilons if not any(epsilon in own for own in offered.values())]
    if unknown:
        raise GridError(f"--epsilons {','.join(unknown)}: no attack of these trials has it; valid: {valid}")
    bare = [name for name, own in offered.items() if not own & set(request.epsilons)]
    if bare:
        raise GridError(
            f"--epsilons leaves {', '.join(bare)} without an attack; leave it out with --select dataset=..., or add "
            f"one of its own; valid: {valid}"
        )


def _parse_values(request: Request, spaces: tuple[Space, ...], key: str) -> set[object]:
    if key not in SELECTABLE:
        raise GridError(f"--select knows no key {key!r}; valid keys: {', '.join(SELECTABLE)}")
    offered: list[object] = []
    for label, space, cell in _cells(spaces):
        if key == "seed":
            offered.extend(request.seeds if request.seeds is not None else space.seeds)
        else:
            offered.append({"space": space.name, "regime": label, **cell.to_dict()}[key])
    unique = sorted(set(offered), key=lambda value: (str(type(value)), value))
    by_text = {_text(value): value for value in unique}
    chosen = set()
    for text in request.select[key]:
        name = _text(_number(text))
        if name not in by_text:
            raise GridError(
                f"--select {key}={text}: grid {request.grid!r} has no such value; valid: {', '.join(by_text)}"
            )
        chosen.add(by_text[name])
    return chosen


def _number(text: str) -> object:
    try:
        return float(text)
    except ValueError:
        return text


def _text(value: object) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{float(value):.12g}"
    return str(value)
