"""What `python -m study.run --list` prints: every grid, model, data set, optimizer, measure and attack, a line each."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from search_spaces import GRIDS, MEASURES, Request, plan
from study.attacks import ATTACKS
from study.data import DATASETS
from study.models import MODELS
from study.optimizers import OPTIMIZERS


def sections() -> Iterator[tuple[str, Mapping[str, str]]]:
    """Each title with the names and descriptions below it."""
    yield "grids (--grid)", {name: _grid(name) for name in GRIDS}
    yield "models (--select model=)", {name: _documented(model) for name, model in MODELS.items()}
    yield "data sets (--select dataset=)", {name: _dataset(name) for name in DATASETS}
    yield "optimizers (--select optimizer=)", {name: _documented(one) for name, one in OPTIMIZERS.items()}
    yield "measures (--probes)", {name: measure.about for name, measure in MEASURES.items()}
    yield "attacks", {name: _documented(spec.run) for name, spec in ATTACKS.items()}


def _grid(name: str) -> str:
    spaces, trials = GRIDS[name], plan(Request(name))
    of = spaces[0].citation if len(spaces) == 1 else f"{', '.join(space.name for space in spaces)} together"
    return f"{len(trials):,} networks: {of}"


def _dataset(name: str) -> str:
    info = DATASETS[name]
    channels, height, width = info.image_shape
    kind = "grey" if channels == 1 else "colour"
    images = f"{info.train_count:,} + {info.test_count:,} {kind} images of {height}x{width}"
    return f"{images}, {info.num_classes} classes"


def _documented(made: Any) -> str:
    """The first line of an object's docstring, with the settings that a `partial` gives it."""
    function, settings = (made.func, made.keywords) if isinstance(made, partial) else (made, {})
    line = (inspect.getdoc(function) or "no description").splitlines()[0].removesuffix(".")
    return line + "".join(f"; {name} {value:g}" for name, value in settings.items())


def print_all(columns: int | None) -> None:
    """Print every section; longer lines go on below each other (columns None: they do not)."""
    for title, entries in sections():
        print(title)
        indent = 4 + max(map(len, entries))
        for name, description in entries.items():
            width = max(20, columns - indent) if columns else len(description)
            lines = textwrap.wrap(description, width, break_on_hyphens=False)
            print(f"  {name:{indent - 2}}" + f"\n{' ' * indent}".join(lines))
