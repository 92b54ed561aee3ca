"""What Ray Tune adds to a trial: no-op trials, with our settings against Tune's defaults, in one run.

python -m benchmarks.trial_overhead [TRIALS]
"""

from __future__ import annotations

import sys
import tempfile
import time

from study import tuning  # sets Tune's environment before ray is imported

import ray  # isort: skip
from ray import tune  # isort: skip


def nothing(config: dict[str, int]) -> None:
    """A trial that imports what ours imports, and reports once."""
    import study.execute  # noqa: F401

    tune.report({"done": 1})


def seconds_per_trial(trials: int, *, reuse: bool) -> float:
    """Wall-clock seconds a trial, workers' start included."""
    with tempfile.TemporaryDirectory() as storage:
        started = time.perf_counter()
        tune.Tuner(
            tune.with_resources(nothing, {"cpu": 1}),
            param_space={"i": tune.grid_search(list(range(trials)))},
            tune_config=tune.TuneConfig(reuse_actors=reuse),
            run_config=tune.RunConfig(storage_path=storage, verbose=0),
        ).fit()
        return (time.perf_counter() - started) / trials


def main() -> None:
    """Print both figures and their ratio."""
    trials = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    started = time.perf_counter()
    tuning.connect(None)
    print(f"Ray's start: {time.perf_counter() - started:.1f} s; {ray.cluster_resources().get('CPU', 0):g} CPUs")
    ours = seconds_per_trial(trials, reuse=True)
    default = seconds_per_trial(trials, reuse=False)
    print(f"{trials} no-op trials: {ours:.2f} s a trial reusing workers, {default:.2f} s not: {default / ours:.1f}x")
    tuning.disconnect()


if __name__ == "__main__":
    main()
