"""Full-size trials of paper A's small networks for as long as there is time, without ray.

python -m benchmarks.device_trials --out DIR --results DIR [--seconds N] [--data-dir DIR] [--device cuda]
                                  [--select dataset=mnist momentum=0,.9 ...] [--seeds 0,1,2] [--epsilons .1,.3]

MNIST with m1_20, then Fashion-MNIST, then both with stdcnn; of each batch 1024 first, then smaller ones. The trials of
one batch size, all regimes and seeds, are trained as one program. On a GPU, --probers processes then answer their
probes while the next group trains. Each row is stored in --results as it comes and --out/results.tar.gz is renewed
every few seconds, so the command can be stopped at any time; run again, it continues. On a CPU the trials are a small
part of these; without MNIST they are those of the smoke grid.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from search_spaces import Planned, Request, plan
from search_spaces.natural_training import BATCH_SIZES
from search_spaces.smoke import BATCH_SIZES as SMOKE_BATCH_SIZES
from search_spaces.smoke import DIGITS
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

PROBERS = 6
"""Processes that answer probes beside the training on a GPU: an attack on a small network launches kernels that keep
the GPU busy for a small part of the time."""


def requests(
    device: str,
    data_dir: str | None,
    select: Mapping[str, tuple[str, ...]] = {},
    seeds: tuple[int, ...] | None = None,
    epsilons: tuple[float, ...] | None = None,
) -> Iterator[Request]:
    """The requests that the device works on, in this order; the last three narrow them as `Request` says.

    Batch sizes come in the order of `select`, by default from large to small.
    """
    available = [(d, m) for d, m in PAPER_A if data_dir and _is_there(d, data_dir)]
    grid = "natural_training" if available else "smoke"
    sizes = sorted(BATCH_SIZES if available else SMOKE_BATCH_SIZES, reverse=True)
    sizes = list(map(int, select.get("batch_size", ()))) or sizes
    for dataset, model in available or [(DIGITS.dataset, DIGITS.model)]:
        for size in sizes[:1] if device == "cpu" else sizes:
            own = {"dataset": dataset, "model": model, "batch_size": str(size)}
            if all(value in select.get(name, (value,)) for name, value in own.items()):
                chosen = {**select, **{name: (value,) for name, value in own.items()}}
                full = Request(grid, chosen, seeds, epsilons=epsilons)
                yield replace(full, **ON_CPU) if device == "cpu" else full  # type: ignore[arg-type]


def _is_there(dataset: str, data_dir: str) -> bool:
    loader = DATASETS[dataset].loader
    layouts = (loader.published, loader.shards) if isinstance(loader, FromFiles) else ()
    return any(not layout.missing(Path(data_dir)) for layout in layouts)


@dataclass
class DeviceTrials:
    """Trains and probes what is requested, until a deadline.

    Attributes:
        folder: the results folder.
        device: "cuda" or "cpu".
        data_dir: where the image files are.
        deadline: in seconds of `time.monotonic`; no trial begins after it, and a group that still trains then is given
            up.
        archive: called every second while a group trains.
    """

    folder: Path
    device: str
    data_dir: str | None
    deadline: float
    archive: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        self.results = Results(self.folder)
        self.results.create()
        self._images: dict[str, ImageData] = {}
        self._data: dict[object, DeviceData] = {}

    def train(self, request: Request) -> Iterator[Planned]:
        """Train the trials of a request, group by group; yields each trial whose probes can be answered now."""
        grid = plan(request)
        self._record(request)
        for group in self._groups(list(grid.values())):
            if time.monotonic() > self.deadline:
                return
            if len(group) > 1:
                self._train_together(group)
            yield from group

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
                report=self._give_up_at_the_deadline,
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

    def _give_up_at_the_deadline(self, metrics: Mapping[str, object]) -> None:
        self.archive()
        if time.monotonic() > self.deadline:
            raise TimeoutError("the time is over")

    def finish(self, planned: Planned) -> bool:
        """Probe a trial, training it if its group did not; whether its row has all answers."""
        started, trial = time.monotonic(), planned.trial
        if started > self.deadline:
            return False
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
        study = self.results.read_study()
        others = [other for other in study.get("requests", []) if other != entry]
        study |= {"grid": request.grid, "versions": provenance.versions(), "requests": [*others, entry]}
        self.results.write_study(study)


_worker: DeviceTrials
"""In a process that answers probes."""


def _start_worker(folder: Path, device: str, data_dir: str | None, deadline: float, commit: str | None) -> None:
    global _worker
    torch.set_num_threads(1)
    _name_commit(commit)
    _worker = DeviceTrials(folder, device, data_dir, deadline)


def _finish_in_worker(planned: Planned) -> bool:
    return _worker.finish(planned)


def _name_commit(commit: str | None) -> None:
    """Let rows name this commit, where there is no git to tell."""
    if commit:
        provenance.git_sha = lambda: commit  # type: ignore[assignment]


def run(trials: DeviceTrials, work: Iterator[Request], archive: Path, probers: int, commit: str | None) -> int:
    """Train and probe until the deadline or the end of the work; returns the number of rows with all answers.

    Args:
        trials: what trains.
        work: the requests.
        archive: the .tar.gz that holds a copy of the results folder.
        probers: processes that probe beside the training; with 0 each trial is probed here after its group's training.
        commit: named in the rows.
    """
    _name_commit(commit)
    rows, archived, waiting = 0, time.monotonic(), list[Future[bool]]()

    def renew_archive() -> None:
        nonlocal archived
        if time.monotonic() - archived > ARCHIVE_SECONDS:
            write_archive(trials.folder, archive)
            archived = time.monotonic()

    pool: Executor | None = None
    if probers:
        spawn = multiprocessing.get_context("spawn")
        started_with = (trials.folder, trials.device, trials.data_dir, trials.deadline, commit)
        pool = ProcessPoolExecutor(probers, spawn, initializer=_start_worker, initargs=started_with)
        trials.archive = renew_archive
    with pool or nullcontext():
        for request in work:
            for planned in trials.train(request):
                if pool:
                    waiting.append(pool.submit(_finish_in_worker, planned))
                else:
                    rows += trials.finish(planned)
                renew_archive()
        for future in as_completed(waiting):
            rows += future.exception() is None and future.result()
            renew_archive()
    write_archive(trials.folder, archive)
    return rows


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
                with suppress(FileNotFoundError):  # a process that probes has just renamed it
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
    command.add_argument("--select", nargs="+", default=[], metavar="FIELD=VALUES", help="as of study.run")
    command.add_argument("--seeds", help="as of study.run")
    command.add_argument("--epsilons", help="as of study.run")
    command.add_argument("--probers", type=int, help=f"processes that probe; default {PROBERS} on a GPU, none on a CPU")
    command.add_argument("--commit", help="named in the rows, where there is no git to tell")
    options = command.parse_args()
    if options.device == "cpu":
        torch.set_num_threads(1)
    selected = {name: tuple(values.split(",")) for name, _, values in (item.partition("=") for item in options.select)}
    seeds = tuple(map(int, options.seeds.split(","))) if options.seeds else None
    epsilons = tuple(map(float, options.epsilons.split(","))) if options.epsilons else None
    probers = options.probers if options.probers is not None else PROBERS if options.device == "cuda" else 0
    archive = options.out / "results.tar.gz"
    trials = DeviceTrials(options.results, options.device, options.data_dir, time.monotonic() + options.seconds)
    work = requests(options.device, options.data_dir, selected, seeds, epsilons)
    try:
        rows = run(trials, work, archive, probers, options.commit)
    except DataError as error:
        raise SystemExit(str(error)) from error
    print(f"{rows} rows in {archive}")


if __name__ == "__main__":
    main()
