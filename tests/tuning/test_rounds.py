"""One trial that ends Tune every time it runs fails alone, however many run beside it; a crowd only thins out."""

import pytest

from study.tuning.tuner import MAX_FAILURES, next_round

SLOTS = 40


def rounds(
    trials: int, culprits: set[str], most: int | None = None, room: int = SLOTS
) -> tuple[set[str], int, list[int | None]]:
    """Those that fail, the rounds, and how many ran at once in each.

    Tune ends as soon as a culprit runs or more than `room` do, before any trial of them is done.
    """
    left, failed, number = [str(i) for i in range(trials)], set(), 0
    attempts, together, crowds = dict.fromkeys(left, 0), dict[str, int](), list[int | None]()
    while left:
        number += 1
        now, at_once = next_round(left, attempts, together, most)
        crowds.append(at_once)
        slots = min(SLOTS, at_once or SLOTS)
        for start in range(0, len(now), slots):
            running = now[start : start + slots]
            if culprits & {*running} or len(running) > room:
                together |= dict.fromkeys(running, len(running))
                for trial_id in running:
                    attempts[trial_id] += 1
                break
            left = [trial_id for trial_id in left if trial_id not in running]
        failed |= {trial_id for trial_id in left if attempts[trial_id] > MAX_FAILURES}
        left = [trial_id for trial_id in left if trial_id not in failed]
    return failed, number, crowds


@pytest.mark.parametrize("trials", [1, 2, 3, 40, 400])
@pytest.mark.parametrize("most", [None, 2, 7])
def test_only_the_culprit_fails(trials: int, most: int | None) -> None:
    for culprit in {0, trials // 2, trials - 1}:
        failed, number, _ = rounds(trials, {str(culprit)}, most)
        assert failed == {str(culprit)}
        assert number <= 2 * (MAX_FAILURES + 1)


def test_several_culprits_fail_and_nothing_else() -> None:
    culprits = {"0", "7", "39", "40", "150"}
    assert rounds(200, culprits)[0] == culprits


def test_a_crowd_that_is_too_large_for_its_machine_runs_in_smaller_ones() -> None:
    failed, _, crowds = rounds(400, set(), room=20)
    assert failed == set()
    assert set(crowds) == {None, SLOTS // 4}  # none had to run alone


def test_what_kept_tune_from_starting_any_trial_thins_out_nothing() -> None:
    assert next_round(["a", "b"], {"a": 3, "b": 3}, {}, 7) == (["a", "b"], 7)


def test_trials_that_nobody_blames_run_as_asked() -> None:
    assert next_round(["a", "b"], {"a": 0, "b": 0}, {}, 7) == (["a", "b"], 7)
    assert next_round(["a", "b"], {"a": 1, "b": 0}, {"a": 1}) == (["b"], None)
    assert next_round(["a", "b"], {"a": 1, "b": 1}, {"a": 2, "b": 2}, 7) == (["a", "b"], 1)
