"""The command line: `python -m study.run --grid NAME` runs what is left to do of a grid and writes the report."""

from __future__ import annotations

import io
import os
import shutil
import sys
import textwrap
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from search_spaces import Grid, GridError, Planned, Request, plan
from search_spaces.outside import is_file
from study import checks, dry_run, options
from study.results.folder import RecordsError, Results
from study.results.requests import with_request
from study.results.run_lock import ResultsInUseError, RunLock, running_command
from study.results.schema import Row
from study.trials import pending
from study.tuning.costs import CostModel
from study.tuning.cpus import usable_cpus
from study.tuning.ends import (
    BROKEN_PIPE,
    LOST_RAY,
    TERMINATED,
    handle_sigterm,
    ignore_interrupts,
    terminated,
    watch_for_sigterm,
)
from study.tuning.progress import Progress
from study.tuning.settings import ClusterError, RayStartError, RunSettings, TrackerError

if TYPE_CHECKING:
    from study.trials.outside import Outside
    from study.tuning.trackers import Trackers
    from study.tuning.tuner import Data
    from study.until_decided import Schedule, Stage

OK, SOME_FAILED, BAD_INPUT = 0, 1, 2
IN_USE = 4
INTERRUPTED = 130  # 128 and the signal's number, as shells say it


SHOWN = 5
"""Files that cannot be read, and trials that failed, are named up to this number, then counted."""

REAL = {"smoke": "mnist_quick"}
"""Grid -> the grid that a newcomer may want next, on real images."""

MORE_SEEDS = (5, 8)
"""Numbers of seeds that confirm most counterexamples, and nearly all (docs/calibration.md)."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a grid and return the exit status.

    0: all answered; 1: some trials failed; 2: bad input (one line says what is valid); 4: another command runs on these
    results; 130, 143: interrupted by Ctrl-C or SIGTERM; 141: nobody reads the output. If Ray does not start or a
    process of it dies, this one exits with 3.
    """
    handle_sigterm()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal of another encoding shows \\u03b5 for ε
    argv = sys.argv[1:] if argv is None else argv
    parser = options.parser()
    for argument in argv:
        if argument.startswith("--") and argument.endswith("=--"):  # argparse gives an empty list for it
            parser.error(f"argument {argument.removesuffix('=--')}: expected one argument")
    arguments = parser.parse_args(argv)
    command = None
    try:
        if arguments.list:
            from study import listing  # importing torch takes seconds

            listing.print_all(shutil.get_terminal_size().columns if sys.stdout.isatty() else None)
            sys.stdout.flush()
            return OK
        command = Command.of(argv, arguments)
        if arguments.dry_run:
            command.print_dry_run()
            sys.stdout.flush()
            return OK
        failures, more = command.run()
        written = arguments.no_report or command.write_report(again=bool(failures) or more)
        sys.stdout.flush()
    except KeyboardInterrupt:
        ignore_interrupts()
        print("\ninterrupted; finished trials are stored. Give the same command again to continue.", file=sys.stderr)
        return TERMINATED if terminated() else INTERRUPTED
    except ResultsInUseError as error:
        print(f"study.run: {error}", file=sys.stderr)
        return IN_USE
    except RayStartError as error:
        print(f"study.run: {error}", file=sys.stderr)
        return LOST_RAY
    except (GridError, RecordsError, options.OptionError, ClusterError, TrackerError, checks.InputError) as error:
        print(f"study.run: {error}", file=sys.stderr)
        return BAD_INPUT
    except BrokenPipeError:  # of `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains at its end
        return BROKEN_PIPE
    except OSError as error:
        if command is None:  # a path of the options cannot be read
            print(f"study.run: {error}", file=sys.stderr)
            return BAD_INPUT
        print(f"study.run: {error}; finished trials are stored, fix this and run again", file=sys.stderr)
        return SOME_FAILED
    return SOME_FAILED if failures or not written else OK


class Left(NamedTuple):
    """The rows of a grid that are stored, the trials that they leave to do, and what these cost."""

    rows: list[Row]
    work: list[Planned]
    costs: CostModel


@dataclass(frozen=True)
class Command:
    """A command that can be run: its options were checked, and its results can be reached.

    Attributes:
        argv: its options as they were given.
        arguments: these, parsed.
        settings: how trials run.
        request: what to run.
        grid: the trials of the request.
        results: where rows go.
        outside: a study file, a model and images that were brought.
        looks: the plan of `--until-decided`.
    """

    argv: Sequence[str]
    arguments: Namespace
    settings: RunSettings
    request: Request
    grid: Grid
    results: Results
    outside: Outside | None
    looks: dict[str, Any] | None

    @classmethod
    def of(cls, argv: Sequence[str], arguments: Namespace) -> Command:
        """Check everything that can be checked before rows are read."""
        request, settings = options.request(arguments), options.run_settings(arguments)
        outside = looks = None
        if is_file(arguments.grid) or request.model or request.dataset:
            from study.trials.outside import bring, sized, with_sources  # importing torch takes seconds

            outside = bring(arguments.grid, request.model, request.dataset, checks.data_folder(arguments.data_dir))
            request = sized(request)
        sequential = arguments.until_decided is not None
        if sequential:
            from study import until_decided  # importing the analysis takes a second

            request = until_decided.requested(request, arguments.max_seeds)
        try:
            grid = plan(request)
        except ValueError as error:  # no such choice, or a trial that cannot exist
            raise checks.InputError(str(error)) from error
        results = Results(arguments.results or f"results/{request.grid.removesuffix('.py')}")
        results.exists()  # refuses a store that cannot be reached
        checks.check_place(results)
        checks.check_networks(grid)
        if outside:
            outside = with_sources(outside)
        checks.check_sizes(grid)
        if sequential:
            looks = until_decided.plan(request, grid, arguments.until_decided)
        return cls(argv, arguments, settings, request, grid, results, outside, looks)

    def left(self, timed: Mapping[str, float] | None = None) -> Left:
        """What is left to do by the rows that are stored now; a model that nobody has measured is timed, once."""
        rows = _read_rows(self.results, self.grid)
        weights = self.results.trials_with_weights()
        work = pending.pending_with_parents(self.grid, rows, weights)
        if not (work or self.arguments.dry_run):
            return Left(rows, work, CostModel())
        if timed is None:
            from study.tuning.timing import time_unknown  # importing torch takes seconds

            known = CostModel(self.grid, rows, weights=weights)
            timed = time_unknown(work, known, self.outside.datasets if self.outside else ())
        return Left(rows, work, CostModel(self.grid, rows, timed, weights))

    def run(self) -> tuple[dict[str, str], bool]:
        """Train and probe what is left; returns as `train`."""
        self.results.create()
        with RunLock(self.results):
            left = self.left()  # only under the lock: another command may just have written some
            sequence, nothing = None, ""
            if not left.work:
                every = f"all {len(self.grid)} trials of grid {self.request.grid!r}"
                nothing = f"{every} are answered already: nothing to do"
            elif self.looks:
                from study import until_decided

                sequence = self.sequence(left)
                nothing = "" if sequence[1] else until_decided.ENDED
            if nothing:
                _record_request(self.results, self.request, self.argv, self.outside, self.looks)
                print(nothing)
                return {}, False
            from study.tuning.trackers import Trackers  # importing torch takes seconds

            most, count = "at most " if self.looks else "", f"{len(left.work)} of {len(self.grid)}"
            print(f"{most}{count} trials to run, results in {self.results.location}", flush=True)
            self._print_tracking(left)
            with Trackers(self.settings.trackers, self.results) as trackers:
                folder = checks.data_folder(self.arguments.data_dir)
                if missing := checks.missing_data(left.work, folder):
                    print(f"downloading {', '.join(missing)} to {folder}", flush=True)
                data = checks.load_data(left.work, self.arguments.data_dir, left.rows)
                _record_request(self.results, self.request, self.argv, self.outside, self.looks)
                return self.train(left, sequence, data, trackers)

    def sequence(self, left: Left) -> tuple[Schedule, list[Stage]]:
        """The schedule of `--until-decided`, and its next stages by what was found so far."""
        from analysis.tables.table import load
        from study.until_decided import Schedule

        assert self.looks
        schedule = Schedule(self.grid, self.looks["claims"])
        study = with_request(self.results.read_study(), self.request, options.command(self.argv), self.looks)
        return schedule, schedule.stages(load(self.results.location, study=study), left.work, left.costs)

    def train(
        self, left: Left, sequence: tuple[Schedule, list[Stage]] | None, data: Data, trackers: Trackers
    ) -> tuple[dict[str, str], bool]:
        """Train what is left, or stage after stage of a schedule, whose first stages are given.

        Returns:
            Why trials failed, and whether the time was up before a schedule's end.
        """
        from study.tuning import cluster, gpu_shares, tuner  # importing ray takes seconds

        failures, results, outside = dict[str, str](), self.results, self.outside

        def unanswered() -> tuple[list[Planned], CostModel]:
            _, work, costs = self.left(left.costs.timed)
            return work, costs

        def train(work: Sequence[Planned], costs: CostModel) -> list[str]:
            progress = tuner.run_study(
                work, references, results,
                settings=settings, costs=costs, trackers=trackers, outside=outside,
            )  # fmt: skip
            _print_failures(progress, results)
            failures.update(progress.failures)
            return list(progress.failures)

        with cluster.connected(self.arguments.address):
            settings = cluster.decide_gpus(self.settings)
            cluster.check_capacity(settings, {planned.trial.precision for planned in left.work})
            references = tuner.put(data)
            if sequence is None:
                train(left.work, left.costs)
                return failures, False
            from study import until_decided

            more = until_decided.run(
                *sequence,
                left.costs,
                results,
                unanswered=unanswered,
                train=train,
                slots=lambda: gpu_shares.slots(cluster.read_capacity(), settings),
                hours=self.arguments.hours,
            )
        return failures, more

    def print_dry_run(self) -> None:
        """Print what a run would do, after the checks that it makes."""
        left, grid = self.left(), self.grid
        folder = checks.data_folder(self.arguments.data_dir)
        missing = checks.missing_data(left.work, folder)
        here = [planned for planned in left.work if planned.trial.dataset not in missing]
        checks.load_data(here, self.arguments.data_dir, left.rows)
        local = (self.arguments.address or os.environ.get("RAY_ADDRESS") or "local") == "local"
        if local:
            checks.check_machine(self.settings, {planned.trial.precision for planned in left.work})
        settings = len({planned.trial.cell_id for planned in grid.values()})
        name, count = Path(self.arguments.grid).name, len(left.work)
        print(f"grid {name}: {len(grid)} trials in {settings} settings; results in {self.results.location}")
        probes_left = sum(len(planned.probes) for planned in left.work)
        print(f"finished: {len(grid) - count} trials; to run: {count} trials, {probes_left} measurements")
        for line in dry_run.lines(grid, left.work, left.costs, usable_cpus() if local else 1):
            print(line)
        self._print_tracking(left)
        if self.looks:
            from study import until_decided

            for line in until_decided.dry_run(*self.sequence(left)):
                print(line)
        if missing:
            _print_wrapped(f"a run downloads {', '.join(missing)} to {folder} first")
        if not local:
            print("the cluster's resources are checked when the run connects to it")
        if running := running_command(self.results):
            print(f"a command runs on these results now (process {running['pid']} on {running.get('host')})")

    def _print_tracking(self, left: Left) -> None:
        if self.settings.track:
            _print_wrapped(dry_run.tracking(left.work, left.costs, self.settings.track))

    def write_report(self, *, again: bool) -> bool:
        """Write the report; print what it found, what is undecided with the next command, and its path.

        Returns whether it could be written; if not, a line says why.
        """
        from analysis.output.conclusion import conclude
        from analysis.output.page.header import title
        from analysis.report import ReportError, write_report

        try:
            page, findings = write_report(self.results.location)
        except ReportError as error:
            print(f"study.run: {error}; the trials are stored, fix this and run again", file=sys.stderr)
            return False
        conclusion = conclude(findings.verdicts)
        following = _next_command(self.request, self.grid, self.argv, undecided=bool(conclusion.open), again=again)
        _print_wrapped(
            f"found: {title(findings)} ({conclusion.found})" if conclusion.decided else f"found: {conclusion.found}"
        )
        _print_wrapped(f"undecided: {conclusion.undecided}" + (f"; next: {following}" if following else ""))
        print(f"report: {page}")
        return True


def _read_rows(results: Results, grid: Grid) -> list[Row]:
    if not results.exists():
        return []
    results.read_study()  # refuses a damaged one, also in a dry run
    rows, unreadable = results.read_rows(pending.COLUMNS)
    newer = [file.name for file in unreadable if file.newer and Path(file.name).stem in grid]
    if newer:
        raise checks.InputError(
            f"a newer version of this program wrote {len(newer)} of these trials ({newer[0]}): use that version, or "
            "give another folder with --results"
        )
    for file in unreadable[:SHOWN]:
        print(f"skipped {file.name}: {file.reason}", file=sys.stderr)
    if len(unreadable) > SHOWN:
        print(f"skipped {len(unreadable) - SHOWN} more files in trials/", file=sys.stderr)
    checks.check_functions(grid, rows)
    return rows


def _record_request(
    results: Results,
    request: Request,
    argv: Sequence[str],
    outside: Outside | None,
    looks: dict[str, Any] | None = None,
) -> None:
    """Store what was requested in study.json, so that the report knows what is missing, and outside code as text."""
    if outside:
        results.write_sources(outside.sources)
    results.write_study(with_request(results.read_study(), request, options.command(argv), looks))


def _print_failures(progress: Progress, results: Results) -> None:
    for trial_id, reason in list(progress.failures.items())[:SHOWN]:
        print(f"failed: {progress.labels[trial_id]}: {reason} (log: {results.location}/logs/{trial_id}.txt)")
    if len(progress.failures) > SHOWN:
        print(f"failed: {len(progress.failures) - SHOWN} more; their logs are in {results.location}/logs")


def _print_wrapped(text: str) -> None:
    """Print a line, on a terminal between words in as many as it takes."""
    columns = shutil.get_terminal_size().columns
    print(textwrap.fill(text, columns, break_long_words=False, break_on_hyphens=False) if sys.stdout.isatty() else text)


def _next_command(request: Request, grid: Grid, argv: Sequence[str], *, undecided: bool, again: bool) -> str | None:
    """The command that decides more: the same `again`, then more seeds, real images, the rest of the grid.

    It has the places of this one: its data and cluster, and for trials of the same grid its results.
    """
    if again:
        return options.command(argv)
    sequential = any(option.partition("=")[0] == "--until-decided" for option in argv)
    seeds = {planned.trial.seed for planned in grid.values()}
    more = next((count for count in MORE_SEEDS if max(seeds) < count - 1), None)
    if undecided and more and not sequential:  # it has already added the seeds it considered worthwhile
        return options.command([*options.without(argv, "--seeds"), "--seeds", f"0-{more - 1}"])
    places = options.only(argv, "--data-dir", "--address")
    if request.grid in REAL and not (request.model or request.dataset):
        return options.command(["--grid", REAL[request.grid], *places])
    if sequential:
        return None
    brought = request.model or request.dataset or is_file(request.grid)
    if not brought and request != Request(request.grid, seeds=request.seeds):
        return options.command(["--grid", request.grid, *options.only(argv, "--results"), *places, "--dry-run"])
    return None


if __name__ == "__main__":
    watch_for_sigterm()
    sys.exit(main())
