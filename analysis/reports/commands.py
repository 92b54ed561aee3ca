"""The commands that run cells: those of a paper's figure or table, or some cells of a study again."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import fields
from functools import cache, cached_property
from pathlib import PurePosixPath
from typing import Any

import pandas as pd

from search_spaces import GRIDS, GridError, Request, Trial, plan
from study.results.packed import is_packed

RERUN_RESULTS = "results/rerun"
"""A separate folder: in the folder of the study these trials already have results."""

_USUALLY_PLAIN = ("optimizer", "weight_decay", "adversarial_training", "target_loss")


def run_command(grid: str, select: Mapping[str, object], *options: str, results: str = "") -> str:
    """`python -m study.run` for the trials of `grid` that have the values of `select`, into the folder `results`."""
    chosen = shlex.join(f"{key}={value}" for key, value in select.items())
    into = [f"--results {shlex.quote(_folder(results))}"] if results else []
    return " ".join(["python -m study.run", f"--grid {shlex.quote(grid)}", *into, f"--select {chosen}", *options])


class Rerun:
    """Writes commands for cells of a study that was started by `requests`; they are planned at the first command."""

    def __init__(self, requests: Iterable[Request]) -> None:
        self._requests = tuple(requests)

    @cached_property
    def _planned(self) -> list[tuple[Request, set[str]]]:
        planned = []
        for request in self._requests:
            try:
                planned.append((request, set(plan(request))))
            except GridError:
                continue
        return planned

    def command(
        self,
        cell: Mapping[Any, Any],
        batch_sizes: Iterable[int],
        trial_ids: Iterable[str],
        results: str = RERUN_RESULTS,
    ) -> str:
        """`python -m study.run` for the cells that differ from `cell` only in their batch size.

        Grid, sizes and seeds are those of the request that planned all of `trial_ids`. Without such a request they
        are the first grid with this data set and model and the sizes in the rows.
        """
        wanted = set(trial_ids)
        request = next((r for r, planned in self._planned if wanted <= planned), None)
        own = {} if request is None else {"dataset": request.dataset, "model": request.model}
        select = {key: cell[key] for key in ("dataset", "model", "regime") if own.get(key) is None} | {
            "momentum": f"{float(cell['momentum']):g}",
            "batch_size": ",".join(str(int(size)) for size in batch_sizes),
        }
        plain = {field.name: field.default for field in fields(Trial)}
        select |= {n: cell[n] for n in _USUALLY_PLAIN if not pd.isna(cell[n]) and cell[n] != plain[n]}
        grid = request.grid if request else _grid_of(str(cell["dataset"]), str(cell["model"]))
        return run_command(grid, select, *_options(cell, request), f"--results {shlex.quote(_folder(results))}")


def _folder(location: str) -> str:
    """The folder in which a study goes on: that of a packed one is made by `unpack_command`."""
    return f"results/{PurePosixPath(location).parent.name or 'unpacked'}" if is_packed(location) else location


def unpack_command(location: str) -> str:
    """What makes a folder of a packed study, in which the commands go on; "" where it is a folder."""
    packed = is_packed(location)
    return f"python -m study.pack {shlex.quote(location)} {shlex.quote(_folder(location))}" if packed else ""


def _options(cell: Mapping[Any, Any], request: Request | None) -> list[str]:
    sizes = ("epochs", "train_size", "test_size")
    values = {name: getattr(request, name) if request else int(cell[name]) for name in sizes}
    values["precision"] = cell["precision"] if cell["precision"] != Trial.precision else None
    options = [f"--{n.replace('_', '-')} {shlex.quote(str(v))}" for n, v in values.items() if v is not None]
    for name in ("dataset", "model"):
        if request and getattr(request, name) is not None:
            options.append(f"--{name} {shlex.quote(getattr(request, name))}")
    if request and request.seeds is not None:
        options.append(f"--seeds {','.join(map(str, request.seeds))}")
    if request and request.epsilons is not None:
        options.append(f"--epsilons {','.join(f'{one:g}' for one in request.epsilons)}")
    if request and request.probes != "all":
        options.append(f"--probes {request.probes}")
    return options


@cache
def _grid_of(dataset: str, model: str) -> str:
    """The first grid that trains this model on this data set; else the full one."""
    for name, spaces in GRIDS.items():
        if any((cell.dataset, cell.model) == (dataset, model) for space in spaces for cell in space.cells):
            return name
    return "full"
