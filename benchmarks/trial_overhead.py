"""What Ray Tune adds to a trial: no-op trials with our settings and with Tune's defaults, in one run.

python -m benchmarks.trial_overhead [TRIALS]
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator

from benchmarks.row import HEADER, Row
from study.tuning.cluster import connected  # sets Tune's environment before ray is imported

from ray import tune  # isort: skip


def nothing(config: dict[str, int]) -> None:
    """A trial that imports what ours imports, and reports once."""
    import study.trials.execute  # noqa: F401

    tune.report({"done": 1})


def seconds_per_trial(trials: int, *, reuse: bool) -> float:
    """Wall-clock seconds a trial, workers' start included."""
    with tempfile.TemporaryDirectory() as storage:
        started = time.perf_counter()
        grid = tune.Tuner(
            tune.with_resources(nothing, {"cpu": 1}),
            param_space={"i": tune.grid_search(list(range(trials)))},
            tune_config=tune.TuneConfig(reuse_actors=reuse),
            run_config=tune.RunConfig(storage_path=storage, verbose=0),
        ).fit()
        if len(grid) != trials or grid.errors:
            raise SystemExit(f"{len(grid.errors)} of {trials} no-op trials failed: the ratio says nothing")
        return (time.perf_counter() - started) / trials


def rows(trials: int = 40) -> Iterator[Row]:
    """One row: seconds a trial."""
    with connected(None):
        ours, theirs = seconds_per_trial(trials, reuse=True), seconds_per_trial(trials, reuse=False)
    work = f"{trials} no-op trials, seconds a trial"
    yield Row("Ray's overhead", work, "Tune's default settings", [ours], [theirs], "every trial reported")


def main() -> None:
    """Print the row."""
    print(HEADER)
    for row in rows(*map(int, sys.argv[1:2])):
        print(row)


if __name__ == "__main__":
    main()
