"""`python -m study.pack RESULTS FOLDER` keeps a study's rows in one file, a tenth of their size.

FOLDER gets rows.parquet and study.json. It is a results folder like any other: its report can be made, and study.run
goes on in it. Weights, arrays and half-trained networks stay in RESULTS: what is asked later of a packed network is
answered by training it again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from study.results.folder import RecordsError, Results


def pack(source: Results, target: Results) -> int:
    """Write the rows and the record of one folder into another; returns the number of rows.

    Raises:
        RecordsError: a row cannot be read, or the target has rows that the source lacks.
        OSError: the target cannot be written to.
    """
    rows, unreadable = source.read_table(update_cache=False)
    for file in unreadable:
        raise RecordsError(f"{source.location}/{file.name} cannot be packed: {file.reason}")
    if target.exists():
        kept = target.read_table(["trial_id"], update_cache=False)[0]["trial_id"].to_pylist()
        if lost := set(kept) - set(rows["trial_id"].to_pylist()):
            raise RecordsError(
                f"{target.location} has rows of {len(lost)} trials that {source.location} lacks; give a new folder, "
                "or begin the study from a copy of that one"
            )
    target.write_packed(rows)
    target.write_study(source.read_study())
    return len(rows)


def main(argv: Sequence[str] | None = None) -> int:
    """Pack a study; returns 0, or 2 if it could not be packed."""
    parser = argparse.ArgumentParser(
        prog="python -m study.pack", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", metavar="RESULTS", help="a results folder or URI that study.run wrote")
    parser.add_argument("folder", metavar="FOLDER", help="where rows.parquet and study.json go")
    arguments = parser.parse_args(argv)
    try:
        target = Results(arguments.folder)
        count = pack(Results(arguments.results), target)
    except (RecordsError, OSError) as error:
        print(f"study.pack: {error}", file=sys.stderr)
        return 2
    print(f"{count} rows in {target.location}/rows.parquet")
    return 0


if __name__ == "__main__":
    sys.exit(main())
