"""Full-size trials of paper A's small networks for as long as there is time, without ray.

python -m benchmarks.device_trials --out DIR --results DIR [--seconds N] [--data-dir DIR] [--device cuda]

MNIST with m1_20, then Fashion-MNIST, then both with stdcnn; of each batch 1024 first, then smaller ones. The trials of
one batch size, all regimes and seeds, are trained as one program and then probed one by one. Each row is stored in
--results as it comes and --out/results.tar.gz is renewed every few seconds, so the command can be stopped at any time;
run again, it continues. On a CPU the trials are a small part of these; without MNIST they are those of the smoke grid.
"""

from __future__ import annotations

import argparse
import os
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from search_spaces import Planned, Request, plan
from search_spaces.natural_training import BATCH_SIZES
from search_spaces.smoke import BATCH_SIZES as SMOKE_BATCH_SIZES
from study.data import DATASETS, DataError, ImageData, load, split
from study.data.files import FromFiles
from study.results import provenance
from study.results.folder import Results
from study.trials.device_data import DeviceData, data_key
from study.trials.execute import execute
from study.trials.execute_batched import MAX_GROUP, execute_batched, group_trials

PAPER_A = tuple((dataset, model) for model in ("m1_20", "stdcnn") for dataset in ("mnist", "fashion-mnist"))

ARCHIVE_BYTES = 16 * 2**20
ARCHIVE_SECONDS = 15.0
"""Largest size of the archive, and the least time between two renewals of it."""

ON_CPU = {"seeds": (0,), "epochs": 1, "train_size": 300, "test_size": 100, "probes": "headline"}
"""The trials of a check on a CPU: one batch size."""

TOGETHER_ON_CPU = 3


def requests(device: str, data_dir: str | None) -> Iterator[Request]:
    """The requests that the device works on, in this order."""
    available = [(d, m) for d, m in PAPER_A if data_dir and _is_there(d, data_dir)]
    grid = "natural_training" if available else "smoke"
    sizes = sorted(BATCH_SIZES if available else SMOKE_BATCH_SIZES, reverse=True)
    for dataset, model in available or [("digits", "m1_8")]:
        for size in sizes[:1] if device == "cpu" else sizes:
            select = {"dataset": (dataset,), "model": (model,), "batch_size": (str(size),)}
            yield Request(grid, select, **ON_CPU) if device == "cpu" else Request(grid, select)  # type: ignore[arg-type]


def _is_there(dataset: str, data_dir: str) -> bool:
    loader = DATASETS[dataset].loader
    layouts = (loader.published, loader.shards) if isinstance(loader, FromFiles) else ()
    return any(not layout.missing(Path(data_dir)) for layout in layouts)


@dataclass
class DeviceTrials:
    """Trains and probes what is requested, until a deadline.

    Attributes:
        folder: the results folder.
        archive: the .tar.gz that holds a copy of it.
        deadline: in seconds of `time.monotonic`; no trial begins after it.
    """

    folder: Path
    archive: Path
    device: str
    data_dir: str | None
    deadline: float
    archived: float = 0.0

    def __post_init__(self) -> None:
        self.results = Results(self.folder)
        self.results.create()
        self._images: dict[str, ImageData] = {}
        self._data: dict[object, DeviceData] = {}

    def run(self) -> int:
        """Train and probe until the deadline or the end of the work; returns the number of rows with all answers."""
        rows = 0
        for request in requests(self.device, self.data_dir):
            if time.monotonic() > self.deadline:
                break
            grid = plan(request)
            self._record(request)
            for group in self._groups(list(grid.values())):
                if len(group) > 1 and time.monotonic() < self.deadline:
                    self._train_together(group)
                for planned in group:
                    if time.monotonic() < self.deadline:
                        rows += self._finish(planned)
        write_archive(self.folder, self.archive)
        return rows

    def _groups(self, work: list[Planned]) -> list[list[Planned]]:
        """The trials that train together, then each of the others, such as those that are trained already."""
        trained = {p.trial.trial_id for p in work if self.results.read_row(p.trial.trial_id) is not None}
        groups = group_trials(work, trained, most=TOGETHER_ON_CPU if self.device == "cpu" else MAX_GROUP)
        grouped = {planned.trial.trial_id for group in groups for planned in group}
        return [*groups, *([planned] for planned in work if planned.trial.trial_id not in grouped)]

    def _train_together(self, group: list[Planned]) -> None:
        """Train a group; one that fails is left to `execute`, trial by trial."""
        leader, started = group[0], time.monotonic()
        trial = leader.trial
        try:
            execute_batched(
                leader,
                self._data_of(leader),
                self.results,
                groups={trial.trial_id: group},
                replicas=len(group) if self.device == "cpu" else None,
            )
        except Exception as error:
            print(f"group of {len(group)}: {type(error).__name__}: {error}", flush=True)
        rows = [self.results.read_row(p.trial.trial_id) for p in group]
        together = sorted(row["replicas"] for row in rows if row is not None)
        print(
            f"{trial.dataset} {trial.model} batch {trial.batch_size}: {len(together)} of {len(group)} trained in "
            f"{time.monotonic() - started:.1f} s, {together[-1] if together else 0} together",
            flush=True,
        )

    def _finish(self, planned: Planned) -> bool:
        """Probe a trial, training it if its group did not; whether that worked."""
        started, trial = time.monotonic(), planned.trial
        try:
            row = execute(planned, self._data_of(planned), self.results)
        except Exception as error:
            print(f"{trial.trial_id}: {type(error).__name__}: {error}", flush=True)
            return False
        print(
            f"{trial.trial_id} {trial.dataset} {trial.model} batch {trial.batch_size}: {row['status']}, train "
            f"{row['train_seconds']:.1f} s ({row['replicas']} together, replayed: {row['replayed']}), probes "
            f"{row['probe_seconds']:.1f} s, test {row['test_acc']}, fgsm {row['fgsm_acc']}, pgd {row['pgd_acc']}, "
            f"lambda1 {row['lambda1_train']}, {time.monotonic() - started:.1f} s",
            flush=True,
        )
        if time.monotonic() - self.archived > ARCHIVE_SECONDS:
            write_archive(self.folder, self.archive)
            self.archived = time.monotonic()
        return True

    def _data_of(self, planned: Planned) -> DeviceData:
        key, trial = data_key(planned), planned.trial
        if key not in self._data:
            if trial.dataset not in self._images:
                self._images[trial.dataset] = load(trial.dataset, self.data_dir or ".")
            whole = self._images[trial.dataset]
            sizes = {"train_size": trial.train_size, "val_size": trial.val_size, "test_size": trial.test_size}
            self._data[key] = DeviceData.of(split(whole, **sizes), whole.sha256, self.device)
        return self._data[key]

    def _record(self, request: Request) -> None:
        """Store the request in study.json, so that a report knows what is missing."""
        entry = {**request.to_dict(), "command": "python -m benchmarks.device_trials"}
        others = [other for other in self.results.read_study().get("requests", []) if other != entry]
        study = {"grid": request.grid, "versions": provenance.versions(), "requests": [*others, entry]}
        self.results.write_study(study)


def write_archive(folder: Path, archive: Path) -> None:
    """Everything of a results folder but checkpoints; the weights that fit into ARCHIVE_BYTES come last."""
    kept = [path for path in sorted(folder.rglob("*")) if path.parent.name != "checkpoints"]
    kept.sort(key=lambda path: path.parent.name == "weights")
    temporary, size = archive.with_name(f"{archive.name}.part"), 0
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(temporary, "w:gz", compresslevel=1) as tar:
        for path in kept:
            size += 1024 + (path.stat().st_size if path.is_file() else 0)  # with header; compression is a reserve
            if path.parent.name != "weights" or size < ARCHIVE_BYTES:
                tar.add(path, Path(folder.name) / path.relative_to(folder), recursive=False)
    temporary.replace(archive)


def main() -> None:
    """Train and probe until the time is over."""
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help="for results.tar.gz")
    command.add_argument("--results", type=Path, required=True, metavar="DIR", help="the results folder")
    command.add_argument(
        "--seconds", type=float, default=240.0, help="after which no trial begins; default %(default)s"
    )
    command.add_argument("--data-dir", default=os.environ.get("STUDY_DATA_DIR"), help="default $STUDY_DATA_DIR")
    command.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="default %(default)s")
    command.add_argument("--commit", help="named in the rows, where there is no git to tell")
    options = command.parse_args()
    if options.device == "cpu":
        torch.set_num_threads(1)
    if options.commit:
        provenance.git_sha = lambda: options.commit  # type: ignore[assignment]
    deadline = time.monotonic() + options.seconds
    archive = options.out / "results.tar.gz"
    try:
        rows = DeviceTrials(options.results, archive, options.device, options.data_dir, deadline).run()
    except DataError as error:
        raise SystemExit(str(error)) from error
    print(f"{rows} rows in {archive}")


if __name__ == "__main__":
    main()
