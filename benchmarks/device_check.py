"""The first minutes on a GPU: its tests, the goals of speed, then full-size trials of paper A, in one command.

    python -m benchmarks.device_check --minutes 8 --out DIR [--data-dir DIR] [--commit SHA]

1. tests: `pytest -m gpu`, for at most 90 seconds;
2. goals: every row of `python -m benchmarks.gpu`;
3. trials: for the rest of the time, all regimes of MNIST with m1_20 at batch 1024, trained together and then probed one
   by one; next smaller batches, Fashion-MNIST, then stdcnn (`python -m benchmarks.device_trials`).

The tests, each goal and the trials are processes of their own with a time limit, so one that fails, hangs or breaks
the GPU costs only itself. --out receives log.json (each part with its seconds, exit status and last lines), the whole
output of each part, and results.tar.gz: a results folder with every finished row, and weights up to 16 MiB.
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
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

from benchmarks.device_trials import write_archive
from benchmarks.gpu import ROWS
from benchmarks.row import machine

CHECKOUT = Path(__file__).resolve().parents[1]

TEST_SECONDS = 90.0
TEST_SHARE = 0.2
GOAL_SECONDS = 75.0
GOALS_END = 0.5
"""Tests take at most a fifth of the time, a goal at most GOAL_SECONDS or twice its part of the time that goals have;
after half of the time the trials begin."""

LINES_LOGGED = 40

PARTS = ("tests", "goals", "trials")


@dataclass(frozen=True)
class Part:
    """One process of the check.

    Attributes:
        part: its name; DIR/NAME.txt holds its output.
        seconds: how long it ran.
        outcome: "ok", "failed with exit status N", "stopped after N s", or why it was not started.
        output: its last lines.
    """

    part: str
    seconds: float
    outcome: str
    output: list[str]


class DeviceCheck:
    """Runs parts one after the other until the deadline, and stores the log after each."""

    def __init__(self, out: Path, minutes: float) -> None:
        self._started, self._whole = time.monotonic(), 60 * minutes
        self._out, self.parts = out, list[Part]()
        out.mkdir(parents=True, exist_ok=True)
        self._machine = machine()

    def left(self, share: float = 1.0) -> float:
        """Seconds until this share of the whole time is over."""
        return share * self._whole - (time.monotonic() - self._started)

    def run(self, name: str, arguments: Sequence[str], seconds: float) -> None:
        """Run `python ARGUMENTS` from the checkout for at most so many seconds; it is then killed."""
        if seconds < 1:
            self.note(name, "not started: no time left")
            return
        started, text = time.monotonic(), self._out / f"{name}.txt"
        with text.open("w", encoding="utf-8") as output:
            try:
                environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
                status = subprocess.run(
                    [sys.executable, *arguments],
                    cwd=CHECKOUT,
                    env=environment,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    timeout=seconds,
                ).returncode
                outcome = f"failed with exit status {status}" if status else "ok"
            except subprocess.TimeoutExpired:
                outcome = f"stopped after {seconds:.0f} s"
        lines = text.read_text(encoding="utf-8", errors="replace").splitlines()
        self.note(name, outcome, lines[-LINES_LOGGED:], time.monotonic() - started)

    def note(self, name: str, outcome: str, output: Sequence[str] = (), seconds: float = 0.0) -> None:
        """Add a part to the log and print it."""
        self.parts.append(Part(name, round(seconds, 1), outcome, list(output)))
        content = {
            "machine": self._machine,
            "seconds": round(time.monotonic() - self._started, 1),
            "parts": [asdict(part) for part in self.parts],
        }
        (self._out / "log.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        print(f"{name}: {outcome} ({seconds:.0f} s)", *output[-3:], sep="\n    ", flush=True)


def files_with_gpu_tests() -> list[str]:
    """Test files with a test marked `gpu`; the others may need packages that a bare machine lacks."""
    files = sorted((CHECKOUT / "tests").rglob("test_*.py"))
    return [str(path) for path in files if "mark.gpu" in path.read_text(encoding="utf-8")]


def run_tests(check: DeviceCheck) -> None:
    """The tests marked `gpu`, in one process."""
    if find_spec("pytest") is None:
        check.note("tests", "not started: pytest is not installed")
        return
    options = ["-m", "gpu", "-p", "no:cacheprovider", "--continue-on-collection-errors", "--durations=5"]
    arguments = ["-m", "pytest", *options, *files_with_gpu_tests()]
    check.run("tests", arguments, min(TEST_SECONDS, check.left(TEST_SHARE)))


def run_goals(check: DeviceCheck, device: str, data: Sequence[str]) -> None:
    """Each row of the GPU benchmark, in a process of its own."""
    names = [name for name in ROWS if device == "cuda" or name != "tf32"]
    for number, name in enumerate(names):
        arguments = ["-m", "benchmarks.gpu", name, "--device", device, *data]
        fair = 2 * check.left(GOALS_END) / (len(names) - number)  # so that a slow one leaves time for the others
        check.run(f"goal_{name}", arguments, min(GOAL_SECONDS, fair, check.left(GOALS_END)))


def run_trials(check: DeviceCheck, out: Path, work: Path, device: str, data: Sequence[str], commit: str | None) -> None:
    """The trials, until the deadline."""
    arguments = ["-m", "benchmarks.device_trials", "--out", str(out), "--results", str(work), "--device", device, *data]
    arguments += ["--commit", commit] if commit else []
    seconds = check.left() - 3
    check.run("trials", [*arguments, "--seconds", f"{seconds - 5:.0f}"], seconds)
    if work.is_dir():  # also where the trials were stopped before they wrote it
        write_archive(work, out / "results.tar.gz")


def main() -> int:
    """Run the check; returns the exit status, 1 if a part did not end with "ok"."""
    command = argparse.ArgumentParser(
        prog="python -m benchmarks.device_check",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("--minutes", type=float, default=8.0, help="of the whole check; default %(default)s")
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help="for log.json and results.tar.gz")
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
    check = DeviceCheck(out, options.minutes)
    if "tests" in options.parts:
        run_tests(check)
    if "goals" in options.parts:
        run_goals(check, options.device, data)
    if "trials" in options.parts:
        run_trials(check, out, work, options.device, data, options.commit)
    return int(any(part.outcome != "ok" for part in check.parts))


if __name__ == "__main__":
    sys.exit(main())
