"""The command that runs two cells again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from functools import cache
from typing import Any

import pandas as pd

from search_spaces import GRIDS, GridError, Request, Trial, plan

RERUN_RESULTS = "results/rerun"
"""A folder of its own: in the study's folder these trials are already answered."""

_USUALLY_PLAIN = ("optimizer", "weight_decay", "adversarial_training", "target_loss")


class Rerun:
    """Writes commands for cells of a study that was asked for by `requests`; plans each request once."""

    def __init__(self, requests: Iterable[Request]) -> None:
        self._planned: list[tuple[Request, set[str]]] = []
        for request in requests:
            try:
                self._planned.append((request, set(plan(request))))
            except GridError:
                continue

    def command(self, cell: Mapping[Any, Any], batch_sizes: Iterable[int], trial_ids: Iterable[str]) -> str:
        """`python -m study.run` for the cells that differ from `cell` in batch size alone.

        The request that planned all of `trial_ids` lends its grid, sizes and seeds; without one the full
        grid is named with the sizes that the rows carry.
        """
        wanted = set(trial_ids)
        request = next((r for r, planned in self._planned if wanted <= planned), None)
        options = _narrowing(cell, request)
        grid = request.grid if request else _grid_of(str(cell["dataset"]))
        select = {
            "dataset": cell["dataset"],
            "model": cell["model"],
            "regime": cell["regime"],
            "momentum": f"{float(cell['momentum']):g}",
            "batch_size": ",".join(str(int(size)) for size in batch_sizes),
        }
        select |= _unusual(cell)
        chosen = " ".join(f"{key}={value}" for key, value in select.items())
        words = [
            f"python -m study.run --grid {grid} --select {chosen}",
            *options,
            f"--results {RERUN_RESULTS}",
        ]
        return " ".join(words)


def _narrowing(cell: Mapping[Any, Any], request: Request | None) -> list[str]:
    sizes = ("epochs", "train_size", "test_size")
    asked = {name: getattr(request, name) if request else int(cell[name]) for name in sizes}
    asked["precision"] = cell["precision"] if cell["precision"] != Trial.precision else None
    options = [f"--{n.replace('_', '-')} {value}" for n, value in asked.items() if value is not None]
    if request and request.seeds is not None:
        options.append(f"--seeds {','.join(map(str, request.seeds))}")
    if request and request.probes == "headline":
        options.append("--probes headline")
    return options


@cache
def _grid_of(dataset: str) -> str:
    """The first grid that trains on `dataset`; else the full one."""
    for name, spaces in GRIDS.items():
        if any(cell.dataset == dataset for space in spaces for cell in space.cells):
            return name
    return "full"


def _unusual(cell: Mapping[Any, Any]) -> dict[str, Any]:
    """The curve's fields that differ from a plain trial's, as `--select` takes them."""
    plain = {field.name: field.default for field in fields(Trial)}
    return {n: cell[n] for n in _USUALLY_PLAIN if not pd.isna(cell[n]) and cell[n] != plain[n]}
