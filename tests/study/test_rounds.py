"""One trial that ends Tune every time it runs fails alone, however many run beside it."""

import pytest

from study.tuning import MAX_FAILURES, next_round

SLOTS = 40


def rounds(trials: int, culprits: set[str], most: int | None = None) -> tuple[set[str], int]:
    """Those that fail where a culprit ends Tune as soon as it runs, before any other trial is done; and the rounds."""
    left, failed, number = [str(i) for i in range(trials)], set(), 0
    attempts = dict.fromkeys(left, 0)
    while left:
        number += 1
        now, at_once = next_round(left, attempts, most)
        slots = min(SLOTS, at_once or SLOTS)
        for start in range(0, len(now), slots):
            running = now[start : start + slots]
            if culprits & {*running}:
                for trial_id in running:
                    attempts[trial_id] += 1
                break
            left = [trial_id for trial_id in left if trial_id not in running]
        failed |= {trial_id for trial_id in left if attempts[trial_id] > MAX_FAILURES}
        left = [trial_id for trial_id in left if trial_id not in failed]
    return failed, number


@pytest.mark.parametrize("trials", [1, 2, 3, 40, 400])
@pytest.mark.parametrize("most", [None, 2, 7])
def test_only_the_culprit_fails(trials: int, most: int | None) -> None:
    for culprit in {0, trials // 2, trials - 1}:
        failed, number = rounds(trials, {str(culprit)}, most)
        assert failed == {str(culprit)}
        assert number <= 2 * (MAX_FAILURES + 1)


def test_several_culprits_fail_and_nothing_else() -> None:
    culprits = {"0", "7", "39", "40", "150"}
    assert rounds(200, culprits)[0] == culprits


def test_trials_that_nobody_blames_run_as_asked() -> None:
    assert next_round(["a", "b"], {"a": 0, "b": 0}, 7) == (["a", "b"], 7)
    assert next_round(["a", "b"], {"a": 1, "b": 0}) == (["b"], None)
    assert next_round(["a", "b"], {"a": 1, "b": 1}, 7) == (["a", "b"], 1)
