"""Models, data sets, optimizers, attacks and schedules from outside the package, in the driver and in every worker."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from search_spaces import GridError, Request
from search_spaces.outside import (
    STUDY_FILES,
    SourceFinder,
    accept,
    dictionary,
    expanded,
    is_file,
    load_module,
    load_study,
    root_of,
    sources,
)
from study.attacks import ATTACKS
from study.attacks.spec import AttackSpec
from study.data import DATASETS, DataError, DatasetInfo, OwnImages
from study.data.image_data import Part
from study.models import MODELS, Builder
from study.optimizers import OPTIMIZERS
from study.training.schedules import SCHEDULES

REGISTRIES: Mapping[str, dict[str, Any]] = {
    "MODELS": MODELS,
    "OPTIMIZERS": OPTIMIZERS,
    "ATTACKS": ATTACKS,
    "SCHEDULES": SCHEDULES,
    "DATASETS": DATASETS,
}
"""The dictionaries that a study file may bring -> those of the package that they extend."""

VALIDATION_SHARE = 10
"""With `--dataset` a tenth of its training images is held out for validation. Our choice."""

_added: set[tuple[str, str]] = set()
"""Registry and name of every entry from outside; a later one may take its place."""


@dataclass(frozen=True)
class Outside:
    """What a command brings from outside the package, so that a worker anywhere can have it as well.

    Attributes:
        study: name of the study file's module; "" without one.
        models: `package.module:function` of `--model`.
        datasets: the data sets by name; workers get the images from the driver.
        sources: text of the modules, by place (`search_spaces.outside.sources`).
    """

    study: str = ""
    models: tuple[str, ...] = ()
    datasets: Mapping[str, DatasetInfo] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, which first takes all this into the process where it is called."""
        return partial(_after_entering, self, function)

    def enter(self) -> None:
        """Take everything into this process's registries, once.

        Raises:
            GridError: a module cannot be imported here.
        """
        global _entered
        if self == _entered:
            return
        sys.meta_path.insert(0, SourceFinder(self.sources))
        if self.study:
            _add_study(accept(load_module(self.study)).__name__)
        for model in self.models:
            _add("MODELS", {model: _function(model)}, model)
        _add("DATASETS", self.datasets, "the command")
        _entered = self


_entered = Outside()


def _after_entering(outside: Outside, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    outside.enter()
    return function(*arguments, **options)


def bring(grid: str, model: str | None, dataset: str | None, data_folder: Path) -> Outside:
    """Load what the options `--grid`, `--model` and `--dataset` name into this process, the driver's.

    Raises:
        GridError: it cannot be loaded, or has the name of something else.
    """
    own: dict[str, Any] = {}
    study = ""
    if is_file(grid):
        module = load_study(grid)
        study, own = module.__name__, dictionary(module, "DATASETS")
        _add_study(study)
    if model is not None:
        _add("MODELS", {model: _function(model)}, "--model")
    if dataset is not None:
        path, shape = Request.split_dataset(dataset)
        own = {**own, Request.dataset_name(dataset): OwnImages(expanded(path).absolute(), shape)}
    found = {name: _info(name, entry, data_folder) for name, entry in own.items()}
    _add("DATASETS", found, "--dataset" if dataset else grid)
    shipped = {name: replace(info, loader=_in_the_driver) for name, info in found.items()}
    return with_sources(Outside(study, (model,) if model else (), shipped))


def with_sources(outside: Outside) -> Outside:
    """The same with the text of all its modules that are imported: calling a model's function may import more."""
    global _entered
    names = [name for name in (outside.study, *(model.partition(":")[0] for model in outside.models)) if name]
    texts = {place: text for name in names for place, text in sources(root_of(sys.modules[name])).items()}
    _entered = replace(outside, sources=texts)
    return _entered


def sized(request: Request) -> Request:
    """The request with the sizes of its own data set: all images, a tenth of those for training held out."""
    if request.dataset is None:
        return request
    info = DATASETS[Request.dataset_name(request.dataset)]
    val_size = info.train_count // VALIDATION_SHARE
    if request.train_size:
        val_size = max(0, min(val_size, info.train_count - request.train_size))
    else:  # an even number of training images: batch normalization may not train on a last minibatch of one image
        val_size += (info.train_count - val_size) % 2
    return replace(
        request,
        train_size=request.train_size or info.train_count - val_size,
        val_size=val_size,
        test_size=request.test_size or info.test_count,
    )


def _add_study(name: str) -> None:
    """The study file's entries, without its data sets, whose sizes only the driver can find."""
    module = STUDY_FILES[f"{name}.py"]
    for registry in REGISTRIES.keys() - {"DATASETS"}:
        entries = dictionary(module, registry)
        if registry == "MODELS":
            entries = {key: _builder(entry) for key, entry in entries.items()}
        for key, entry in entries.items():
            if registry == "ATTACKS" and not isinstance(entry, AttackSpec):
                raise GridError(f"{name}.py: the attack {key} is not an AttackSpec (study.attacks.spec)")
        _add(registry, entries, f"{name}.py")


def _add(registry: str, entries: Mapping[str, Any], source: str) -> None:
    for name, entry in entries.items():
        if name in REGISTRIES[registry] and (registry, name) not in _added:
            raise GridError(f"{source}: the package has {name!r} in {registry} already; choose another name")
        REGISTRIES[registry][name] = entry
        _added.add((registry, name))


def _function(model: str) -> Builder:
    """The function that `package.module:function` names."""
    module, colon, name = model.partition(":")
    if not (module and colon and name):
        raise GridError(f"--model {model!r} is not package.module:function")
    found = getattr(load_module(module), name, None)
    if not callable(found):
        raise GridError(f"--model {model}: {module} has no function {name}")
    return _builder(found)


def _builder(function: Callable[..., Any]) -> Builder:
    """The function, called with what it takes of `image_shape` and `num_classes`; its errors are those of a model."""
    if not callable(function):
        raise GridError(f"{function!r} is not a function that makes a network")
    takes = inspect.signature(function).parameters
    anything = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in takes.values())

    def build(*, image_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
        given = {"image_shape": image_shape} if "image_shape" in takes else {}
        given |= {"num_classes": num_classes} if anything or "num_classes" in takes else {}  # type: ignore[dict-item]
        try:
            made = function(**given)
        except Exception as error:
            raise ValueError(f"its function failed: {type(error).__name__}: {error}") from error
        if not isinstance(made, nn.Module):
            raise ValueError(f"its function returns {type(made).__name__}, not a torch.nn.Module")
        return made

    return build


def _info(name: str, entry: DatasetInfo | OwnImages, data_folder: Path) -> DatasetInfo:
    if isinstance(entry, DatasetInfo):
        return entry
    if not isinstance(entry, OwnImages):
        raise GridError(f"the data set {name} is not an OwnImages or a DatasetInfo (study.data)")
    try:
        return entry.info(name, data_folder)
    except (DataError, OSError) as error:
        raise GridError(f"data set {name}: {error}") from error


def _in_the_driver(info: DatasetInfo, data_dir: Path) -> tuple[Part, Part]:
    raise DataError(f"{info.name} is read by the command itself, not by its workers")
