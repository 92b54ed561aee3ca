"""The command line: `python -m study.run --grid NAME` runs what a grid still asks and writes the report."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search_spaces import Grid, GridError, Planned, Request, plan
from study import options
from study.results import provenance
from study.results.folder import RecordsError, Results
from study.results.run_lock import RunLock
from study.results.schema import Row
from study.trials import pending
from study.tuning.costs import CostModel
from study.tuning.gpu_shares import Peaks, known_peaks
from study.tuning.progress import Progress, clock
from study.tuning.resources import Resources

if TYPE_CHECKING:
    from study.data import Splits
    from study.trials.device_data import DataKey

OK, SOME_FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run a grid; returns 0: all answered, 1: some trials failed, 2: bad input (one line says what is valid)."""
    arguments = options.parser(__doc__, BAD_INPUT).parse_args(argv)
    try:
        request, resources = options.request(arguments), options.resources(arguments)
        grid = _plan(request)
        results = Results(arguments.results or f"results/{request.grid}")
        if arguments.dry_run:
            rows = _stored(results, update_cache=False)
            _print_dry_run(request, grid, pending.pending(grid, rows), CostModel(grid, rows), results)
            return OK
        results.create()
        with RunLock(results):
            rows = _stored(results, update_cache=True)  # only now: another command may just have written some
            work, costs = pending.pending(grid, rows), CostModel(grid, rows)
            study = results.read_study()
            data = _load(work, arguments.data_dir)
            _record_request(results, study, request, list(argv) if argv is not None else sys.argv[1:])
            peaks = known_peaks(grid, rows)
            failed = _run(work, costs, data, results, arguments.address, resources, peaks) if work else 0
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
    except (GridError, RecordsError, options.OptionError, _InputError) as error:
        print(f"study.run: {error}", file=sys.stderr)
        return BAD_INPUT
    except OSError as error:
        print(f"study.run: {error}; finished trials are stored, mend it and run again", file=sys.stderr)
        return SOME_FAILED
    return SOME_FAILED if failed else OK


class _InputError(Exception):
    """Data or a cluster that cannot be used as given."""


def _plan(request: Request) -> Grid:
    try:
        return plan(request)
    except GridError:
        raise
    except ValueError as error:  # a trial that no run can have
        raise GridError(str(error)) from error


def _stored(results: Results, *, update_cache: bool) -> list[Row]:
    if not results.exists():
        return []
    rows, unreadable = results.read_rows(pending.COLUMNS, update_cache=update_cache)
    for file in unreadable:
        print(f"left out {file.name}: {file.reason}", file=sys.stderr)
    return rows


def _record_request(results: Results, study: dict[str, Any], request: Request, argv: Sequence[str]) -> None:
    """Remember what was asked, so that the report knows what is missing."""
    told = request.to_dict().items()
    asked = [entry for entry in study.get("requests", []) if any(entry.get(name) != value for name, value in told)]
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
    print(f"estimated: {clock(total)} {_source(total, costs)}")


def _source(total: float, costs: CostModel) -> str:
    """What the estimate is in: hours of a core of the authors' machine, or of what the stored rows ran on."""
    if costs.devices and costs.devices != ["cpu"]:
        return f"of one trial at a time, as stored rows took on {' and '.join(costs.devices)}"
    source = "calibrated by stored rows" if costs.scale else "as measured on the authors' machine"
    return f"of one CPU core ({source}), {clock(total / _cores())} on this machine's cores"


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def label(planned: Planned) -> str:
    """A trial in a few words for people."""
    trial = planned.trial
    settings = (
        trial.dataset,
        trial.model,
        trial.optimizer if trial.optimizer != "sgd" else "",
        "+".join(planned.regimes),
        f"{trial.adversarial_training} training" if trial.adversarial_training != "none" else "",
        f"bs {trial.batch_size} m {trial.momentum:g}",
        f"wd {trial.weight_decay:g}" if trial.weight_decay else "",
        f"seed {trial.seed}",
    )
    return " ".join(setting for setting in settings if setting)


def _run(
    work: list[Planned],
    costs: CostModel,
    data: Mapping[DataKey, tuple[Splits, str]],
    results: Results,
    address: str | None,
    resources: Resources,
    peaks: Peaks,
) -> int:
    """Run the pending work; returns the number of failed trials."""
    from study.tuning import batched_training, tuner
    from study.tuning.cluster import ClusterError

    labels = {p.trial.trial_id: label(p) for p in work}
    print(f"{len(work)} trials to run, results in {results.location}", flush=True)
    try:
        tuner.connect(address)
        tuner.check_fit(resources, data, {planned.trial.precision for planned in work})
        together = batched_training.train_groups(work, costs, data, results, resources, labels=labels)
        now_known = costs.knowing(together)
        expected = {p.trial.trial_id: now_known.seconds(p) for p in work}
        progress = Progress(expected, labels)
        for trial_id, row in together.items():
            if row["status"] == "diverged":  # there is nothing to ask of it
                progress.finish(trial_id, row["status"], row)
        left = [planned for planned in work if planned.trial.trial_id not in progress.done]
        longest_first = sorted(left, key=lambda planned: -expected[planned.trial.trial_id])
        for generation in sorted({planned.trial.generation for planned in left}):  # parents before their children
            now = [planned for planned in longest_first if planned.trial.generation == generation]
            patience = {planned.trial.trial_id: costs.patience(planned) for planned in now}
            tuner.run_trials(now, data, results, progress, patience=patience, resources=resources, peaks=peaks)
    except ClusterError as error:
        raise _InputError(str(error)) from error
    finally:
        tuner.disconnect()
    _print_accuracy(costs, work, results)
    for trial_id, reason in progress.failures.items():
        print(f"failed: {progress.labels[trial_id]}: {reason} (log: {results.location}/logs/{trial_id}.txt)")
    return len(progress.failures)


def _print_accuracy(costs: CostModel, work: Sequence[Planned], results: Results) -> None:
    """Say how good the estimate was; the next one is calibrated by these rows."""
    rows, _ = results.read_rows(["trial_id", "status", "train_seconds", "probe_seconds"])
    found = costs.accuracy(work, rows)
    if found is not None:
        print(
            f"{found.trials} trained trials took {clock(found.took)} of trial time, {clock(found.expected)} were "
            f"estimated (half of the trials within a factor of {found.typical_factor:.1f})"
        )


def _load(work: Sequence[Planned], data_dir: str | None) -> dict[DataKey, tuple[Splits, str]]:
    """Every data set that the work needs, once, before any trial starts."""
    from study.data import DataError, load, split
    from study.trials.device_data import data_key

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
