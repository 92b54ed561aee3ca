"""A grid: the trials and probes of one command, merged over spaces and narrowed by the user's choices."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from search_spaces.probe import AttackProbe, Probe
from search_spaces.request import GridError, Request, did_you_mean
from search_spaces.space import Space
from search_spaces.trial import TRIAL_FIELDS, Trial

SELECTABLE = ("space", "regime", *(name for name in TRIAL_FIELDS if name not in ("parent", "precision")))
"""What `select` may name. All trials of a grid have one precision, that of the request."""

RESIZED = ("epochs", "train_size", "val_size", "test_size", "precision")
"""Fields of a request that replace those of every trial."""


SAME_EPSILON = 1e-5
"""Relative difference of two spellings of one epsilon, such as 8/255 and 0.0313725."""


@dataclass(frozen=True)
class Planned:
    """One trial of a grid, with its probes, the spaces that plan it and the curves that it is on."""

    trial: Trial
    probes: frozenset[Probe]
    spaces: tuple[str, ...]
    regimes: tuple[str, ...]

    def merged(self, other: Planned) -> Planned:
        """The same trial, planned twice: it is trained once and gets the probes of both."""
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
        GridError: a key or value of `select` that this grid does not have; a size below 1; an epsilon outside (0, 1]; a
            data set without an attack; another model or data set in place of several; no trial.
    """
    spaces = tuple(spaces)
    request.check()
    wanted = {key: _parse_values(request, spaces, key) for key in request.select}
    chosen = []
    offered: dict[str, set[float]] = {}
    replaced: dict[str, set[str]] = {"dataset": set(), "model": set()}
    for space, cell, values in _candidates(request, spaces):
        if any(values[key] not in allowed for key, allowed in wanted.items()):
            continue
        trial = _resized(cell, request)
        probes = space.probes(trial)
        for name, known in replaced.items():
            known.add(getattr(trial, name))
        trial = _replaced(trial, request)
        epsilons = offered.setdefault(trial.dataset, set())
        epsilons.update(p.epsilon for p in probes if isinstance(p, AttackProbe))
        chosen.append((space.name, trial, probes, values["regime"]))
    for name, known in replaced.items():
        if getattr(request, name) is not None and len(known) > 1:
            raise GridError(
                f"--{name} replaces one {name}, but this grid has {len(known)}; add --select "
                f"{name}={sorted(known)[0]} (or {', '.join(sorted(known)[1:])})"
            )
    asked = _asked_epsilons(request, offered)
    grid: Grid = {}
    for name, trial, probes, regime in chosen:
        _plan_ancestors(grid, trial, name)
        probes = request.narrowed(probes, trial, asked.get(trial.dataset))
        _add(grid, Planned(trial, probes, (name,), (regime,)))
    if not grid:
        selected = " ".join(f"{key}={','.join(values)}" for key, values in request.select.items())
        raise GridError(f"no trial of grid {request.grid!r} has {selected}: these values never occur together")
    return grid


def merge(grids: Iterable[Grid]) -> Grid:
    """Several grids as one: every trial once, with all its probes."""
    merged: Grid = {}
    for grid in grids:
        for planned in grid.values():
            _add(merged, planned)
    return merged


def _add(grid: Grid, planned: Planned) -> None:
    known = grid.get(planned.trial.trial_id)
    grid[planned.trial.trial_id] = planned if known is None else known.merged(planned)


def _plan_ancestors(grid: Grid, trial: Trial, space: str) -> None:
    """Add the trials that must be trained first, without probes unless they are chosen themselves."""
    if trial.parent is not None:
        _plan_ancestors(grid, trial.parent, space)
        _add(grid, Planned(trial.parent, frozenset(), (space,), ()))


def _candidates(request: Request, spaces: tuple[Space, ...]) -> Iterator[tuple[Space, Trial, dict[str, Any]]]:
    """Every trial of the spaces at the papers' sizes, with the values of its `SELECTABLE` keys."""
    for space in spaces:
        for curve in space.curves:
            for cell in curve.cells:
                for seed in space.seeds if request.seeds is None else request.seeds:
                    trial = cell.with_seed(seed)
                    yield space, trial, {"space": space.name, "regime": curve.regime, **trial.to_dict()}


def _resized(trial: Trial, request: Request) -> Trial:
    """The trial at the requested sizes and precision; a child never gets more epochs than in its paper."""
    requested: dict[str, Any] = {name: getattr(request, name) for name in RESIZED}
    chosen = {name: value for name, value in requested.items() if value is not None}
    if trial.parent is not None:
        chosen["parent"] = _resized(trial.parent, request)
        chosen["epochs"] = min(trial.epochs, chosen.get("epochs", trial.epochs))
    return replace(trial, **chosen)


def _replaced(trial: Trial, request: Request) -> Trial:
    """The trial with the model and the data set that the request brings."""
    own: dict[str, Any] = {} if request.model is None else {"model": request.model}
    if request.dataset is not None:
        own["dataset"] = Request.dataset_name(request.dataset)
    if own and trial.parent is not None:
        own["parent"] = _replaced(trial.parent, request)
    return replace(trial, **own) if own else trial


def _asked_epsilons(request: Request, offered: Mapping[str, set[float]]) -> dict[str, set[float]]:
    """The requested epsilons of each data set: its own among them, and those that are no data set's own.

    Numbers that agree to SAME_EPSILON are one epsilon: the grid's, or k/255 for a whole number k.
    """
    if request.epsilons is None:
        return {}
    own = sorted(set().union(*offered.values()))
    known = [*own, *(k / 255 for k in range(1, 256))]
    asked = {next((k for k in known if math.isclose(k, e, rel_tol=SAME_EPSILON)), e) for e in request.epsilons}
    wanted = {name: asked & epsilons | asked - set(own) for name, epsilons in offered.items()}
    bare = [name for name, epsilons in wanted.items() if not epsilons]
    if bare:
        valid = "; ".join(
            f"{name}: {', '.join(f'{e:g}' for e in sorted(epsilons))}" for name, epsilons in offered.items()
        )
        raise GridError(
            f"no --epsilons value applies to {', '.join(bare)}; leave it out with --select dataset=..., or add another "
            f"epsilon; the grid's: {valid}"
        )
    return wanted


def _parse_values(request: Request, spaces: tuple[Space, ...], key: str) -> set[object]:
    if key not in SELECTABLE:
        close = did_you_mean(key, SELECTABLE)
        raise GridError(f"--select: unknown key {key!r}; valid keys: {', '.join(SELECTABLE)}{close}")
    offered = {values[key] for _, _, values in _candidates(request, spaces)}
    unique = sorted(offered, key=lambda value: (str(type(value)), value))
    by_text = {_text(value): value for value in unique}
    chosen = set()
    for text in request.select[key]:
        name = _text(_number(text))
        if name not in by_text:
            raise GridError(
                f"--select {key}={text}: grid {request.grid!r} has no such value; valid: {', '.join(by_text)}"
                f"{did_you_mean(text, by_text)}"
            )
        chosen.add(by_text[name])
    return chosen


def _number(text: str) -> object:
    try:
        return float(text)
    except ValueError:
        return text


def _text(value: object) -> str:
    if isinstance(value, int | float):
        return f"{float(value):.12g}"
    return str(value)
