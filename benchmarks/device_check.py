"""The first minutes on a GPU: its tests, the goals of speed, then full-size trials of paper A, in one command.

    python -m benchmarks.device_check --out DIR [--minutes 8] [--device cuda] [-- TRIAL OPTION ...]

1. tests: `pytest -m gpu`, for at most 120 seconds;
2. goals: every row of `python -m benchmarks.gpu`, each for at most 75 seconds;
3. trials: for the rest of the time `python -m benchmarks.device_trials` with the trial options, by default all regimes
   of MNIST with m1_20, large batches first, 27 networks together.

The tests, each goal and the trials are processes of their own with a time limit, so one that fails, hangs or breaks
the GPU costs only itself. --out receives two files: log.txt (the machine, and the output of each part, how it ended and
its seconds) and rows.parquet with every finished trial, for `python -m analysis.report`. The trials' results folder,
which has the weights too, is temporary; --results names one to keep, and to go on with when it is given again.
--device cpu tries it all without a GPU, with small trials.

On a bare machine it needs a checkout, Python 3.12, torch 2.11, numpy, pyarrow, safetensors and rich; for the tests also
pytest, hypothesis and scikit-learn, for the goal `attack` torchattacks; never ray. To carry packages that it lacks:

    pip download --no-deps --only-binary :all: --python-version 3.12 --platform manylinux_2_28_x86_64 \\
        -d wheels torchattacks
    # there, beside the checkout:
    python -m pip install --no-index --no-deps --target site wheels/*.whl
    export PYTHONPATH=$PWD/site STUDY_DATA_DIR=$PWD/data STUDY_COMMIT=...

data/ holds MNIST/raw with the four published files, as .gz or unpacked. STUDY_COMMIT is named in the rows where there
is no git to tell.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from benchmarks.gpu import ROWS
from benchmarks.row import machine
from study import pack

CHECKOUT = Path(__file__).resolve().parents[1]
TEST_SECONDS, GOAL_SECONDS = 120.0, 75.0
SECONDS_TO_END = 5.0
"""Of a part that was interrupted."""

SHARES_OF_TRIALS = 3
"""The trials have the time of so many goals at least."""

FULL_SIZE = (
    *("--grid", "natural_training", "--epsilons", ".1", "--select", "dataset=mnist", "model=m1_20"),
    *("--replicas", "27"),
)
"""27 is the size of most groups. Otherwise each is measured first, while other processes use the GPU to probe."""
SMALL = ("--grid", "smoke", "--select", "batch_size=128", "--seeds", "0-2", "--epochs", "1", "--probes", "headline")


def run(out: Path, name: str, arguments: Sequence[str], seconds: float) -> bool:
    """Run `python ARGUMENTS` from the checkout for at most so many seconds; OUT/log.txt gets its output and its end.

    When its time is up it is interrupted first, so that pytest still says what failed. Returns whether it ended well.
    """
    started, log = time.monotonic(), out / "log.txt"
    with log.open("a", encoding="utf-8") as output:
        print(f"\n--- {name}", file=output, flush=True)
        begun = log.stat().st_size
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in a shell's background job; a child would inherit it
            signal.signal(signal.SIGINT, signal.default_int_handler)
        process = subprocess.Popen(
            [sys.executable, "-u", *arguments],
            cwd=CHECKOUT,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status = process.wait(max(seconds, 0))
            outcome = f"failed with exit status {status}" if status else "ok"
        except subprocess.TimeoutExpired:
            outcome = f"stopped after {max(seconds, 0):.0f} s"
            os.killpg(process.pid, signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(SECONDS_TO_END)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)  # with the processes that it started
                process.wait()
    line = f"{name}: {outcome} ({time.monotonic() - started:.0f} s)"
    written = log.read_bytes()[begun:].decode("utf-8", errors="replace")
    print(line, *written.splitlines()[-3:], sep="\n    ", flush=True)
    with log.open("a", encoding="utf-8") as output:
        print(f"--- {line}", file=output)
    return outcome == "ok"


def files_with_gpu_tests() -> list[str]:
    """Test files with a test marked `gpu`; the others may need packages that a bare machine lacks."""
    files = sorted((CHECKOUT / "tests").rglob("test_*.py"))
    return [str(path) for path in files if "mark.gpu" in path.read_text(encoding="utf-8")]


def main() -> int:
    """Run the check; returns the exit status, 1 if a test or a goal failed."""
    command = argparse.ArgumentParser(
        prog="python -m benchmarks.device_check",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("--minutes", type=float, default=8.0, help="of the whole check; default %(default)s")
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help="for log.txt and rows.parquet")
    command.add_argument("--results", type=Path, metavar="DIR", help="results folder of the trials; default: temporary")
    command.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="default %(default)s")
    command.add_argument(
        "trials", nargs="*", metavar="TRIAL OPTION", help="those of benchmarks.device_trials, after --"
    )
    options = command.parse_args()
    on_gpu = options.device == "cuda"
    if not on_gpu:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    out, end = options.out.absolute(), time.monotonic() + 60 * options.minutes
    out.mkdir(parents=True, exist_ok=True)
    (out / "log.txt").write_text(f"{machine()}\n", encoding="utf-8")

    tests = ["-m", "pytest", "-vv", "-m", "gpu", "-p", "no:cacheprovider", "--continue-on-collection-errors"]
    limit = min(TEST_SECONDS, (end - time.monotonic()) / 4)
    ended_well = [run(out, "tests", [*tests, "--durations=5", *files_with_gpu_tests()], limit)]
    data_dir = os.environ.get("STUDY_DATA_DIR")
    of_goal = ["--device", options.device, *(["--data-dir", data_dir] if data_dir else [])]
    goals = [name for name in ROWS if on_gpu or name != "tf32"]
    for number, name in enumerate(goals):
        limit = min(GOAL_SECONDS, (end - time.monotonic()) / (len(goals) - number + SHARES_OF_TRIALS))
        ended_well.append(run(out, f"goal_{name}", ["-m", "benchmarks.gpu", name, *of_goal], limit))
    trials = options.trials or (FULL_SIZE if on_gpu else SMALL)
    with tempfile.TemporaryDirectory() as temporary:
        results = (options.results or Path(temporary)).absolute()
        limit = end - time.monotonic() - SECONDS_TO_END - 5
        run(out, "trials", ["-m", "benchmarks.device_trials", *trials, "--results", str(results)], limit)
        if any(results.glob("trials/*.parquet")):
            pack.main([str(results), str(out / "rows.parquet")])
    return int(not all(ended_well))


if __name__ == "__main__":
    sys.exit(main())
