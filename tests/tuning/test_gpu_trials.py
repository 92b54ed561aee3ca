"""Trials on simulated GPUs: shares as measured, once, and larger ones for trials that run out of memory."""

from pathlib import Path

import pytest

from study.results.folder import Results
from tests.cluster.scripts import run_script

SCRIPT = """
import sys
import ray
from search_spaces import Request, plan
from study.tuning import tuner
from study.data import load, split
from study.trials.device_data import data_key
from study.tuning.gpu_measurement import trial_shares
from study.tuning.resources import Resources
from study.tuning.progress import Progress
from study.results.folder import Results
from tests.tuning.gpu_trials import hungry, pretend, refuse

results = Results(sys.argv[1]); results.create()
grid = plan(Request("smoke", select={"batch_size": ("32", "128"), "regime": ("benchmark",)}, seeds=(0, 1, 2, 3, 4),
                    epochs=1, train_size=64, test_size=20, probes="headline"))
small = [p for p in grid.values() if p.trial.batch_size == 32]
whole = load("digits", "unused")
data = {data_key(p): (split(whole, train_size=64, val_size=240, test_size=20), whole.sha256) for p in grid.values()}
ray.init(num_cpus=8, num_gpus=2, log_to_driver=False, include_dashboard=False)
references = {key: (ray.put(splits), sha256) for key, (splits, sha256) in data.items()}
shares = trial_shares(list(grid.values()), references, results, Resources(), {}, pretend)
print("shares", sorted({(p.trial.batch_size, shares[t]) for t, p in grid.items()}))
again = trial_shares(list(grid.values()), references, results, Resources(cpus_per_trial=2), {}, refuse)
print("on fewer CPUs", sorted({(p.trial.batch_size, again[t]) for t, p in grid.items()}))
one = trial_shares(small[:1], references, results, Resources(gpus_per_trial=.1), {}, refuse)
print("asked", list(one.values()))
progress = Progress({p.trial.trial_id: 1.0 for p in small}, {})
tuner.run_trials(small, data, results, progress, patience=progress.costs, resources=Resources(),
                  execute_trial=hungry, measure=refuse)
print("enlarged", progress.enlarged)
print("failures", list(progress.failures.values()))
"""


@pytest.mark.slow
def test_shares_are_measured_once_and_grow_where_memory_runs_out(tmp_path: Path) -> None:
    done = run_script(SCRIPT, str(tmp_path), seconds=580)
    assert done.stdout.count("measuring what") == 1
    assert "measuring what 2 kinds of trial take of a GPU" in done.stdout
    assert "shares [(32, 0.25), (128, 1.0)]" in done.stdout
    assert "on fewer CPUs [(32, 0.5), (128, 1.0)]" in done.stdout  # 8 CPUs, 2 GPUs: two trials of 2 CPUs beside each
    assert "asked [0.1]" in done.stdout

    given = {seed: (tmp_path / f"shares-{seed}.txt").read_text().split() for seed in range(5)}
    assert given == {0: ["0.25"], 1: ["0.25", "0.5"], 2: ["0.25", "0.5", "1"], 3: ["0.25", "0.5", "1"],
                     4: ["0.25"] * 4 + ["0.5"]}  # fmt: skip
    assert "enlarged 6" in done.stdout
    assert "9 restarted, 6 of them out of GPU memory, with a larger share" in done.stdout
    rows = {row["seed"]: row for row in Results(tmp_path).read_rows()[0]}
    assert {seed: row["status"] for seed, row in rows.items()} == {0: "ok", 1: "ok", 2: "ok", 3: "failed", 4: "ok"}
    assert rows[3]["status_reason"].startswith("out of GPU memory with a whole GPU: run it on a GPU with more")
    assert "planted" in (tmp_path / "logs" / f"{rows[3]['trial_id']}.txt").read_text()
