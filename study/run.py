"""The command line: `python -m study.run --grid NAME` runs what a grid still asks and writes the report."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from search_spaces import GRIDS, Grid, GridError, Planned, Request, plan
from study import pending, provenance
from study.costs import CostModel
from study.progress import Progress, clock
from study.records import RecordsError, Results
from study.schema import Row

if TYPE_CHECKING:
    from study.data import Splits
    from study.tuning import DataKey, Resources

OK, SOME_FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One clear line; argparse would print its usage before it."""
        self.exit(BAD_INPUT, f"study.run: {message}\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a grid; returns 0: all answered, 1: some trials failed, 2: bad input (one line says what is valid)."""
    arguments = _parser().parse_args(argv)
    try:
        request = _request(arguments)
        grid = _plan(request)
        results = Results(arguments.results or f"results/{request.grid}")
        rows = _stored(results)
        work = pending.pending(grid, rows)
        costs = CostModel(grid, rows)
        if arguments.dry_run:
            _print_dry_run(request, grid, work, costs, results)
            return OK
        results.create()
        study = results.read_study()
        data = _load(work, arguments.data_dir)
        _record_request(results, study, request, list(argv) if argv is not None else sys.argv[1:])
        failed = _run(work, costs, data, results, arguments) if work else 0
        if not work:
            print(f"all {len(grid)} trials of grid {request.grid!r} are answered already: nothing to do")
        if not arguments.no_report:
            _report(results)
    except KeyboardInterrupt:
        print(
            "\ninterrupted; finished trials are stored. Give the same command again to go on.",
            file=sys.stderr,
        )
        return INTERRUPTED
    except (GridError, RecordsError, _InputError) as error:
        print(f"study.run: {error}", file=sys.stderr)
        return BAD_INPUT
    except OSError as error:
        print(f"study.run: {error}; finished trials are stored, mend it and run again", file=sys.stderr)
        return SOME_FAILED
    return SOME_FAILED if failed else OK


class _InputError(Exception):
    """Data, cluster or options that cannot be used as given."""


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m study.run", description=__doc__, allow_abbrev=False)
    add = parser.add_argument
    add("--grid", required=True, metavar="NAME", help=f"one of: {', '.join(GRIDS)}")
    add("--results", metavar="DIR|URI", help="where rows, weights and the report go (default: results/NAME)")
    add(
        "--data-dir",
        metavar="DIR",
        help="where data sets are (default: $STUDY_DATA_DIR, else a cache in your home)",
    )
    add("--address", metavar="ADDR", help="a Ray cluster to run on (default: this machine)")
    add("--seeds", metavar="0,1,2", help="replicates of each cell (default: the grid's)")
    add(
        "--select",
        nargs="+",
        default=[],
        metavar="KEY=V[,V]",
        help="only these trials, e.g. model=m1 batch_size=64,128",
    )
    add("--epochs", type=int, metavar="N", help="train this long instead of as the paper does")
    add("--train-size", type=int, metavar="N", help="training images instead of the paper's number")
    add("--test-size", type=int, metavar="N", help="test images instead of the paper's number")
    add(
        "--probes",
        choices=("all", "headline"),
        default="all",
        help="headline: only what the headline columns need",
    )
    add("--gpus-per-trial", default="auto", metavar="F|auto", help="fraction of a GPU that each trial owns")
    add("--cpus-per-trial", type=int, default=1, metavar="N", help="CPUs, and torch threads, of each trial")
    add("--max-concurrent", type=int, metavar="N", help="at most this many trials at once")
    add("--checkpoint-seconds", type=float, default=30.0, metavar="S", help="store half-trained trials this often")
    add("--dry-run", action="store_true", help="print what would run, and do nothing")
    add("--no-report", action="store_true", help="do not write the report at the end")
    return parser


def _request(arguments: argparse.Namespace) -> Request:
    return Request(
        grid=arguments.grid,
        select=_select(arguments.select),
        seeds=_seeds(arguments.seeds),
        epochs=arguments.epochs,
        train_size=arguments.train_size,
        test_size=arguments.test_size,
        probes=arguments.probes,
    )


def _plan(request: Request) -> Grid:
    try:
        return plan(request)
    except GridError:
        raise
    except ValueError as error:  # a trial that no run can have
        raise GridError(str(error)) from error


def _select(pairs: Sequence[str]) -> dict[str, tuple[str, ...]]:
    select: dict[str, tuple[str, ...]] = {}
    for pair in pairs:
        key, equals, values = pair.partition("=")
        if not (key and equals and values):
            raise GridError(f"--select {pair!r} is not KEY=VALUE[,VALUE]; for example batch_size=64,128")
        select[key] = (*select.get(key, ()), *values.split(","))
    return select


def _seeds(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(dict.fromkeys(int(seed) for seed in text.split(",")))
    except ValueError:
        raise GridError(f"--seeds {text!r} is not a list of whole numbers such as 0,1,2") from None


def _stored(results: Results) -> list[Row]:
    if not results.exists():
        return []
    rows, unreadable = results.read_rows(pending.COLUMNS)
    for file in unreadable:
        print(f"left out {file.name}: {file.reason}", file=sys.stderr)
    return rows


def _record_request(results: Results, study: dict[str, Any], request: Request, argv: Sequence[str]) -> None:
    """Remember what was asked, so that the report knows what is missing."""
    asked = [entry for entry in study.get("requests", []) if {**entry, **request.to_dict()} != entry]
    command = " ".join(("python -m study.run", *argv))
    entry = {**request.to_dict(), "command": command, "at": datetime.now(UTC).isoformat(timespec="seconds")}
    results.write_study(
        {
            "grid": request.grid,
            "command": command,
            "versions": provenance.versions(),
            "requests": [*asked, entry],
        }
    )


def _print_dry_run(
    request: Request,
    grid: Grid,
    work: Sequence[Planned],
    costs: CostModel,
    results: Results,
) -> None:
    probes = sum(len(planned.probes) for planned in work)
    asked = sum(len(planned.probes) for planned in grid.values())
    cells = len({planned.trial.cell_id for planned in grid.values()})
    print(f"grid {request.grid}: {len(grid)} trials in {cells} cells, {asked} probes; results in {results.location}")
    print(f"answered already: {len(grid) - len(work)} trials; to do: {len(work)} trials with {probes} probes")
    for planned in work:
        trial = planned.trial
        seconds = costs.seconds(planned)
        print(f"  {trial.trial_id}  {label(planned):62s} {len(planned.probes):3d} probes  ~{clock(seconds)}")
    total = sum(costs.seconds(planned) for planned in work)
    source = "calibrated by stored rows" if costs.scale else "as measured on the authors' machine"
    print(f"estimated: {clock(total)} of one CPU core ({source}), {clock(total / _cores())} on this machine's cores")


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def label(planned: Planned) -> str:
    """A trial in a few words for people."""
    trial = planned.trial
    regimes = "+".join(planned.regimes)
    return f"{trial.dataset} {trial.model} {regimes} bs {trial.batch_size} m {trial.momentum:g} seed {trial.seed}"


def _run(
    work: list[Planned],
    costs: CostModel,
    data: Mapping[DataKey, tuple[Splits, str]],
    results: Results,
    arguments: argparse.Namespace,
) -> int:
    """Run the pending work; returns the number of failed trials."""
    resources = _resources(arguments)
    from study import tuning  # ray and torch take seconds to import: only when there is work

    expected = {p.trial.trial_id: costs.seconds(p) for p in work}
    longest_first = sorted(work, key=lambda planned: -expected[planned.trial.trial_id])
    progress = Progress(expected, {p.trial.trial_id: label(p) for p in work})
    print(f"{len(work)} trials to run, results in {results.location}", flush=True)
    try:
        tuning.connect(arguments.address)
        tuning.check_fit(resources)
        tuning.run_trials(longest_first, data, results, progress, resources=resources)
    except tuning.ClusterError as error:
        raise _InputError(str(error)) from error
    finally:
        tuning.disconnect()
    for trial_id, reason in progress.failures.items():
        print(f"failed: {progress.labels[trial_id]}: {reason} (log: {results.location}/logs/{trial_id}.txt)")
    return len(progress.failures)


def _resources(arguments: argparse.Namespace) -> Resources:
    from study.tuning import Resources

    share: float | None = None
    if arguments.gpus_per_trial != "auto":
        try:
            share = float(arguments.gpus_per_trial)
        except ValueError:
            share = -1.0
        if not 0 <= share <= 1:
            raise _InputError(f"--gpus-per-trial {arguments.gpus_per_trial!r} is not auto or a fraction in [0, 1]")
    for option in ("cpus_per_trial", "max_concurrent"):
        value = getattr(arguments, option)
        if value is not None and value < 1:
            raise _InputError(f"--{option.replace('_', '-')} must be at least 1, got {value}")
    return Resources(arguments.cpus_per_trial, share, arguments.max_concurrent, arguments.checkpoint_seconds)


def _load(work: Sequence[Planned], data_dir: str | None) -> dict[DataKey, tuple[Splits, str]]:
    """Every data set that the work needs, once, before any trial starts."""
    from study.data import DataError, load, split
    from study.tuning import data_key

    folder = Path(data_dir or os.environ.get("STUDY_DATA_DIR") or Path.home() / ".cache" / "sgd-robustness-study")
    loaded, parts = {}, {}
    try:
        for planned in work:
            trial = planned.trial
            if trial.dataset not in loaded:
                loaded[trial.dataset] = load(trial.dataset, folder.expanduser())
            whole = loaded[trial.dataset]
            if data_key(planned) not in parts:
                sizes = {
                    "train_size": trial.train_size,
                    "val_size": trial.val_size,
                    "test_size": trial.test_size,
                }
                parts[data_key(planned)] = (split(whole, **sizes), whole.sha256)
    except (DataError, ValueError) as error:
        raise _InputError(str(error)) from error
    return parts


def _report(results: Results) -> None:
    from analysis.report import ReportError, write_report

    try:
        print(f"report: {write_report(results.location)}")
    except ReportError as error:
        raise _InputError(str(error)) from error


if __name__ == "__main__":
    sys.exit(main())
