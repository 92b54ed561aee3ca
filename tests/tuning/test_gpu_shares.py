"""A trial's share of a GPU follows from what was measured, grows if memory runs out, and never delays a study."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces import AttackProbe, LandscapeProbe, SpectrumProbe
from study.results.folder import Results
from study.tuning.cluster import Capacity
from study.tuning.gpu_profile import GpuUsage
from study.tuning.gpu_shares import (
    CONTEXT_BYTES,
    MARGIN,
    MAX_PER_GPU,
    UNMEASURED_SHARE,
    fraction,
    gpu_models,
    gpu_share,
    kind_of,
    known_peaks,
    larger_share,
    largest_of_each_kind,
    slots,
    trials_per_gpu,
)
from study.tuning.settings import RunSettings
from tests.cluster.scripts import run_script
from tests.trials.small import planned, trial

GIB = 2**30
KIND = "mnist/m1/sgd/bs64/fgsm"


def usage(memory: float, busy: float | None, total: int = 16 * GIB, device: str = "A") -> GpuUsage:
    return GpuUsage(device, total, int(memory), busy)


@pytest.mark.parametrize(
    ("memory_gib", "busy", "trials"),
    [
        (0.1, 0.01, MAX_PER_GPU),  # the bound itself
        (2.8, 0.01, 4),  # (1.25 * 2.8 + .5) / 16 = 1/4: memory binds
        (0.1, 0.3, 3),  # kernels of processes take turns: three of them are at work nine tenths of the time
        (0.1, 0.95, 1),  # one keeps the GPU busy: a second one would slow both
        (40.0, 0.01, 1),  # larger than the GPU: it gets all of it
        (0.1, None, 4),  # time that was not measured counts as a quarter
    ],
)
def test_the_scarcer_of_memory_and_time_decides(memory_gib: float, busy: float | None, trials: int) -> None:
    assert gpu_share(KIND, [usage(memory_gib * GIB, busy)], {}) == fraction(trials)


def test_a_gpu_gets_no_more_trials_than_its_nodes_cpus_can_run() -> None:
    assert gpu_share(KIND, [usage(1, 0.01)], {}, max_trials=3) == fraction(3)
    assert gpu_share(KIND, [], {}, max_trials=3) == fraction(3)
    assert gpu_share(KIND, [], {}, max_trials=99) == UNMEASURED_SHARE
    head, worker = {"CPU": 0.0}, {"CPU": 4.0, "GPU": 1.0}
    assert trials_per_gpu(Capacity((head, worker)), 1) == 4
    assert trials_per_gpu(Capacity((head, {"CPU": 8.0, "GPU": 2.0})), 2) == 2
    assert trials_per_gpu(Capacity((worker,)), 3) == 1
    assert trials_per_gpu(Capacity(({"CPU": 32.0, "GPU": 8.0},)), 1) == 4
    assert trials_per_gpu(Capacity((head,)), 1) == MAX_PER_GPU  # until a node with a GPU is up


@pytest.mark.parametrize(
    ("cpus", "gpus", "most", "expected"),
    [(1, 1.0, None, 3), (1, 0.1, None, 26), (1, None, None, 32), (1, 0.0, None, 76), (8, 0.1, None, 9), (1, 0.0, 5, 5)],
)
def test_as_many_trials_run_at_once_as_the_nodes_cpus_and_gpus_hold(
    cpus: int, gpus: float | None, most: int | None, expected: int
) -> None:
    nodes = ({"CPU": 60.0, "GPU": 1.0}, {"CPU": 16.0, "GPU": 2.0})
    settings = RunSettings(cpus_per_trial=cpus, gpus_per_trial=gpus, max_concurrent=most)
    assert slots(Capacity(nodes), settings) == expected


def test_of_several_kinds_of_gpu_the_smallest_decides() -> None:
    both = [usage(2 * GIB, 0.1, total=80 * GIB), usage(2 * GIB, 0.1, total=8 * GIB, device="B")]
    assert gpu_share(KIND, both, {}) == gpu_share(KIND, both[1:], {}) > gpu_share(KIND, both[:1], {})


def test_the_memory_of_a_stored_trial_corrects_the_measurement_upwards_only() -> None:
    measured = usage(1 * GIB, 0.01)
    assert gpu_share(KIND, [measured], {("mnist/m1/sgd/bs64", "A"): 6 * GIB}) == fraction(2)  # 1.25 * 6 + .5 = 8 of 16
    assert gpu_share(KIND, [measured], {("mnist/m1/sgd/bs64", "B"): 6 * GIB}) == gpu_share(KIND, [measured], {})
    assert gpu_share(KIND, [measured], {("mnist/m1/sgd/bs64", "A"): 1}) == gpu_share(KIND, [measured], {})


@given(memory=st.floats(0, 200 * GIB), busy=st.floats(0, 1), max_trials=st.integers(1, 40))
def test_shares_fill_a_gpu_and_never_exceed_it(memory: float, busy: float, max_trials: int) -> None:
    given_share = gpu_share(KIND, [usage(memory, busy)], {}, max_trials=max_trials)
    k = round(1 / given_share)
    assert 1 <= k <= min(max_trials, MAX_PER_GPU)
    assert k * given_share <= 1 < (k + 1) * given_share
    assert k == 1 or k * (MARGIN * int(memory) + CONTEXT_BYTES) <= 16 * GIB * (1 + 1e-9)
    assert k == 1 or k * busy <= 1 + 1e-9


@given(k=st.integers(1, MAX_PER_GPU))
def test_a_share_that_was_too_small_at_least_doubles_and_ends_at_a_whole_gpu(k: int) -> None:
    steps = [fraction(k)]
    while steps[-1] < 1:
        steps.append(larger_share(steps[-1]))
        assert steps[-1] >= min(1, 2 * steps[-2] - 1e-3)
        assert fraction(round(1 / steps[-1])) == steps[-1]
    assert len(steps) <= 5


def test_trials_of_one_kind_differ_in_nothing_that_takes_memory() -> None:
    one = planned(trial(batch_size=33))
    for same in (trial(batch_size=64), trial(learning_rate=0.1, batch_size=64), trial(seed=3, batch_size=64, epochs=9)):
        assert kind_of(planned(same)) == kind_of(one)
    for other in (
        trial(batch_size=65),
        trial(model="m1_20", batch_size=64),
        trial(optimizer="svrg", batch_size=64),
        trial(adversarial_training="pgd", adversarial_epsilon=0.1, batch_size=64),
    ):
        assert kind_of(planned(other)) != kind_of(one)
    assert kind_of(planned(trial(), frozenset())) == "digits/m1_8/sgd/bs32/no probes"
    probes = frozenset([AttackProbe("pgd", 0.1, "ce"), AttackProbe("pgd", 0.2, "stable"), SpectrumProbe("test", 9, 20)])
    assert kind_of(planned(trial(), probes | {LandscapeProbe("line", "test", 9, 9)})).endswith(
        "landscape+pgd+spectrum20"
    )


def test_the_most_demanding_trial_stands_for_its_kind() -> None:
    work = [planned(trial(batch_size=size)) for size in (33, 64, 40)]
    assert {kind: one.trial.batch_size for kind, one in largest_of_each_kind(work).items()} == {kind_of(work[0]): 64}


def test_peaks_come_from_finished_trials_on_gpus() -> None:
    work = [planned(trial(seed=seed)) for seed in range(4)]
    grid = {one.trial.trial_id: one for one in work}
    row = {"status": "ok", "device": "A", "peak_memory_bytes": 5}
    rows = [
        row | {"trial_id": work[0].trial.trial_id},
        row | {"trial_id": work[1].trial.trial_id, "peak_memory_bytes": 7},
        row | {"trial_id": work[2].trial.trial_id, "peak_memory_bytes": 99, "device": "cpu"},
        row | {"trial_id": work[3].trial.trial_id, "peak_memory_bytes": 99, "status": "failed"},
        row | {"trial_id": "of another grid", "peak_memory_bytes": 99},
    ]
    assert known_peaks(grid, rows) == {("digits/m1_8/sgd/bs32", "A"): 7}
    fewer = replace(work[0], probes=frozenset())
    assert gpu_share(kind_of(fewer), [usage(1, 0.01, total=10)], known_peaks(grid, rows)) == 1


T4, A10 = {"accelerator_type:T4": 1.0}, {"accelerator_type:A10G": 1.0}


def test_trials_are_measured_on_nodes_that_have_a_whole_gpu_and_their_cpus() -> None:
    nodes = ({"CPU": 4.0}, {"CPU": 4.0, "GPU": 1.0, **T4}, {"CPU": 2.0, "GPU": 1.0, **A10})
    assert gpu_models(Capacity(nodes), 2) == [*A10, *T4]
    assert gpu_models(Capacity(nodes), 4) == list(T4)
    assert gpu_models(Capacity(nodes), 5) == []  # no measurement on five CPUs would ever start
    assert gpu_models(Capacity(nodes[:1]), 1) == []


def test_gpus_without_a_name_are_of_one_model() -> None:
    assert gpu_models(Capacity(({"CPU": 4.0, "GPU": 2.0}, {"CPU": 4.0, "GPU": 1.0})), 1) == [""]


SETUP = """
import sys, time
import ray
from search_spaces import Request, plan
from study.data import load, split
from study.results.folder import Results
from study.trials.device_data import data_key
from study.tuning import gpu_shares, tuner
from study.tuning.cluster import Capacity, read_capacity
from study.tuning.gpu_shares import trial_shares
from study.tuning.progress import Progress
from study.tuning.settings import RunSettings
from tests.tuning.faults import (
    hangs_on_large_batches, never_measured, out_of_memory_below_its_share, simulated_usage,
)

grid = plan(Request("smoke", select={"batch_size": ("32", "128"), "regime": ("benchmark",)}, seeds=(0, 1, 2, 3, 4),
                    epochs=1, train_size=64, test_size=20, probes="headline"))
whole = load("digits_8x8", "unused")
data = {data_key(p): (split(whole, train_size=64, val_size=174, test_size=20), whole.sha256) for p in grid.values()}
ray.init(num_cpus=8, num_gpus=2, log_to_driver=False, include_dashboard=False)
references = tuner.put(data)
"""

MEASURED = (
    SETUP
    + """
results = Results(sys.argv[1]); results.create()
small = [p for p in grid.values() if p.trial.batch_size == 32]
shares = trial_shares(list(grid.values()), references, results, RunSettings(), {}, simulated_usage)
print("shares", sorted({(p.trial.batch_size, shares[t]) for t, p in grid.items()}))
again = trial_shares(list(grid.values()), references, results, RunSettings(cpus_per_trial=2), {}, never_measured)
print("on fewer CPUs", sorted({(p.trial.batch_size, again[t]) for t, p in grid.items()}))
one = trial_shares(small[:1], references, results, RunSettings(gpus_per_trial=.1), {}, never_measured)
print("given", list(one.values()))
progress = Progress({p.trial.trial_id: 1.0 for p in small}, {})
tuner.run_trials(small, references, results, progress, settings=RunSettings(),
                 execute_trial=out_of_memory_below_its_share, measure=never_measured)
print("enlarged", progress.enlarged)
print("failures", list(progress.failures.values()))
"""
)


@pytest.mark.slow
def test_shares_are_measured_once_and_grow_where_memory_runs_out(tmp_path: Path) -> None:
    done = run_script(MEASURED, str(tmp_path), seconds=580)
    assert done.stdout.count("measuring what") == 1
    assert "measuring what 2 kinds of trial use of a GPU" in done.stdout
    assert "shares [(32, 0.25), (128, 1.0)]" in done.stdout
    assert "on fewer CPUs [(32, 0.5), (128, 1.0)]" in done.stdout  # 8 CPUs, 2 GPUs: two trials of 2 CPUs for each
    assert "given [0.1]" in done.stdout

    given = {seed: (tmp_path / f"shares-{seed}.txt").read_text().split() for seed in range(5)}
    assert given == {0: ["0.25"], 1: ["0.25", "0.5"], 2: ["0.25", "0.5", "1"], 3: ["0.25", "0.5", "1"],
                     4: ["0.25"] * 4 + ["0.5"]}  # fmt: skip
    assert "enlarged 6" in done.stdout
    assert "9 restarted (6 out of GPU memory, with a larger share)" in done.stdout
    rows = {row["seed"]: row for row in Results(tmp_path).read_rows()[0]}
    assert {seed: row["status"] for seed, row in rows.items()} == {0: "ok", 1: "ok", 2: "ok", 3: "failed", 4: "ok"}
    assert rows[3]["status_reason"].startswith("out of GPU memory with a whole GPU: run it on a GPU with more")
    assert "planted" in (tmp_path / "logs" / f"{rows[3]['trial_id']}.txt").read_text()


UNMEASURABLE = (
    SETUP
    + """
def shares(folder, measure, *capacities):
    results, answers = Results(f"{sys.argv[1]}/{folder}"), [*capacities, read_capacity()]
    results.create()
    gpu_shares.read_capacity = lambda: answers.pop(0)
    began = time.monotonic()
    found = trial_shares(list(grid.values()), references, results, RunSettings(), {}, measure)
    by_size = sorted({(p.trial.batch_size, found[t]) for t, p in grid.items()})
    known = len(results.read_gpu_shares())
    print(folder, by_size, known, "known, in time" if time.monotonic() - began < 200 else "known, late", flush=True)

gpu_shares.MEASURE_SECONDS = 42.0
none_up = Capacity(({"CPU": 8.0},), autoscales=True)
shares("lost", never_measured, none_up)
shares("stored", simulated_usage)
shares("stored", never_measured, none_up)
shares("hangs", hangs_on_large_batches)
print("free again", ray.get(ray.remote(num_gpus=2)(lambda: "yes").remote(), timeout=60))
"""
)


@pytest.mark.slow
def test_gpus_that_are_lost_and_measurements_that_hang_do_not_hold_a_study_up(tmp_path: Path) -> None:
    done = run_script(UNMEASURABLE, str(tmp_path), seconds=280)
    assert "lost [(32, 0.25), (128, 0.25)] 0 known, in time" in done.stdout
    message = "no node with 1 CPUs and a whole GPU is up to measure on: unmeasured trials get 0.25 of a GPU"
    assert done.stderr.count(message) == 1
    assert done.stdout.count("stored [(32, 0.25), (128, 1.0)] 2 known, in time") == 2
    assert "hangs [(32, 0.25), (128, 0.25)] 1 known, in time" in done.stdout
    assert "no measurement ended within 0.7 minutes, 1 are given up" in done.stderr
    assert "free again yes" in done.stdout
