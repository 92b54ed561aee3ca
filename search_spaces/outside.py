"""Study files: a space, with its models, data sets, optimizers, attacks and claims, from outside the package.

A study file is an ordinary Python module. It is executed where a user names it, by `--grid my_study.py` or
`load_study`, and in the workers of that run, which get it and the modules beside it as text. Nothing executes what lies
in a results folder.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
import sysconfig
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from search_spaces.regimes import REGIME_NAMES
from search_spaces.request import GridError
from search_spaces.space import Space
from search_spaces.trial import Trial

OWN = ("study", "search_spaces", "analysis")
"""The packages of this project, which every node has."""

STUDY_FILES: dict[str, ModuleType] = {}
"""File name -> study file that was loaded in this process."""


def is_file(grid: str) -> bool:
    """Whether `--grid` names a study file."""
    return grid.endswith(".py")


def expanded(path: str | Path) -> Path:
    """The path with the user's home for `~`; an unknown user's stays as it is, and there is no such file."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 (Path.expanduser raises RuntimeError)


def load_study(path: str | Path) -> ModuleType:
    """Execute a study file; it is then in STUDY_FILES, and its regimes' names are known.

    Raises:
        GridError: there is no such file, it cannot be executed, or it has no SPACES with curves and seeds.
    """
    file = expanded(path).resolve()
    if not file.is_file():
        raise GridError(f"there is no study file {path}")
    if "." in file.stem:
        raise GridError(f"the name of a study file has no dot but that of .py: rename {file.name}")
    if file.stem in sys.stdlib_module_names or file.stem in OWN:
        raise GridError(f"{file.name} has the name of another module: rename it")
    if (other := _namesake(file)) not in (None, file):
        raise GridError(f"{file.name} has the name of another module, {other}: rename it")
    sys.modules.pop(file.stem, None)  # it may have been edited since it was loaded
    module = load_module(file.stem, file.parent)
    if Path(module.__file__ or "").resolve() != file:
        raise GridError(f"{file.name} has the name of another module, {module.__file__}: rename it")
    return accept(module)


def load_module(name: str, folder: Path | None = None) -> ModuleType:
    """Import a module, at first from `folder`; leaves no bytecode beside it.

    Raises:
        GridError: it cannot be imported; the message names the line.
    """
    if folder is not None and str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    importlib.invalidate_caches()
    try:
        return importlib.import_module(name)
    except Exception as error:
        frames = [f for f in traceback.extract_tb(error.__traceback__) if "importlib" not in f.filename]
        inside = [frame for frame in frames if frame.filename != __file__]
        where = f" (line {inside[-1].lineno} of {inside[-1].filename})" if inside else ""
        reason = (str(error).splitlines() or [""])[0]
        raise GridError(f"{name} cannot be imported: {type(error).__name__}: {reason}{where}") from error
    finally:
        sys.dont_write_bytecode = before


def accept(module: ModuleType) -> ModuleType:
    """Take an imported study file into STUDY_FILES. Raises GridError as `load_study`."""
    spaces = getattr(module, "SPACES", None)
    name = f"{module.__name__}.py"
    if not isinstance(spaces, Sequence) or not spaces or not all(isinstance(space, Space) for space in spaces):
        raise GridError(f"{name} has no SPACES: a tuple of one `search_spaces.space.Space` or more")
    for space in spaces:
        if not (space.cells and space.seeds):
            raise GridError(f"{name}: the space {space.name} has no {'seeds' if space.cells else 'curves'}")
    known: dict[tuple[str, Trial], Trial] = {}
    for curve in (curve for space in spaces for curve in space.curves):
        for cell in curve.cells:  # tables tell cells apart by label, not by rate: these two would be replicates there
            key = curve.regime, replace(cell, learning_rate=1.0, schedule="constant", parent=None)
            if known.setdefault(key, cell) != cell:
                raise GridError(
                    f"{name}: two curves have the label {curve.regime!r} but other rates, schedules or parents at "
                    f"batch size {cell.batch_size}; give one a label of its own, as fixed_rate(0.02, 'gentle')"
                )
    REGIME_NAMES.update(dictionary(module, "REGIME_NAMES"))
    STUDY_FILES[name] = module
    return module


def _namesake(file: Path) -> Path | None:
    """Where the module lies that a study file would replace: imported, but as no study file, or installed."""
    loaded = sys.modules.get(file.stem)
    if loaded is not None and loaded is not STUDY_FILES.get(file.name):
        return Path(loaded.__file__ or file.stem).resolve()
    installed = [path for path in sys.path if _is_installed(Path(path))]
    spec = importlib.machinery.PathFinder.find_spec(file.stem, installed)
    return Path(spec.origin or file.stem).resolve() if spec else None


def _is_installed(root: Path) -> bool:
    """Whether a folder holds installed packages, of this interpreter or another one."""
    stdlib = Path(sysconfig.get_path("stdlib"))
    return root.name in ("site-packages", "dist-packages") or root.resolve() == stdlib.resolve()


def root_of(module: ModuleType) -> Path:
    """The folder from which a module is imported."""
    file = Path(module.__file__ or "").resolve()
    return file.parents[module.__name__.count(".") + (file.name == "__init__.py")]


def sources(root: Path) -> dict[str, str]:
    """The text of every imported module that lies in `root`, by its place there: `my_study.py`, `nets/small.py`.

    Nothing where installed packages lie, which every node must have itself.
    """
    found: dict[str, str] = {}
    if _is_installed(root):
        return found
    for name, module in list(sys.modules.items()):
        file = Path(getattr(module, "__file__", None) or "")
        place = name.replace(".", "/") + ("/__init__.py" if hasattr(module, "__path__") else ".py")
        if file.suffix == ".py" and file.resolve() == root / place and name.partition(".")[0] not in OWN:
            found[place] = file.read_text(encoding="utf-8")
    return found


class SourceFinder(importlib.abc.MetaPathFinder, importlib.abc.ExecutionLoader):
    """Imports modules from their text: `sources` of another machine."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = texts

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The module of this name, if its text is known; a folder of such is a namespace package."""
        if self._place(fullname):
            return importlib.util.spec_from_loader(fullname, self)
        if any(place.startswith(f"{fullname.replace('.', '/')}/") for place in self._texts):
            return importlib.machinery.ModuleSpec(fullname, None, is_package=True)
        return None

    def _place(self, name: str) -> str:
        path = name.replace(".", "/")
        return next((place for place in (f"{path}.py", f"{path}/__init__.py") if place in self._texts), "")

    def get_filename(self, fullname: str) -> str:
        """Its place, for tracebacks."""
        return self._place(fullname)

    def get_source(self, fullname: str) -> str:
        """Its text."""
        return self._texts[self._place(fullname)]

    def is_package(self, fullname: str) -> bool:
        """Whether it is the `__init__` of a folder."""
        return self._place(fullname).endswith("/__init__.py")


def dictionary(module: ModuleType, name: str) -> dict[str, Any]:
    """A dictionary of the study file, such as MODELS; empty where it has none. Raises GridError if it is none."""
    found = getattr(module, name, {})
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise GridError(f"{module.__name__}.py: {name} is not a dictionary from names")
    return found
