"""Through Ray: parents run before their children, and a parent that fails marks them."""

import os
import subprocess
import sys
from pathlib import Path

from study.results.folder import Results

SCRIPT = """
import sys
from dataclasses import replace
import search_spaces
from search_spaces.space import Curve, Space
from study.run import main
from tests.trials.small import trial

def family(learning_rate):
    parent = trial(learning_rate=learning_rate, epochs=2)
    child = replace(parent, parent=parent, epochs=1, adversarial_training="fgsm", adversarial_epsilon=0.1)
    return Curve("adversarial", (child,)), Curve("lr", (parent,))  # the child first: the run must not mind

space = Space("family", "planted", family(0.05) + family(1e30), (0,), lambda trial: frozenset())
search_spaces.GRIDS["family"] = (space,)
sys.exit(main(["--grid", "family", "--results", sys.argv[1], "--no-report"]))
"""


def test_children_wait_for_their_parents_and_share_their_fate(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)],
        capture_output=True, text=True, timeout=280, env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )  # fmt: skip
    assert done.returncode == 1, done.stderr[:3000]  # some trials failed
    rows = {(row["learning_rate"], row["parent"] is not None): row for row in Results(tmp_path).read_rows()[0]}
    told = {key: row["status"] for key, row in rows.items()}
    assert told == {(0.05, False): "ok", (0.05, True): "ok", (1e30, False): "diverged", (1e30, True): "failed"}
    orphan = rows[1e30, True]
    assert (
        orphan["status_reason"]
        == f"ValueError: its parent, trial {orphan['parent']}, has no weights: see that trial's row"
    )
    assert orphan["status_reason"].split(": ", 1)[1] in done.stdout
