"""A study through Ray: a trial that fails costs only that trial, and parents run before their children."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from search_spaces import Planned
from study.results.folder import Results
from study.results.rows import new_row
from study.trials.device_data import data_key
from study.trials.outside import Outside
from study.tuning import tuner
from study.tuning.cluster import Capacity
from study.tuning.costs import CostModel
from study.tuning.progress import Progress
from study.tuning.settings import RunSettings
from study.tuning.trackers import Trackers
from study.tuning.tuner import MAX_FAILURES, next_round
from tests.cluster.scripts import run_script
from tests.stored import results_in
from tests.trials.small import planned, trial
from tests.tuning.faults import DIES, FILLS_MEMORY, HANGS, RAISES

SCRIPT = """
import sys
from search_spaces import Request, plan
from study.data import load, split
from study.results.folder import Results
from study.trials.device_data import data_key
from study.tuning import tuner
from study.tuning.cluster import connected
from study.tuning.progress import Progress
from study.tuning.settings import RunSettings
from tests.tuning.faults import faulty

results = Results(sys.argv[1]); results.create()
seeds = tuple(map(int, sys.argv[2].split(",")))
grid = plan(Request("smoke", select={"batch_size": ("32",), "regime": ("benchmark",)}, seeds=seeds,
                    epochs=1, train_size=64, test_size=20, probes="headline"))
work = list(grid.values())
whole = load("digits_8x8", "unused")
data = {data_key(p): (split(whole, train_size=64, val_size=174, test_size=20), whole.sha256) for p in work}
progress = Progress({t: 1.0 for t in grid}, {})
settings = RunSettings(gpus_per_trial=0.0, trial_timeout=float(sys.argv[3]))
with connected(None):
    tuner.run_trials(work, tuner.put(data), results, progress, settings=settings, execute_trial=faulty)
print("failures", sorted(progress.failures.values()))
"""


def run(tmp_path: Path, seeds: str, timeout: float = 600.0, **environment: str) -> dict[int, dict[str, object]]:
    run_script(SCRIPT, str(tmp_path), seeds, str(timeout), **environment)
    return {row["seed"]: row for row in Results(tmp_path).read_rows()[0]}


def test_an_exception_and_a_worker_that_always_dies_cost_those_trials_only(tmp_path: Path) -> None:
    rows = run(tmp_path, f"0,{RAISES},{DIES},4")
    assert {seed: row["status"] for seed, row in rows.items()} == {0: "ok", RAISES: "failed", DIES: "failed", 4: "ok"}
    assert rows[RAISES]["status_reason"] == "ZeroDivisionError: planted"
    assert rows[DIES]["status_reason"]
    log = (tmp_path / "logs" / f"{rows[RAISES]['trial_id']}.txt").read_text()
    assert "Traceback" in log


@pytest.mark.slow
def test_a_trial_that_always_hangs_fails_with_its_reason(tmp_path: Path) -> None:
    rows = run(tmp_path, f"0,{HANGS},4", timeout=15.0)
    assert {seed: row["status"] for seed, row in rows.items()} == {0: "ok", HANGS: "failed", 4: "ok"}
    assert str(rows[HANGS]["status_reason"]).startswith("hung: no report for 1")


@pytest.mark.slow  # and alone: what others take counts too
@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="reads /proc/meminfo")
def test_a_host_out_of_memory_costs_one_trial(tmp_path: Path) -> None:
    lines = [line.split() for line in Path("/proc/meminfo").read_text().splitlines()]
    memory = {words[0]: int(words[1]) for words in lines}
    used = memory["MemTotal:"] - memory["MemAvailable:"]
    threshold = (used + 3_500_000) / memory["MemTotal:"]  # that trial alone takes 6 GB
    if threshold > 0.9:
        pytest.skip("needs 4 GB of free memory")
    rows = run(
        tmp_path,
        f"0,{FILLS_MEMORY},4",
        RAY_memory_usage_threshold=f"{threshold:.3f}",
        RAY_memory_monitor_refresh_ms="100",
    )
    assert {seed: row["status"] for seed, row in rows.items()} == {0: "ok", FILLS_MEMORY: "failed", 4: "ok"}
    assert "memory" in str(rows[FILLS_MEMORY]["status_reason"])


def test_trials_that_never_ran_do_not_count_as_restarted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    as_it_is = SimpleNamespace(with_parameters=lambda run, **given: run, with_resources=lambda run, needed: run)
    monkeypatch.setattr(tuner, "tune", as_it_is)  # no trial can start
    stored = list[object]()
    monkeypatch.setattr(tuner, "ray", SimpleNamespace(put=stored.append))
    monkeypatch.setattr(tuner, "PAUSE_SECONDS", 0.0)
    one = planned()
    progress = Progress({one.trial.trial_id: 1.0}, {})
    images = {data_key(one): ("images", "their hash")}
    tuner.run_trials([one], images, results_in(tmp_path), progress, settings=RunSettings(gpus_per_trial=0.0))
    assert (list(progress.done.values()), progress.retries) == (["failed"], 0)
    assert stored == [{one.trial.trial_id: one}] * (MAX_FAILURES + 1)  # and no images: a command stores them once


def test_half_trained_networks_come_first_then_expensive_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work, results, order = (
        [planned(trial(epochs=epochs)) for epochs in (3, 9, 1)],
        results_in(tmp_path),
        list[Planned](),
    )
    results.write_checkpoint(work[2].trial.trial_id, b"half")
    monkeypatch.setattr(tuner, "train_in_batches", lambda *unused, **options: {})
    monkeypatch.setattr(tuner, "run_trials", lambda left, *unused, **options: order.extend(left))
    with Trackers({}, results) as trackers:
        tuner.run_study(work, {}, results, settings=RunSettings(), costs=CostModel(), trackers=trackers)
    assert [one.trial.epochs for one in order] == [1, 9, 3]


def test_a_network_whose_weights_are_lost_is_trained_by_its_own_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    work, results = [planned(trial(seed=seed)) for seed in range(3)], results_in(tmp_path)
    results.write_row(new_row(work[0]) | {"status": "ok"})
    monkeypatch.setattr(tuner, "read_capacity", lambda: Capacity(({"CPU": 1.0},)))
    monkeypatch.setattr(tuner, "run_trials", lambda *unused, **options: None)
    settings = RunSettings(gpus_per_trial=0.0, replicas=8)
    labels = {one.trial.trial_id: "" for one in work}
    tuner.train_in_batches(work, CostModel(), {}, results, settings, labels=labels, outside=Outside())
    assert "training 2 networks in 1 batch;" in capsys.readouterr().out


GENERATIONS = """
import sys
from dataclasses import replace
import search_spaces
from search_spaces.space import Curve, Space
from study.run import main
from tests.stored import results_in
from tests.trials.small import trial

def family(learning_rate):
    parent = trial(learning_rate=learning_rate, epochs=2)
    child = replace(parent, parent=parent, epochs=1, adversarial_training="fgsm", adversarial_epsilon=0.1)
    return Curve("adversarial", (child,)), Curve("lr", (parent,))  # the order of the grid does not matter

space = Space("family", "planted", family(0.05) + family(1e30), (0,), lambda trial: frozenset())
search_spaces.GRIDS["family"] = (space,)
sys.exit(main(["--grid", "family", "--results", sys.argv[1], "--no-report"]))
"""


def test_children_run_after_their_parents_and_diverge_with_them(tmp_path: Path) -> None:
    run_script(GENERATIONS, str(tmp_path))
    rows = {(row["learning_rate"], row["parent"] is not None): row for row in Results(tmp_path).read_rows()[0]}
    statuses = {key: row["status"] for key, row in rows.items()}
    assert statuses == {(0.05, False): "ok", (0.05, True): "ok", (1e30, False): "diverged", (1e30, True): "diverged"}
    orphan = rows[1e30, True]
    assert orphan["status_reason"].startswith(f"its parent, trial {orphan['parent']}, diverged: ")


SLOTS = 40


def rounds(
    trials: int, culprits: set[str], max_concurrent: int | None = None, capacity: int = SLOTS
) -> tuple[set[str], int, list[int | None]]:
    """Simulate rounds; returns the trials that fail, the number of rounds, and how many trials ran at once in each.

    Tune crashes as soon as a culprit runs or more than `capacity` trials do, before any trial of them is done.
    """
    left, failed, number = [str(i) for i in range(trials)], set(), 0
    crashes, running_at_crash, at_once_counts = dict.fromkeys(left, 0), dict[str, int](), list[int | None]()
    while left:
        number += 1
        now, at_once = next_round(left, crashes, running_at_crash, max_concurrent)
        at_once_counts.append(at_once)
        slots = min(SLOTS, at_once or SLOTS)
        for start in range(0, len(now), slots):
            running = now[start : start + slots]
            if culprits & {*running} or len(running) > capacity:
                running_at_crash |= dict.fromkeys(running, len(running))
                for trial_id in running:
                    crashes[trial_id] += 1
                break
            left = [trial_id for trial_id in left if trial_id not in running]
        failed |= {trial_id for trial_id in left if crashes[trial_id] > MAX_FAILURES}
        left = [trial_id for trial_id in left if trial_id not in failed]
    return failed, number, at_once_counts


@pytest.mark.parametrize("trials", [1, 2, 3, 40, 400])
@pytest.mark.parametrize("max_concurrent", [None, 2, 7])
def test_only_the_trial_that_crashes_tune_fails(trials: int, max_concurrent: int | None) -> None:
    for culprit in {0, trials // 2, trials - 1}:
        failed, number, _ = rounds(trials, {str(culprit)}, max_concurrent)
        assert failed == {str(culprit)}
        assert number <= 2 * (MAX_FAILURES + 1)


def test_several_trials_that_crash_tune_fail_and_no_others() -> None:
    culprits = {"0", "7", "39", "40", "150"}
    assert rounds(200, culprits)[0] == culprits


def test_trials_too_many_for_their_machine_run_fewer_at_once() -> None:
    failed, _, at_once_counts = rounds(400, set(), capacity=20)
    assert failed == set()
    assert set(at_once_counts) == {None, SLOTS // 4}  # none had to run alone


def test_trials_with_the_fewest_crashes_come_first_as_many_as_before_where_none_has_started() -> None:
    assert next_round(["a", "b"], {"a": 0, "b": 0}, {}, 7) == (["a", "b"], 7)
    assert next_round(["a", "b"], {"a": 3, "b": 3}, {}, 7) == (["a", "b"], 7)
    assert next_round(["a", "b"], {"a": 1, "b": 0}, {"a": 1}) == (["b"], None)
    assert next_round(["a", "b"], {"a": 1, "b": 1}, {"a": 2, "b": 2}, 7) == (["a", "b"], 1)
