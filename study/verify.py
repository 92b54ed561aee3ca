"""`python -m study.verify RESULTS` reads every file of a results folder and prints what is wrong.

It changes nothing. Weights and arrays that are missing, as in a study that was unpacked, are no damage: a network is
trained again when more is asked of it, and figures leave out its arrays.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from study.results import checkpoints
from study.results.folder import RecordsError, Results, decode_arrays
from study.results.packed import is_packed
from study.results.schema import Row
from study.results.storage import shown_name

SOUND, DAMAGED, BAD_INPUT = 0, 1, 2

COLUMNS = ("trial_id", "status", "weights_sha256", "parent", "parent_sha256", "landscapes")


class Problem(NamedTuple):
    """A file, relative to the results folder, and what is wrong with it."""

    name: str
    reason: str


def main(argv: Sequence[str] | None = None) -> int:
    """Check a folder; returns 0: all sound, 1: something is wrong (one line each), 2: no results folder."""
    parser = argparse.ArgumentParser(prog="python -m study.verify", description=__doc__)
    parser.add_argument("results", metavar="RESULTS", help="a results folder or URI that study.run wrote")
    arguments = parser.parse_args(argv)
    counts: Counter[str] = Counter()
    if is_packed(arguments.results):
        name, remedy = shown_name(arguments.results), "unpack it with python -m study.pack, and give the folder"
        print(f"study.verify: {name} is a packed study: {remedy}", file=sys.stderr)
        return BAD_INPUT
    try:
        results = Results(arguments.results)
        problems = list(verify(results, counts))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except (RecordsError, OSError) as error:
        print(f"study.verify: {error}", file=sys.stderr)
        return BAD_INPUT
    for problem in problems:
        print(f"{problem.name}: {problem.reason}")
    read = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    print(f"{results.location}: read {read}; {len(problems)} problem{'' if len(problems) == 1 else 's'}")
    return DAMAGED if problems else SOUND


def verify(results: Results, counts: Counter[str]) -> Iterator[Problem]:
    """What is wrong in a results folder; `counts` gets the number of files read of each kind.

    Raises:
        RecordsError, OSError: there are no results here, or they cannot be reached.
    """
    results.exists()  # refuses a store that cannot be reached
    rows, unreadable = results.read_rows(COLUMNS)
    by_id = {row["trial_id"]: row for row in rows}
    counts["rows"] = len(rows)
    yield from (Problem(file.name, file.reason) for file in unreadable)
    arrays: dict[str, set[str]] = {}

    def check_weights(content: bytes, trial_id: str) -> None:
        checkpoints.read_weights(content, by_id.get(trial_id, {}).get("weights_sha256"))

    def check_checkpoint(content: bytes, trial_id: str) -> None:
        checkpoints.read_state(content)

    def check_arrays(content: bytes, trial_id: str) -> None:
        arrays[trial_id] = set(decode_arrays(content))

    yield from _each(results, "weights", check_weights, counts)
    yield from _parents(by_id)
    yield from _each(results, "checkpoints", check_checkpoint, counts)
    yield from _each(results, "arrays", check_arrays, counts)
    for trial_id, stored in arrays.items():
        entries = by_id.get(trial_id, {}).get("landscapes") or ()
        if missing := {entry[part] for entry in entries for part in ("offsets", "losses")} - stored - {None}:
            yield Problem(f"arrays/{trial_id}.npz", f"lacks {len(missing)} arrays that the trial's row names")
    yield from (Problem(name, reason) for name, reason in results.damaged_records())


def _parents(rows: dict[str, Row]) -> Iterator[Problem]:
    for trial_id, row in rows.items():
        parent = rows.get(row["parent"] or "")
        if parent and row["parent_sha256"] not in (None, parent["weights_sha256"]):
            yield Problem(f"trials/{trial_id}.parquet", f"started from other weights than those of {row['parent']} now")


def _each(
    results: Results, folder: str, check: Callable[[bytes, str], None], counts: Counter[str]
) -> Iterator[Problem]:
    """The problems of the files in a folder; `check` gets a file's content and its trial's id."""
    for name in results.files(folder):
        path = PurePosixPath(name)
        if path.suffix not in (".safetensors", ".pt", ".npz"):
            if ".damaged-" not in name:  # these were named when they were set aside
                yield Problem(f"{folder}/{shown_name(name)}", "not a file of a study")
            continue
        counts[folder] += 1
        try:
            check(results.read_file(f"{folder}/{name}"), path.stem)
        except (checkpoints.DamagedError, OSError) as error:
            yield Problem(f"{folder}/{shown_name(name)}", str(error))


if __name__ == "__main__":
    sys.exit(main())
