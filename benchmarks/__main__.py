"""Every benchmark as one table: python -m benchmarks [GROUP ...] [--json FILE] [--data-dir DIR].

Each figure is a ratio against a named peer on the same work in the same run, the median of several pairs, and is
printed only after both sides were found to do the same. Each group is also a command of its own with more options:
python -m benchmarks.GROUP --help.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from benchmarks.row import HEADER, Row, machine


def _training(data_dir: str | None) -> Iterator[Row]:
    from benchmarks import training

    return training.rows()


def _attacks(data_dir: str | None) -> Iterator[Row]:
    from benchmarks import attacks

    return attacks.rows()


def _curvature(data_dir: str | None) -> Iterator[Row]:
    from benchmarks import curvature

    return curvature.rows(data_dir=data_dir)


def _input_curvature(data_dir: str | None) -> Iterator[Row]:
    from benchmarks import input_curvature

    return input_curvature.rows()


def _trial_overhead(data_dir: str | None) -> Iterator[Row]:
    from benchmarks import trial_overhead

    return trial_overhead.rows()


def _smoke(data_dir: str | None) -> Iterator[Row]:
    from benchmarks import smoke

    return smoke.rows()


def _report(data_dir: str | None) -> Iterator[Row]:
    from benchmarks import report

    return report.rows()


def _gpu(data_dir: str | None) -> Iterator[Row]:
    from benchmarks import gpu

    if torch.cuda.is_available():
        yield from gpu.rows()
    else:
        print("gpu: torch sees none here", file=sys.stderr)


GROUPS: dict[str, Callable[[str | None], Iterator[Row]]] = {
    "training": _training,
    "attacks": _attacks,
    "curvature": _curvature,
    "input_curvature": _input_curvature,
    "trial_overhead": _trial_overhead,
    "smoke": _smoke,
    "report": _report,
    "gpu": _gpu,
}
"""Group -> its rows, given the folder of real data; peers are imported when their group is asked for."""


def main() -> int:
    """Print the table; returns the exit status, 1 if a group found that the two sides differ."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"of {', '.join(GROUPS)}; default all")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the rows and the machine to FILE")
    parser.add_argument("--data-dir", default=os.environ.get("STUDY_DATA_DIR"), help="default $STUDY_DATA_DIR")
    options = parser.parse_args()
    if unknown := sorted(set(options.groups) - set(GROUPS)):
        parser.error(f"unknown group {', '.join(unknown)}; choose of {', '.join(GROUPS)}")
    torch.set_num_threads(1)  # a trial owns one CPU unless told otherwise
    measured_on = machine()
    print(", ".join(f"{name} {value}" for name, value in measured_on.items() if value is not None))
    print(HEADER)
    found, status = [], 0
    for group in options.groups or GROUPS:
        try:
            for row in GROUPS[group](options.data_dir):
                found.append(row)
                print(row, flush=True)
        except SystemExit as difference:
            print(f"{group}: {difference}", file=sys.stderr)
            status = 1
    if options.json:
        content = {"machine": measured_on, "rows": [row.to_dict() for row in found]}
        options.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return status


if __name__ == "__main__":
    sys.exit(main())
