"""Every benchmark as one table: python -m benchmarks [GROUP ...] [--data-dir DIR].

Each figure is a ratio against a named peer on the same work in the same run, the median of several pairs, and is
printed only after both sides were found to do the same. Most groups are also commands of their own with more options:
python -m benchmarks.GROUP --help.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator

import torch

from benchmarks.row import HEADER, Row, machine, parser

GROUPS = ("training", "attacks", "curvature", "report", "gpu")


def group_rows(group: str, data_dir: str | None) -> Iterator[Row]:
    """The rows of one group. Its module, and with it its peers, is imported only when the group is asked for."""
    if group == "gpu" and not torch.cuda.is_available():
        print("gpu: torch sees no GPU here", file=sys.stderr)
        return
    module = importlib.import_module(f"benchmarks.{group}")
    yield from module.rows(data_dir=data_dir) if group in ("curvature", "gpu") else module.rows()


def main() -> int:
    """Print the table; returns the exit status, 1 if a group failed or found that its sides differ."""
    command = parser(__doc__, "GROUP", GROUPS)
    command.prog = "python -m benchmarks"
    command.add_argument("--data-dir", default=os.environ.get("STUDY_DATA_DIR"), help="default $STUDY_DATA_DIR")
    options = command.parse_args()
    torch.set_num_threads(1)  # a trial owns one CPU unless told otherwise
    print(machine(), HEADER, sep="\n")
    status = 0
    for group in options.names or GROUPS:
        try:
            for row in group_rows(group, options.data_dir):
                print(row, flush=True)
        except (Exception, SystemExit) as error:
            print(f"{group}: {type(error).__name__}: {error}", file=sys.stderr)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
