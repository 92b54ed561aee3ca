"""A trial's share of a GPU is the option's or a quarter, and grows if memory runs out."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from study.results.folder import Results
from study.tuning.cluster import Capacity
from study.tuning.gpu_shares import fraction, larger_share, slots
from study.tuning.settings import RunSettings
from tests.cluster.scripts import run_script


@pytest.mark.parametrize(
    ("cpus", "gpus", "most", "expected"),
    [(1, 1.0, None, 3), (1, 0.1, None, 26), (1, None, None, 12), (1, 0.0, None, 76), (8, 0.1, None, 9), (1, 0.0, 5, 5)],
)
def test_as_many_trials_run_at_once_as_the_nodes_cpus_and_gpus_hold(
    cpus: int, gpus: float | None, most: int | None, expected: int
) -> None:
    nodes = ({"CPU": 60.0, "GPU": 1.0}, {"CPU": 16.0, "GPU": 2.0})
    settings = RunSettings(cpus_per_trial=cpus, gpus_per_trial=gpus, max_concurrent=most)
    assert slots(Capacity(nodes), settings) == expected


@given(k=st.integers(1, 16))
def test_a_share_that_was_too_small_at_least_doubles_and_ends_at_a_whole_gpu(k: int) -> None:
    steps = [fraction(k)]
    while steps[-1] < 1:
        steps.append(larger_share(steps[-1]))
        assert steps[-1] >= min(1, 2 * steps[-2] - 1e-3)
        assert fraction(round(1 / steps[-1])) == steps[-1]
    assert len(steps) <= 5


SIMULATED = """
import sys
import ray
from search_spaces import Request, plan
from study.data import load, split
from study.results.folder import Results
from study.trials.device_data import data_key
from study.tuning import tuner
from study.tuning.progress import Progress
from study.tuning.settings import RunSettings
from tests.tuning.faults import out_of_memory_below_its_share

grid = plan(Request("smoke", select={"batch_size": ("32",), "regime": ("benchmark",)}, seeds=(0, 1, 2, 3, 4),
                    epochs=1, train_size=64, test_size=20, probes="headline"))
whole = load("digits_8x8", "unused")
data = {data_key(p): (split(whole, train_size=64, val_size=174, test_size=20), whole.sha256) for p in grid.values()}
ray.init(num_cpus=8, num_gpus=2, log_to_driver=False, include_dashboard=False)
results = Results(sys.argv[1]); results.create()
progress = Progress(dict.fromkeys(grid, 1.0), {})
tuner.run_trials(list(grid.values()), tuner.put(data), results, progress, settings=RunSettings(),
                 execute_trial=out_of_memory_below_its_share)
print("enlarged", progress.enlarged)
print("failures", list(progress.failures.values()))
"""


@pytest.mark.slow
def test_shares_grow_where_memory_runs_out(tmp_path: Path) -> None:
    done = run_script(SIMULATED, str(tmp_path), seconds=580)
    given = {seed: (tmp_path / f"shares-{seed}.txt").read_text().split() for seed in range(5)}
    assert given == {0: ["0.25"], 1: ["0.25", "0.5"], 2: ["0.25", "0.5", "1"], 3: ["0.25", "0.5", "1"],
                     4: ["0.25"] * 4 + ["0.5"]}  # fmt: skip
    assert "enlarged 6" in done.stdout
    assert "9 restarted (6 out of GPU memory, with a larger share)" in done.stdout
    rows = {row["seed"]: row for row in Results(tmp_path).read_rows()[0]}
    assert {seed: row["status"] for seed, row in rows.items()} == {0: "ok", 1: "ok", 2: "ok", 3: "failed", 4: "ok"}
    assert rows[3]["status_reason"].startswith("out of GPU memory with a whole GPU: run it on a GPU with more")
    assert "planted" in (tmp_path / "logs" / f"{rows[3]['trial_id']}.txt").read_text()
