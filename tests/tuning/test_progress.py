"""What a user sees of a run: a line that fits a terminal, a time left that settles soon, GPUs, and no line twice."""

import io
from collections.abc import Mapping

import pytest
import ray
from rich.console import Console

from study.tuning.cluster import gpu_use
from study.tuning.progress import QUIET_SECONDS, Display, Progress, describe, describe_epoch, describe_gpus, rate
from tests.cluster.multinode import wait_for

RESULT = {
    "test_acc": 0.925, "headline_epsilon": 0.3, "fgsm_acc": 0.5, "pgd_acc": 0.41, "pgd_acc_stable": 0.401,
    "lambda1_train": 12.34, "lambda1_test": 11.0,
}  # fmt: skip


class Clock:
    """Seconds that pass only when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def training_of(costs: Mapping[str, float]) -> dict[str, float]:
    return {trial_id: 0.7 * seconds for trial_id, seconds in costs.items()}


def simulate(
    clock: Clock, progress: Progress, trials: Mapping[str, float], *, at_once: int, epochs: int, until: float,
    startup: float = 5.0,
) -> None:  # fmt: skip
    """Run trials of these real seconds (70 % of them training), `at_once` of them at a time, for `until` seconds."""
    begin, waiting, ends, reported = clock.now, list(trials), dict[str, float](), dict[str, float]()
    while clock.now - begin < until and len(progress.done) < len(trials):
        for trial_id, end in list(ends.items()):
            real = trials[trial_id]
            epoch = min(epochs, int((real - (end - clock.now)) / (0.7 * real / epochs)))
            if clock.now >= end:
                progress.finish(trial_id, "ok", RESULT)
                del ends[trial_id]
            elif epoch and clock.now - reported.get(trial_id, 0.0) >= 2:  # as workers do
                reported[trial_id] = clock.now
                if clock.now < end - 0.3 * real:
                    progress.metrics(trial_id, {"epoch": epoch, "epochs": epochs, "val_acc": 0.9})
                else:
                    progress.metrics(trial_id, {"probes_answered": 1, "epochs": epochs})
        while waiting and len(ends) < at_once:
            trial_id = waiting.pop(0)
            progress.start(trial_id)
            ends[trial_id] = clock.now + trials[trial_id] + (startup if clock.now == begin else 0.0)
        clock.now += 0.25


@pytest.mark.parametrize("factor", [0.25, 1.0, 4.0])
@pytest.mark.parametrize(
    ("trials", "epochs"),
    [
        ({f"t{i}": 900.0 for i in range(2)}, 100),
        ({f"t{i}": 900.0 for i in range(2)}, 15),
        ({f"t{i}": 3.0 for i in range(120)}, 12),
        ({f"t{i}": 20.0 for i in range(40)}, 400),
        ({f"t{i}": 600.0 - 5 * i for i in range(100)}, 100),
    ],
    ids=["two networks of 15 minutes", "with few epochs", "many small ones", "many epochs", "from long to short"],
)
def test_the_time_left_settles_within_a_minute(trials: dict[str, float], epochs: int, factor: float) -> None:
    """Whatever the cost model is off by; the costs are what it expects, the trials what they really take."""
    clock = Clock()
    costs = {t: seconds / factor for t, seconds in trials.items()}
    progress = Progress(costs, trials, training_of(costs), clock=clock)
    simulate(clock, progress, trials, at_once=2, epochs=epochs, until=60.0)
    eta = progress.eta_seconds()
    assert eta is not None
    assert eta == pytest.approx(sum(trials.values()) / 2 + 5 - 60, rel=0.25)


def test_the_time_left_is_that_of_the_longest_trial_where_the_others_are_short() -> None:
    clock = Clock()
    trials = {"long": 1000.0, **{f"t{i}": 10.0 for i in range(8)}}
    progress = Progress(trials, trials, training_of(trials), clock=clock)
    simulate(clock, progress, trials, at_once=4, epochs=100, until=60.0, startup=0.0)
    assert len(progress.done) == 8
    eta = progress.eta_seconds()
    assert eta == pytest.approx(940, rel=0.02)


def test_a_trial_that_goes_on_from_a_checkpoint_does_not_look_fast() -> None:
    clock = Clock()
    progress = Progress({"a": 100.0}, {}, {"a": 70.0}, clock=clock)
    progress.start("a")
    for epoch in (65, 70):  # 0.7 s an epoch, as expected
        clock.now += 3.5
        progress.metrics("a", {"epoch": epoch, "epochs": 100, "resumed_at": 60})
    assert progress.eta_seconds() == pytest.approx(0.7 * 30 + 30, rel=0.01)


def test_the_bar_counts_work_not_trials() -> None:
    progress = Progress({"a": 30.0, "b": 60.0, "c": 10.0}, {}, training={"b": 30.0})
    progress.start("a")
    progress.finish("a", "failed", {})
    progress.start("b")
    progress.metrics("b", {"epoch": 2, "epochs": 3})
    assert progress.fraction == pytest.approx(0.3 + 0.2)
    assert Progress({}, {}).fraction == 1.0


def test_a_trial_that_is_overdue_does_not_end_now() -> None:
    clock = Clock()
    progress = Progress({"a": 100.0}, {}, {"a": 70.0}, clock=clock)
    progress.start("a")
    clock.now += 1
    assert progress.eta_seconds() is None
    clock.now += 139  # longer than the whole trial should take
    eta = progress.eta_seconds()
    assert eta is not None
    assert 10 < eta < 20
    clock.now += 10
    progress.metrics("a", {"epoch": 1, "epochs": 10})
    assert progress.eta_seconds() == pytest.approx(150 / 7 * 93, rel=0.3)


@pytest.mark.parametrize("gpus", [{}, {"10.0.0.1": (7.75, 8.0)}])
def test_lines_fit_80_columns_on_a_terminal(gpus: Mapping[str, tuple[float, float]]) -> None:
    clock = Clock()
    label = "fashion-mnist resnet20_x4 selective_backprop lr+lr_bs+benchmark training bs 1024 m 0.9 wd 0.0005 seed 0"
    costs = {f"t{i}": 90_000.0 for i in range(1719)}
    progress = Progress(costs, dict.fromkeys(costs, label), clock=clock, gpu_use=lambda: gpus)
    for i in range(1016):
        progress.start(f"t{i}")
        clock.now += 98
        progress.finish(f"t{i}", "ok", RESULT | {"lambda1_train": 1.234e6})
    for i in range(1016, 1032):
        progress.start(f"t{i}")
        progress.metrics(f"t{i}", {"epoch": 100, "epochs": 200, "val_acc": 0.5})
    clock.now += 432
    out = io.StringIO()
    console = Console(file=out, width=80, force_terminal=True, color_system=None)
    console.print(Display(progress, console)._render())
    lines = out.getvalue().splitlines()
    assert len(lines[0]) == 80  # the bar
    assert lines[1].startswith("1016/1719 done, 16 running, 0 failed | elapsed 27:46:40 | ETA ")
    assert lines[1].endswith("/h")  # whole
    assert ("GPUs 7.75/8" in lines) == bool(gpus)
    assert max(map(len, lines)) == 80
    assert sum(line.startswith("  epoch 100/200, validation 50.0%: fashion-mnist") for line in lines) == 8
    assert len(lines) <= 14
    assert "  clean 92.5%; PGD at ε 0.3: 41.0% (cross-entropy), 40.1% (stable); λ₁ 1.23e+06" in lines


def test_the_last_result_names_epsilon_and_losses() -> None:
    assert describe(RESULT) == "clean 92.5%; PGD at ε 0.3: 41.0% (cross-entropy), 40.1% (stable); λ₁ 12.3"
    assert describe({"test_acc": 0.5, "fgsm_acc": 0.25}) == "clean 50.0%; FGSM: 25.0% (cross-entropy)"
    assert describe({"lambda1_test": 2.0, "test_acc": float("nan")}) == "λ₁ 2 (test)"
    assert describe({}) == ""
    assert describe_epoch({"epoch": 3, "epochs": 9, "val_acc": 0.5}) == "epoch 3/9, validation 50.0%"
    assert [describe_epoch({}), describe_epoch({}, trained=True)] == ["starting", "probing"]
    assert describe_epoch({"epoch": 7, "epochs": 9, "probes_answered": 1}) == "probing"
    assert describe_epoch({"epoch": 9, "epochs": 9, "val_acc": 0.5}) == "probing, validation 50.0%"


def test_without_a_terminal_nothing_is_said_twice() -> None:
    clock, out = Clock(), io.StringIO()
    costs = {f"t{i}": 100.0 for i in range(4)}
    progress = Progress(costs, {"t0": "first", "t1": "second"}, clock=clock)
    with Display(progress, Console(file=out, width=80)) as display:
        progress.start("t0")
        progress.start("t1")
        for second in range(300):
            clock.now += 1
            if second == 40:
                progress.finish("t0", "ok", RESULT)
            display.refresh()
        printed = out.getvalue()
        assert printed.count("0/4 done, 2 running, 0 failed") == 1  # at 30 s
        assert printed.count("1/4 done, 1 running, 0 failed") == 1  # at 60 s, and then nothing changes
        assert printed.count("last: first") == 1
        clock.now += QUIET_SECONDS
        display.refresh()
        assert out.getvalue().count("1/4 done") == 2
        assert out.getvalue().count("last: first") == 1
        for trial_id in ("t1", "t2", "t3"):
            progress.finish(trial_id, "ok", RESULT)
    assert out.getvalue().splitlines()[-1].startswith("4/4 done, 0 running, 0 failed | elapsed 15:00")
    assert "ETA" not in out.getvalue().splitlines()[-1]


def test_a_generation_that_another_follows_is_not_the_end() -> None:
    out = io.StringIO()
    progress = Progress({"parent": 1.0, "child": 1.0}, {})
    with Display(progress, Console(file=out, width=80)):
        progress.finish("parent", "ok", {})
    assert out.getvalue() == ""
    with pytest.raises(KeyboardInterrupt), Display(progress, Console(file=out, width=80)):
        raise KeyboardInterrupt
    assert "1/2 done" in out.getvalue()


@pytest.mark.parametrize(
    ("per_second", "text"), [(4.1, "246/min"), (1 / 3, "20/min"), (1 / 2800, "1.3/h"), (1 / 50_000, "1.7/day")]
)
def test_rates_have_the_unit_in_which_there_is_at_least_one(per_second: float, text: str) -> None:
    assert rate(per_second) == text


@pytest.mark.parametrize(
    ("use", "text"),
    [
        ({}, ""),
        ({"10.0.0.1": (7.75, 8.0)}, "GPUs 7.75/8"),
        (
            {"10.0.0.1": (1.0, 1.0), "10.0.0.2": (0.25, 1.0)},  # the one with the most free GPUs comes first
            "GPUs 1.25/2 (10.0.0.2 0.25/1, 10.0.0.1 1/1)",
        ),
        (
            {f"node{i}": (i / 10, 1.0) for i in range(8)},
            "GPUs 2.8/8 (node0 0/1, node1 0.1/1, node2 0.2/1, node3 0.3/1, 4 more)",
        ),
    ],
    ids=["none", "one machine needs no address", "two machines", "many fit one line"],
)
def test_gpus_in_use(use: Mapping[str, tuple[float, float]], text: str) -> None:
    assert describe_gpus(use) == text
    assert Progress({}, {}, gpu_use=lambda: use).summary().endswith(text)
    assert ("GPU" in Progress({}, {}, gpu_use=lambda: use).summary()) == bool(use)


def test_an_error_of_the_cluster_does_not_end_the_run() -> None:
    def gone() -> dict[str, tuple[float, float]]:
        raise ConnectionError("the head is gone")

    assert Progress({"a": 1.0}, {}, gpu_use=gone).summary() == (
        "0/1 done, 0 running, 0 failed | elapsed 0:00 | ETA unknown"
    )


def test_use_is_rays_bookkeeping() -> None:
    @ray.remote(num_cpus=1, num_gpus=0.25)
    class Trial:
        def ready(self) -> bool:
            return True

    ray.init(num_cpus=2, num_gpus=1, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    try:
        wait_for(lambda: [*gpu_use().values()] == [(0.0, 1.0)], seconds=20)  # Ray's figures lag a little behind
        trial = Trial.remote()
        assert ray.get(trial.ready.remote())
        wait_for(lambda: [*gpu_use().values()] == [(0.25, 1.0)], seconds=20)
    finally:
        ray.shutdown()
