"""What the analysis does where the truth is known, as the tables of docs/calibration.md.

python -m benchmarks.calibration [false-finds] [coverage] [power] [--scale SHARE]

All three parts by default, about twenty-five minutes on a shared core; `--scale .1` takes a tenth of the simulations.
Every simulation has its own seed, so that a line does not depend on the lines before it. Rates come with their 95 %
Clopper-Pearson interval (false finds) or their binomial standard error.
"""

from __future__ import annotations

import argparse
import time

from benchmarks.calibration import tables

PARTS = {"false-finds": tables.false_finds, "coverage": tables.coverage, "power": tables.power}


def main() -> None:
    """Print the parts that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all by default")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the simulations to run")
    chosen = parser.parse_args()
    unknown = sorted(set(chosen.parts) - set(PARTS))
    if unknown:
        parser.error(f"unknown part {', '.join(unknown)}: choose from {', '.join(PARTS)}")
    for name in chosen.parts or PARTS:
        started = time.perf_counter()
        for line in PARTS[name](chosen.scale):
            print(line, flush=True)
        print(f"\n({name}: {time.perf_counter() - started:.0f} s)\n", flush=True)


if __name__ == "__main__":
    main()
