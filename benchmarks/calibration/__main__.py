"""How often the analysis is right on simulated studies: the tables of docs/calibration_tables.md.

python -m benchmarks.calibration [PART ...] [--scale SHARE] > docs/calibration_tables.md

The parts are verdicts, counterexamples, coverage, sequential and power; all by default, about six minutes of one core
without sequential.
`--scale 0.1` runs a tenth of the simulations. Every line has a seed of its own, so it does not depend on the lines
before it. Rates are in percent.
"""

from __future__ import annotations

import sys
import time

from benchmarks.calibration import tables
from benchmarks.row import parser

TITLES = {
    "verdicts": "Wrong verdicts",
    "counterexamples": "False confirmations: families without a counterexample",
    "coverage": "Coverage: how often an interval covers the true value",
    "sequential": "Repeated testing: errors over four stages",
    "power": "Power: how often simulated effects are found",
}
PARTS = {name: getattr(tables, name) for name in TITLES}


def main() -> None:
    """Print the parts that were asked for, and on the standard error what they took."""
    command = parser(__doc__, "PART", PARTS)
    command.add_argument("--scale", type=float, default=1.0, help="share of the simulations to run")
    options = command.parse_args()
    print("# Calibration: the tables")
    print("\nWritten by `python -m benchmarks.calibration`; [calibration.md](calibration.md) says what they mean.")
    for name in options.names or PARTS:
        started = time.process_time()
        print(f"\n## {TITLES[name]}\n")
        for line in PARTS[name](options.scale):
            print(line, flush=True)
        print(f"{name}: {time.process_time() - started:.0f} CPU seconds", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
