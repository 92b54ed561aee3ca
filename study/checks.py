"""What a run checks before any trial starts: names, sizes, data, the results' place and this machine."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from search_spaces import AttackProbe, Grid, Planned, did_you_mean
from study.results.folder import Results
from study.results.packed import is_packed
from study.results.schema import TRAINED, Row
from study.tuning.settings import RunSettings

if TYPE_CHECKING:
    from study.tuning.tuner import Data


class InputError(Exception):
    """A grid, data or results that cannot be used as given."""


def check_place(results: Results) -> None:
    """Refuse a folder that cannot be made or written to, and one of a name that a packed study has."""
    if is_packed(results.location):
        raise InputError(
            f"{results.location} is a packed study file; unpack it with python -m study.pack FILE FOLDER and use the "
            "folder"
        )
    if "://" in results.location:
        return
    folder = Path(results.location)
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not (existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)):
        raise InputError(f"{folder} cannot be written to: {existing} is no folder that you may write to")


def check_networks(grid: Grid) -> None:
    """Refuse names that nothing has, and models and optimizers that cannot be made, before any trial starts."""
    from study.attacks import ATTACKS  # imports torch, which takes seconds
    from study.data import AUGMENTATIONS, DATASETS
    from study.models import MODELS
    from study.optimizers import OPTIMIZERS
    from study.training.schedules import SCHEDULES
    from study.trials.train import check

    tables: dict[str, Collection[str]] = {
        "dataset": DATASETS, "model": MODELS, "optimizer": OPTIMIZERS, "schedule": SCHEDULES,
        "augmentation": AUGMENTATIONS, "adversarial_training": {"none", *ATTACKS},
    }  # fmt: skip
    named = [(name, getattr(planned.trial, name), tables[name]) for planned in grid.values() for name in tables]
    named += [
        ("attack", probe.attack, ATTACKS)
        for planned in grid.values()
        for probe in planned.probes
        if isinstance(probe, AttackProbe)
    ]
    for name, value, table in named:
        if value not in table:
            raise InputError(f"unknown {name} {value!r}; valid: {', '.join(table)}{did_you_mean(value, table)}")
    try:
        check(planned.trial for planned in grid.values())
    except ValueError as error:
        raise InputError(str(error)) from error


def check_functions(grid: Grid, rows: Iterable[Row]) -> None:
    """Refuse a model whose function is not the one that trained its stored networks."""
    from study.trials.train import changed_model, is_changed  # imports torch, which takes seconds

    for row in rows:
        planned = grid.get(row["trial_id"])
        if planned is not None and row["status"] in TRAINED and is_changed(planned.trial, row):
            raise InputError(changed_model(planned.trial))


def check_sizes(grid: Grid) -> None:
    """Refuse more images than a data set has, before it is loaded, and minibatches of more than are trained on.

    Batch sizes above the training images would be one and the same, under several names.
    """
    from study.data import DATASETS  # imports torch, which takes seconds

    sizes: dict[int, set[int]] = {}
    for planned in grid.values():
        trial, info = planned.trial, DATASETS[planned.trial.dataset]
        if trial.train_size + trial.val_size > info.train_count:
            raise InputError(
                f"{info.name}: train_size {trial.train_size} + val_size {trial.val_size} is more than the "
                f"{info.train_count} training images"
            )
        if trial.test_size > info.test_count:
            raise InputError(f"{info.name}: test_size {trial.test_size} is more than the {info.test_count} test images")
        sizes.setdefault(trial.train_size, set()).add(trial.batch_size)
    for images, batch_sizes in sizes.items():
        if large := [str(size) for size in sorted(batch_sizes) if size > images]:
            *others, last = large
            named = f"{', '.join(others)} and {last}" if others else last
            fit = ",".join(str(size) for size in sorted(batch_sizes) if size <= images)
            raise InputError(
                f"batch size{'s' if len(large) > 1 else ''} {named} exceed{'' if len(large) > 1 else 's'} the "
                f"{images} training images; use {f'--select batch_size={fit} or ' if fit else ''}a larger --train-size"
            )


def check_machine(settings: RunSettings, precisions: Collection[str]) -> None:
    """Refuse what this machine cannot run, as a run does once Ray has started.

    Raises:
        ClusterError: a trial needs more CPUs or GPUs than there are, or a precision that none of them has.
    """
    import torch

    from study.tuning.cluster import Capacity, check_precision, check_trials
    from study.tuning.cpus import usable_cpus

    gpus = torch.cuda.device_count()
    if settings.gpus_per_trial is None and not gpus:
        settings = replace(settings, gpus_per_trial=0.0)
    check_precision(settings, precisions)
    check_trials(Capacity(({"CPU": usable_cpus(), "GPU": gpus},)), settings.cpus_per_trial, settings.gpus_per_trial)


def data_folder(data_dir: str | None) -> Path:
    """The folder of the data sets: the option's, else the environment's, else a cache in the user's home."""
    folder = Path(data_dir or os.environ.get("STUDY_DATA_DIR") or Path.home() / ".cache" / "sgd-robustness-study")
    try:
        return folder.expanduser()
    except RuntimeError:
        raise InputError(f"data folder {folder}: there is no such user") from None


def missing_data(work: Sequence[Planned], folder: Path) -> list[str]:
    """The data sets that a run would have to download."""
    from study.data import DATASETS
    from study.data.files import FromFiles

    loaders = {name: DATASETS[name].loader for name in sorted({planned.trial.dataset for planned in work})}
    try:
        return [name for name, one in loaders.items() if isinstance(one, FromFiles) and not one.is_in(folder)]
    except OSError as error:
        raise InputError(f"the data folder cannot be read: {error}") from error


def load_data(work: Sequence[Planned], data_dir: str | None, rows: Iterable[Row] = ()) -> Data:
    """Every data set that the work needs, loaded once, before any trial starts.

    Refuses a data set that is not the one on which the networks of `rows` were trained.
    """
    from study.data import DataError, load, split
    from study.trials.device_data import data_key

    folder = data_folder(data_dir)
    datasets, data = {}, {}
    try:
        for planned in work:
            trial, key = planned.trial, data_key(planned)
            if trial.dataset not in datasets:
                datasets[trial.dataset] = load(trial.dataset, folder)
            whole = datasets[trial.dataset]
            if key not in data:
                sizes = {"train_size": trial.train_size, "val_size": trial.val_size, "test_size": trial.test_size}
                data[key] = (split(whole, **sizes), whole.sha256)
    except (DataError, ValueError, OSError) as error:
        raise InputError(str(error)) from error
    for row in rows:
        known = datasets.get(row["dataset"])
        if known is not None and row["status"] in TRAINED and row["dataset_sha256"] not in (None, known.sha256):
            raise InputError(
                f"{row['dataset']} in {folder} is not the data on which stored networks were trained "
                f"({row['trial_id']}): give that data, or another --results"
            )
    return data
