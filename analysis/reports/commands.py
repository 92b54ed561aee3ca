"""The commands that run cells: those of a paper's figure or table, or some cells of a study again."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import PurePosixPath
from typing import Any

import pandas as pd

from analysis.tables.cells import roster_of
from analysis.tables.observations import ALONGSIDE
from analysis.tables.table import StudyTable
from search_spaces import GRIDS, PLAIN, Request, Trial, plan
from study.results.packed import is_packed

RERUN_RESULTS = "results/rerun"
"""A separate folder: in the folder of the study these trials already have results."""

_USUALLY_PLAIN = (*ALONGSIDE, "target_loss")


def run_command(grid: str, select: Mapping[str, object], *options: str, results: str = "") -> str:
    """`python -m study.run` for the trials of `grid` that have the values of `select`, into the folder `results`."""
    chosen = shlex.join(f"{key}={value}" for key, value in select.items())
    into = [f"--results {shlex.quote(_folder(results))}"] if results else []
    return " ".join(["python -m study.run", f"--grid {shlex.quote(grid)}", *into, f"--select {chosen}", *options])


def rerun_command(
    table: StudyTable,
    cell: Mapping[Any, Any],
    batch_sizes: Iterable[int],
    trial_ids: Iterable[str],
    results: str = RERUN_RESULTS,
) -> str:
    """`python -m study.run` for the networks `trial_ids`, whose cells differ from `cell` only in their batch size.

    Grid and options are those of a request that has these cells, at whatever batch sizes and seeds it selects. Without
    such a request it is the first grid with this data set and model, at the sizes in the rows; or "", where the cells
    may be those of a study file that was not given.
    """
    known = table.once("cells and seeds", lambda: roster_of(table).drop_duplicates("trial_id").set_index("trial_id"))
    mine = known.loc[list(trial_ids)]
    asked = table.once("cells of requests", lambda: [(request, _cells_of(request)) for request in table.requests])
    request = next((one for one, cells in asked if cells.issuperset(mine["cell_id"])), None)
    if request is None and table.not_given:
        return ""
    own = {} if request is None else {"dataset": request.dataset, "model": request.model}
    select = {key: cell[key] for key in ("dataset", "model", "regime") if own.get(key) is None} | {
        "momentum": f"{float(cell['momentum']):g}",
        "batch_size": ",".join(str(int(size)) for size in batch_sizes),
    }
    select |= {n: cell[n] for n in _USUALLY_PLAIN if not pd.isna(cell[n]) and cell[n] != PLAIN[n]}
    select |= {n: values for n, values in _fixed(request).items() if n not in select} if request else {}
    grid = request.grid if request else _grid_of(str(cell["dataset"]), str(cell["model"]))
    options = _options(cell, sorted(set(mine["seed"])), request)
    return run_command(grid, select, *options, f"--results {shlex.quote(_folder(results))}")


def _fixed(request: Request) -> dict[str, str]:
    """What a request selects, but for batch sizes and seeds."""
    return {key: ",".join(values) for key, values in request.select.items() if key not in ("batch_size", "seed")}


def _cells_of(request: Request) -> set[str]:
    """The ids of the cells that a request has at all batch sizes of its grid."""
    select = {key: request.select[key] for key in _fixed(request)}
    return {planned.trial.cell_id for planned in plan(replace(request, select=select, seeds=(0,))).values()}


def _folder(location: str) -> str:
    """The folder in which a study goes on: that of a packed one is made by `unpack_command`."""
    return f"results/{PurePosixPath(location).parent.name or 'unpacked'}" if is_packed(location) else location


def unpack_command(location: str) -> str:
    """What makes a folder of a packed study, in which the commands go on; "" where it is a folder."""
    packed = is_packed(location)
    return f"python -m study.pack {shlex.quote(location)} {shlex.quote(_folder(location))}" if packed else ""


def _options(cell: Mapping[Any, Any], seeds: Iterable[int], request: Request | None) -> list[str]:
    sizes = ("epochs", "train_size", "test_size")
    values = {name: getattr(request, name) if request else int(cell[name]) for name in sizes}
    values["precision"] = cell["precision"] if cell["precision"] != Trial.precision else None
    options = [f"--{n.replace('_', '-')} {shlex.quote(str(v))}" for n, v in values.items() if v is not None]
    for name in ("dataset", "model"):
        if request and getattr(request, name) is not None:
            options.append(f"--{name} {shlex.quote(getattr(request, name))}")
    options.append(f"--seeds {','.join(map(str, seeds))}")
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
