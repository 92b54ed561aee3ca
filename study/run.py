"""The command line: `python -m study.run --grid NAME` runs what is left to do of a grid and writes the report."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from search_spaces import Grid, GridError, Planned, Request, plan
from study import options
from study.results import provenance
from study.results.folder import RecordsError, Results
from study.results.run_lock import RunLock
from study.results.schema import Row
from study.trials import pending
from study.tuning.costs import CostModel
from study.tuning.progress import Progress, describe_trial, duration
from study.tuning.settings import ClusterError

if TYPE_CHECKING:
    from study.tuning.tuner import Data

OK, SOME_FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130


class InputError(Exception):
    """A grid, data or results that cannot be used as given."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a grid; returns 0: all answered, 1: some trials failed, 2: bad input (one line says what is valid)."""
    argv = sys.argv[1:] if argv is None else argv
    arguments = options.parser().parse_args(argv)
    try:
        request, settings = options.request(arguments), options.run_settings(arguments)
        grid = _plan(request)
        results = Results(arguments.results or f"results/{request.grid}")
        if arguments.dry_run:
            _print_dry_run(request, grid, results)
            return OK
        results.create()
        failures = {}
        with RunLock(results):
            rows = _read_rows(
                results, grid, update_cache=True
            )  # only under the lock: another command may just have written some
            work = pending.pending_with_parents(grid, rows, results)
            data = _load_data(work, arguments.data_dir)
            _record_request(results, request, argv)
            if work:
                from study.tuning import gpu_shares, tuner  # importing torch and ray takes seconds

                print(f"{len(work)} trials to run, results in {results.location}", flush=True)
                costs, peaks = CostModel(grid, rows), gpu_shares.known_peaks(grid, rows)
                progress = tuner.run_study(
                    work, data, results, address=arguments.address, settings=settings, costs=costs, peaks=peaks
                )
                _print_accuracy(costs, work, results)
                _print_failures(progress, results)
                failures = progress.failures
            else:
                print(f"all {len(grid)} trials of grid {request.grid!r} are answered already: nothing to do")
        if not arguments.no_report:
            _write_report(results)
    except KeyboardInterrupt:
        print("\ninterrupted; finished trials are stored. Give the same command again to continue.", file=sys.stderr)
        return INTERRUPTED
    except (GridError, RecordsError, options.OptionError, ClusterError, InputError) as error:
        print(f"study.run: {error}", file=sys.stderr)
        return BAD_INPUT
    except OSError as error:
        print(f"study.run: {error}; finished trials are stored, fix this and run again", file=sys.stderr)
        return SOME_FAILED
    return SOME_FAILED if failures else OK


def _plan(request: Request) -> Grid:
    try:
        return plan(request)
    except ValueError as error:  # no such choice, or a trial that cannot exist
        raise InputError(str(error)) from error


def _read_rows(results: Results, grid: Grid, *, update_cache: bool) -> list[Row]:
    if not results.exists():
        return []
    rows, unreadable = results.read_rows(pending.COLUMNS, update_cache=update_cache)
    newer = [file.name for file in unreadable if file.newer and Path(file.name).stem in grid]
    if newer:
        raise InputError(
            f"a newer version of this program wrote {len(newer)} of these trials ({newer[0]}): use that version, or "
            "give another folder with --results"
        )
    for file in unreadable:
        print(f"left out {file.name}: {file.reason}", file=sys.stderr)
    return rows


def _print_dry_run(request: Request, grid: Grid, results: Results) -> None:
    rows = _read_rows(results, grid, update_cache=False)
    work, costs = pending.pending(grid, rows), CostModel(grid, rows)
    probes = sum(len(planned.probes) for planned in grid.values())
    cells = len({planned.trial.cell_id for planned in grid.values()})
    print(f"grid {request.grid}: {len(grid)} trials in {cells} cells, {probes} probes; results in {results.location}")
    probes_left = sum(len(planned.probes) for planned in work)
    print(f"answered already: {len(grid) - len(work)} trials; to do: {len(work)} trials with {probes_left} probes")
    for planned in work:
        trial_id, seconds = planned.trial.trial_id, costs.seconds(planned)
        print(f"  {trial_id}  {describe_trial(planned):62s} {len(planned.probes):3d} probes  ~{duration(seconds)}")
    print(costs.summary(work))


def _load_data(work: Sequence[Planned], data_dir: str | None) -> Data:
    """Every data set that the work needs, loaded once, before any trial starts."""
    from study.data import DataError, load, split
    from study.trials.device_data import data_key

    folder = Path(data_dir or os.environ.get("STUDY_DATA_DIR") or Path.home() / ".cache" / "sgd-robustness-study")
    datasets, data = {}, {}
    try:
        for planned in work:
            trial, key = planned.trial, data_key(planned)
            if trial.dataset not in datasets:
                datasets[trial.dataset] = load(trial.dataset, folder.expanduser())
            whole = datasets[trial.dataset]
            if key not in data:
                sizes = {"train_size": trial.train_size, "val_size": trial.val_size, "test_size": trial.test_size}
                data[key] = (split(whole, **sizes), whole.sha256)
    except (DataError, ValueError) as error:
        raise InputError(str(error)) from error
    return data


def _record_request(results: Results, request: Request, argv: Sequence[str]) -> None:
    """Store what was requested in study.json, so that the report knows what is missing."""
    fields = request.to_dict()
    others = [
        entry
        for entry in results.read_study().get("requests", [])
        if any(entry.get(name) != value for name, value in fields.items())
    ]
    command = f"python -m study.run {shlex.join(argv)}"
    entry = {**fields, "command": command, "at": datetime.now(UTC).isoformat(timespec="seconds")}
    results.write_study(
        {
            "grid": request.grid,
            "command": command,
            "versions": provenance.versions(),
            "requests": [*others, entry],
        }
    )


def _print_accuracy(costs: CostModel, work: Sequence[Planned], results: Results) -> None:
    """Print how good the estimate was; the next one is calibrated by these rows."""
    rows, _ = results.read_rows(["trial_id", "status", "train_seconds", "probe_seconds"])
    found = costs.accuracy(work, rows)
    if found is not None:
        print(
            f"{found.trials} trained trials took {duration(found.took)} of trial time, {duration(found.expected)} were "
            f"estimated (half of the trials within a factor of {found.typical_factor:.1f})"
        )


def _print_failures(progress: Progress, results: Results) -> None:
    for trial_id, reason in progress.failures.items():
        print(f"failed: {progress.labels[trial_id]}: {reason} (log: {results.location}/logs/{trial_id}.txt)")


def _write_report(results: Results) -> None:
    from analysis.report import ReportError, write_report

    try:
        print(f"report: {write_report(results.location)}")
    except ReportError as error:
        raise InputError(str(error)) from error


if __name__ == "__main__":
    sys.exit(main())
