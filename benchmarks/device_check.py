"""The first minutes on a GPU: its tests, the goals of speed, then full-size trials of paper A, in one command.

    python -m benchmarks.device_check --minutes 8 --out DIR [--data-dir DIR] [--commit SHA]

1. tests: `pytest -m gpu`, for at most 90 seconds;
2. goals: every row of `python -m benchmarks.gpu`;
3. trials: for the rest of the time, all regimes of MNIST with m1_20 at batch 1024, trained together and then probed one
   by one; next smaller batches, Fashion-MNIST, then stdcnn (`python -m benchmarks.device_trials`).

The tests, each goal and the trials are processes of their own with a time limit, so one that fails, hangs or breaks
the GPU costs only itself. --out receives log.txt (the machine, how each part ended and its seconds), the output of each
part in a file of its own, and results.tar.gz: a results folder with every finished row, and weights up to 16 MiB.
`tar -xzf results.tar.gz && python -m analysis.report paper_a` makes its report. --device cpu tries it all without a
GPU, with small trials.

On a bare machine it needs a checkout, Python 3.12, torch 2.11, numpy and pyarrow; for the tests also pytest and
scikit-learn, for the goal `attack` torchattacks; never ray. A part whose package is missing says so. To carry packages:

    pip download --no-deps --only-binary :all: --python-version 3.12 --platform manylinux_2_28_x86_64 \\
        -d wheels pyarrow pytest iniconfig pluggy torchattacks
    # there, beside the checkout:
    python -m pip install --no-index --no-deps --target site wheels/*.whl
    export PYTHONPATH=$PWD/site STUDY_DATA_DIR=$PWD/data

data/ holds MNIST/raw and FashionMNIST/raw, each with the four original .gz files (12 and 30 MB). Without MNIST the
trials are those of the smoke grid.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.device_trials import write_archive
from benchmarks.gpu import ROWS
from benchmarks.row import machine

CHECKOUT = Path(__file__).resolve().parents[1]
PARTS = ("tests", "goals", "trials")
TEST_SECONDS, GOAL_SECONDS = 90.0, 75.0


def run(out: Path, name: str, arguments: Sequence[str], seconds: float) -> bool:
    """Run `python ARGUMENTS` from the checkout for at most so many seconds, its output in OUT/NAME.txt.

    A line in OUT/log.txt says how it ended. Returns whether it ended well.
    """
    started, text = time.monotonic(), out / f"{name}.txt"
    with text.open("w", encoding="utf-8") as output:
        try:
            status = subprocess.run(
                [sys.executable, "-u", *arguments],
                cwd=CHECKOUT,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=max(seconds, 0),
            ).returncode
            outcome = f"failed with exit status {status}" if status else "ok"
        except subprocess.TimeoutExpired:
            outcome = f"stopped after {max(seconds, 0):.0f} s"
    line = f"{name}: {outcome} ({time.monotonic() - started:.0f} s)"
    print(line, *text.read_text(encoding="utf-8", errors="replace").splitlines()[-3:], sep="\n    ", flush=True)
    with (out / "log.txt").open("a", encoding="utf-8") as log:
        print(line, file=log)
    return outcome == "ok"


def files_with_gpu_tests() -> list[str]:
    """Test files with a test marked `gpu`; the others may need packages that a bare machine lacks."""
    files = sorted((CHECKOUT / "tests").rglob("test_*.py"))
    return [str(path) for path in files if "mark.gpu" in path.read_text(encoding="utf-8")]


def main() -> int:
    """Run the check; returns the exit status, 1 if a part did not end well."""
    command = argparse.ArgumentParser(
        prog="python -m benchmarks.device_check",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("--minutes", type=float, default=8.0, help="of the whole check; default %(default)s")
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help="for log.txt and results.tar.gz")
    command.add_argument("--data-dir", default=os.environ.get("STUDY_DATA_DIR"), help="default $STUDY_DATA_DIR")
    command.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="default %(default)s")
    command.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="default all")
    command.add_argument("--commit", help="named in the rows, where there is no git to tell")
    command.add_argument(
        "--work",
        type=Path,
        metavar="DIR",
        help="the results folder that grows; default: OUT_work/paper_a, beside --out",
    )
    options = command.parse_args()
    out = options.out.absolute()
    work = (options.work or out.with_name(f"{out.name}_work") / "paper_a").absolute()
    data = ["--data-dir", str(Path(options.data_dir).absolute())] if options.data_dir else []
    out.mkdir(parents=True, exist_ok=True)
    here = ", ".join(f"{name} {value}" for name, value in machine().items())
    (out / "log.txt").write_text(f"{here}\n", encoding="utf-8")
    end: float = time.monotonic() + 60 * options.minutes
    ended_well = list[bool]()

    def left() -> float:
        return end - time.monotonic()

    if "tests" in options.parts:
        arguments = ["-m", "pytest", "-m", "gpu", "-p", "no:cacheprovider", "--continue-on-collection-errors"]
        limit = min(TEST_SECONDS, left() / 5)
        ended_well.append(run(out, "tests", [*arguments, "--durations=5", *files_with_gpu_tests()], limit))
    names = [name for name in ROWS if options.device == "cuda" or name != "tf32"] if "goals" in options.parts else []
    for number, name in enumerate(names):
        arguments = ["-m", "benchmarks.gpu", name, "--device", options.device, *data]
        shares = len(names) - number + 3  # the trials have three at least
        limit = min(GOAL_SECONDS, left() / shares)
        ended_well.append(run(out, f"goal_{name}", arguments, limit))
    if "trials" in options.parts:
        arguments = ["-m", "benchmarks.device_trials", "--out", str(out), "--results", str(work), *data]
        arguments += ["--device", options.device, *(["--commit", options.commit] if options.commit else [])]
        seconds = left() - 3
        ended_well.append(run(out, "trials", [*arguments, "--seconds", f"{seconds - 5:.0f}"], seconds))
        if work.is_dir():  # also where the trials were stopped before they wrote it
            write_archive(work, out / "results.tar.gz")
    return int(not all(ended_well))


if __name__ == "__main__":
    sys.exit(main())
