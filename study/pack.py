"""Keep a study's rows in one file, to publish or to store: `python -m study.pack RESULTS FILE.parquet`.

The file has a tenth of their size, and is read by analysis.report, analysis.compare and analysis.load like a folder. It
holds no weights and no arrays. `python -m study.pack FILE.parquet RESULTS` makes a results folder of it again, in which
study.run goes on; what is asked there of a network that is trained already trains it again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from study.results.folder import RecordsError, Results
from study.results.packed import is_packed, pack, unpack


def main(argv: Sequence[str] | None = None) -> int:
    """Pack or unpack a study; returns 0, or 2 if that cannot be done."""
    parser = argparse.ArgumentParser(
        prog="python -m study.pack", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", metavar="FROM", help="a results folder or URI, or a packed study")
    parser.add_argument("target", metavar="TO", help="a file whose name ends in .parquet, or a new results folder")
    arguments = parser.parse_args(argv)
    source, target = arguments.source, arguments.target
    if is_packed(source) == is_packed(target):
        print("study.pack: only one of FROM and TO ends in .parquet, the other is a results folder", file=sys.stderr)
        return 2
    try:
        if is_packed(target):
            results = Results(source)
            results.exists()  # refuses a store that cannot be reached
            count = pack(results, target)
        else:
            count = unpack(source, Results(target))
    except (RecordsError, OSError) as error:
        print(f"study.pack: {error}", file=sys.stderr)
        return 2
    print(f"{count} rows in {target}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
