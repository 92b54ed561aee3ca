"""False finds, coverage and power of the analysis on simulated studies: the tables of docs/calibration.md.

python -m benchmarks.calibration [false-finds] [coverage] [power] [--scale SHARE]

All three parts by default, about twenty-five minutes on a shared core; `--scale .1` runs a tenth of the simulations.
Every line has a seed of its own, so it does not depend on the lines before it. Rates come with their 95 %
Clopper-Pearson interval (false finds) or their binomial standard error.
"""

from __future__ import annotations

import time

from benchmarks.calibration import tables
from benchmarks.row import parser

PARTS = {"false-finds": tables.false_finds, "coverage": tables.coverage, "power": tables.power}


def main() -> None:
    """Print the parts that were asked for."""
    command = parser(__doc__, "PART", PARTS)
    command.add_argument("--scale", type=float, default=1.0, help="share of the simulations to run")
    options = command.parse_args()
    for name in options.names or PARTS:
        started = time.perf_counter()
        for line in PARTS[name](options.scale):
            print(line, flush=True)
        print(f"\n({name}: {time.perf_counter() - started:.0f} s)\n", flush=True)


if __name__ == "__main__":
    main()
