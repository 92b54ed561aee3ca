"""A trial's share of a GPU follows from what was measured, and shares of one kind always fill a GPU."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces import AttackProbe, LandscapeProbe, SpectrumProbe
from study.tuning.gpu_shares import (
    CONTEXT_BYTES,
    MARGIN,
    MOST_PER_GPU,
    UNMEASURED,
    Need,
    kind_of,
    known_peaks,
    larger,
    one_of,
    representatives,
    share,
)
from tests.trials.small import planned, trial

GIB = 2**30
KIND = "mnist/m1/sgd/bs64/fgsm"


def need(memory: float, busy: float | None, total: int = 16 * GIB, device: str = "A") -> Need:
    return Need(device, total, int(memory), busy)


@pytest.mark.parametrize(
    ("memory_gib", "busy", "trials"),
    [
        (0.1, 0.01, MOST_PER_GPU),  # nothing binds but the bound itself
        (2.8, 0.01, 4),  # (1.25 * 2.8 + .5) / 16 = 1/4: memory binds
        (0.1, 0.3, 3),  # kernels of processes take turns: three of them are at work nine tenths of the time
        (0.1, 0.95, 1),  # one keeps the GPU at work: a second beside it would only slow both
        (40.0, 0.01, 1),  # larger than the GPU: it is tried with all of it
        (0.1, None, 4),  # time that was not measured counts as the quarter that was always guessed
    ],
)
def test_the_scarcer_of_memory_and_time_decides(memory_gib: float, busy: float | None, trials: int) -> None:
    assert share(KIND, [need(memory_gib * GIB, busy)], {}) == one_of(trials)


def test_a_gpu_never_gets_more_trials_than_the_cpus_beside_it_carry() -> None:
    assert share(KIND, [need(1, 0.01)], {}, most=3) == one_of(3)
    assert share(KIND, [], {}, most=3) == one_of(3)
    assert share(KIND, [], {}, most=99) == UNMEASURED


def test_of_several_kinds_of_gpu_the_smallest_decides() -> None:
    both = [need(2 * GIB, 0.1, total=80 * GIB), need(2 * GIB, 0.1, total=8 * GIB, device="B")]
    assert share(KIND, both, {}) == share(KIND, both[1:], {}) > share(KIND, both[:1], {})


def test_what_a_stored_trial_took_corrects_the_measurement_upwards_only() -> None:
    measured = need(1 * GIB, 0.01)
    assert share(KIND, [measured], {("mnist/m1/sgd/bs64", "A"): 6 * GIB}) == one_of(2)  # 1.25 * 6 + .5 = 8 of 16
    assert share(KIND, [measured], {("mnist/m1/sgd/bs64", "B"): 6 * GIB}) == share(KIND, [measured], {})
    assert share(KIND, [measured], {("mnist/m1/sgd/bs64", "A"): 1}) == share(KIND, [measured], {})


@given(memory=st.floats(0, 200 * GIB), busy=st.floats(0, 1), most=st.integers(1, 40))
def test_shares_fill_a_gpu_and_never_exceed_it(memory: float, busy: float, most: int) -> None:
    given_share = share(KIND, [need(memory, busy)], {}, most=most)
    k = round(1 / given_share)
    assert 1 <= k <= min(most, MOST_PER_GPU)
    assert k * given_share <= 1 < (k + 1) * given_share
    assert k == 1 or k * (MARGIN * int(memory) + CONTEXT_BYTES) <= 16 * GIB * (1 + 1e-9)
    assert k == 1 or k * busy <= 1 + 1e-9


@given(k=st.integers(1, MOST_PER_GPU))
def test_a_share_that_was_too_small_at_least_doubles_and_ends_at_a_whole_gpu(k: int) -> None:
    steps = [one_of(k)]
    while steps[-1] < 1:
        steps.append(larger(steps[-1]))
        assert steps[-1] >= min(1, 2 * steps[-2] - 1e-3)
        assert one_of(round(1 / steps[-1])) == steps[-1]
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
    asked = frozenset([AttackProbe("pgd", 0.1, "ce"), AttackProbe("pgd", 0.2, "stable"), SpectrumProbe("test", 9, 20)])
    assert kind_of(planned(trial(), asked | {LandscapeProbe("line", "test", 9, 9)})).endswith(
        "landscape+pgd+spectrum20"
    )


def test_the_most_demanding_trial_stands_for_its_kind() -> None:
    work = [planned(trial(batch_size=size)) for size in (33, 64, 40)]
    assert {kind: one.trial.batch_size for kind, one in representatives(work).items()} == {kind_of(work[0]): 64}


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
    assert share(kind_of(fewer), [need(1, 0.01, total=10)], known_peaks(grid, rows)) == 1
