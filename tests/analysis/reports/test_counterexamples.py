"""The counterexample report on worlds whose truth was planted, and its rate of false finds."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.reports.counterexamples import COUNTEREXAMPLE, REVERSE, CounterexampleReport, counterexample_report
from analysis.tables.cells import cells
from analysis.tables.pairs import pair_up, paired_errors
from analysis.tables.table import from_rows
from search_spaces import Request, plan
from study.results.schema import Row
from tests.analysis import synthetic as s


def curve(**options: Any) -> list[Row]:
    """One curve whose curvature doubles with the batch; FGSM accuracy flat, PGD accuracy flat unless told."""
    planted = {"pgd": s.flat(0.1), "log2_lambda1": s.line(1.0, 1.0), "batch_sizes": (16, 32, 128, 256, 512)}
    return s.curve_rows(**(planted | options))


def report(rows: list[Row]) -> CounterexampleReport:
    return counterexample_report(from_rows(rows))


def pick(found: pd.DataFrame, i: int = 16, j: int = 512, **values: Any) -> pd.DataFrame:
    wanted = {"curvature": "lambda1_test", "attack": "fgsm", "loss": "ce", "batch_i": i, "batch_j": j} | values
    for name, value in wanted.items():
        found = found[found[name] == value]
    return found


def test_a_planted_counterexample_is_confirmed_with_three_seeds() -> None:
    found = report(curve(fgsm=s.line(0.2, 0.06)))
    one = pick(found.found).iloc[0]
    assert one["label"] == "confirmed" and one["direction"] == COUNTEREXAMPLE
    assert one["lambda1_ratio"] == pytest.approx(32, rel=0.2)
    assert one["accuracy_gap"] == pytest.approx(0.3, abs=0.02)
    assert one["q"] < 1e-4 and one["p"] == max(one["p_lambda1"], one["p_accuracy"])
    assert one["reason"] == "" and one["note"] == ""
    for side in "ij":
        assert one[f"lambda1_low_{side}"] < one[f"lambda1_{side}"] < one[f"lambda1_high_{side}"]
        assert one[f"accuracy_low_{side}"] < one[f"accuracy_{side}"] < one[f"accuracy_high_{side}"]
    assert found.summary() == "10 confirmed of 20 testable pairs on 1 curve under FGSM and PGD"
    assert found.summary(direction=REVERSE) == "0 confirmed of 20 testable pairs on 1 curve under FGSM and PGD"


@pytest.mark.parametrize("seeds", [(0, 1), (0,)])
def test_under_three_seeds_it_is_a_candidate(seeds: tuple[int, ...]) -> None:
    found = report(curve(fgsm=s.line(0.2, 0.06), seeds=seeds))
    assert set(found.found["label"]) == {"candidate"}
    one = pick(found.found).iloc[0]
    assert one["reason"].startswith("fewer than 3 seeds") and np.isnan(one["q"])
    assert found.summary() == "no testable pair"


def test_a_cell_at_its_floor_makes_a_floor_artefact() -> None:
    found = report(curve(pgd=lambda d: 0.002 if d == 0 else 0.05, noise=0.0005))
    one = pick(found.found, attack="pgd").iloc[0]
    assert one["label"] == "floor artefact" and one["reason"] == "floor"
    assert len(pick(found.found, i=32, attack="pgd")) == 0


def test_a_reverse_pair_stands_apart() -> None:
    found = report(curve(fgsm=s.line(0.6, -0.06), log2_lambda1=s.line(6.0, -1.0)))
    one = pick(found.found).iloc[0]
    assert one["label"] == "confirmed" and one["direction"] == REVERSE
    assert one["lambda1_ratio"] < 0.1 and one["accuracy_gap"] < -0.2 and one["severity"] > 0
    assert found.summary() == "0 confirmed of 20 testable pairs on 1 curve under FGSM and PGD"


def test_the_papers_claim_itself_is_no_counterexample() -> None:
    assert len(report(curve(fgsm=s.line(0.6, -0.06))).found) == 0


@pytest.mark.parametrize(
    "planted",
    [
        {"fgsm": s.line(0.2, 0.06), "log2_lambda1": s.line(1.0, 0.05)},  # lambda1 ratio 1.19
        {"fgsm": s.line(0.2, 0.0018), "noise": 0.0002},  # .9 points
        {"fgsm": s.line(0.2, 0.003), "noise": 0.0002, "test_size": 1_000},  # 1.5 points of 1,000 images
    ],
)
def test_small_effects_are_not_counterexamples_however_certain(planted: dict[str, Any]) -> None:
    assert len(report(curve(**planted)).found) == 0


def test_an_eigenvalue_that_did_not_converge_confirms_nothing() -> None:
    rows = curve(fgsm=s.line(0.2, 0.06))
    for row in rows:
        if row["batch_size"] == 512:
            row["spectra"][1]["converged"] = False  # the test spectrum
    found = report(rows).found
    assert pick(found)["label"].item() == "candidate"
    assert pick(found)["reason"].item() == "eigenvalue not converged"
    assert pick(found, curvature="lambda1_train")["label"].item() == "confirmed"


def test_two_positive_eigenvalues_of_three_confirm_nothing() -> None:
    rows = curve(fgsm=s.line(0.2, 0.06))
    next(row for row in rows if row["batch_size"] == 512)["lambda1_test"] = -9.0
    one = pick(report(rows).found).iloc[0]
    assert (one["label"], one["reason"]) == ("candidate", "eigenvalue not positive")


def test_noise_that_fits_no_verdict_is_a_candidate() -> None:
    found = report(curve(fgsm=s.line(0.4, 0.012), noise=0.04, rng=np.random.default_rng(8))).found
    chance = found[(found["attack"] == "fgsm") & (found["label"] == "candidate")]
    assert len(chance) and (chance["reason"] == "q > 0.05").all()


def test_a_pair_that_only_hidden_noise_keeps_from_being_confirmed_says_so() -> None:
    def reasons(seeds: int) -> set[str]:
        rows = curve(fgsm=s.line(0.4, 0.03), noise=0.008, seeds=tuple(range(seeds)), rng=np.random.default_rng(1))
        found = report(rows).found
        asked = found[(found["attack"] == "fgsm") & (found["curvature"] == "lambda1_train")]
        return set(asked["reason"])

    assert "too few seeds to confirm this pair alone" in reasons(3)
    assert reasons(8) == {""}


def test_untrained_and_suspect_cells_confirm_nothing() -> None:
    untrained = report(curve(fgsm=s.line(0.1, 0.06), clean=lambda d: 0.15 if d == 0 else 0.99)).found
    assert pick(untrained)[["label", "reason"]].to_numpy().tolist() == [["candidate", "untrained"]]
    suspect = report(curve(pgd=lambda d: 0.3 + 0.06 * d)).found
    assert pick(suspect, attack="pgd")[["label", "reason"]].to_numpy().tolist() == [["candidate", "suspect"]]


def test_training_losses_apart_are_noted() -> None:
    rows = curve(fgsm=s.line(0.2, 0.06))
    for row in rows:
        row["train_loss"] = 0.05 if row["batch_size"] < 512 else 0.2
    found = report(rows).found
    assert pick(found)["note"].item() == "loss-confounded"
    assert pick(found, j=256)["note"].item() == ""


def test_a_gap_that_clean_accuracy_explains_is_noted() -> None:
    rows = curve(
        fgsm=lambda d: 0.25 + 0.05 * d, clean=lambda d: 0.5 + 0.1 * d, batch_sizes=(16, 32, 128, 256), test_size=20_000
    )
    found = report(rows).found
    assert set(pick(found, j=256)["note"]) == {"clean-confounded"}


def test_protocols_and_curves_never_pair() -> None:
    rows = curve(fgsm=s.flat(0.2), batch_sizes=(16,)) + curve(fgsm=s.flat(0.6), batch_sizes=(512,), epochs=5)
    rows += curve(fgsm=s.flat(0.6), batch_sizes=(512,), momentum=0.9)
    assert report(rows).families.empty


def test_one_seed_each_gives_mcnemars_standard_error() -> None:
    rows = curve(seeds=(0,), batch_sizes=(16, 512))
    rng = np.random.default_rng(0)
    kept = [rng.random(10_000) < share for share in (0.3, 0.4)]
    for row, bits in zip(rows, kept, strict=True):
        for attack in row["attacks"]:
            attack |= {"correct": int(bits.sum()), "accuracy": bits.mean(), "correct_bits": np.packbits(bits).tobytes()}
    table = from_rows(rows)
    summary = cells(table)
    pairs = pair_up(summary, "lambda1_test")
    b, c = (kept[1] & ~kept[0]).sum(), (kept[0] & ~kept[1]).sum()
    expected = np.sqrt(b + c - (b - c) ** 2 / 10_000) / 10_000
    assert paired_errors(summary, pairs, table.attacks) == pytest.approx(np.full(4, expected))


def test_without_bits_the_error_is_unpaired() -> None:
    rows = curve(seeds=(0,), batch_sizes=(16, 512), noise=0.0, fgsm=s.flat(0.5), pgd=s.flat(0.5))
    for row in rows:
        row["attacks"] = [attack | {"correct_bits": None} for attack in row["attacks"]]
    table = from_rows(rows)
    summary = cells(table)
    found = paired_errors(summary, pair_up(summary, "lambda1_test"), table.attacks)
    assert found == pytest.approx(np.full(4, np.sqrt(2 * 0.25 / 10_000)))


def test_the_command_plans_exactly_the_two_cells() -> None:
    request = Request("natural_training", select={"dataset": ("mnist",), "model": ("m1_20",)}, epochs=100)
    grid = plan(request)
    rows = curve(fgsm=s.line(0.2, 0.06), momentum=0.9)
    assert {row["trial_id"] for row in rows} <= set(grid)
    found = counterexample_report(from_rows(rows, grid=grid, requests=[request])).found
    command = pick(found)["rerun"].item()
    assert command == (
        "python -m study.run --grid natural_training --select dataset=mnist model=m1_20 regime=lr momentum=0.9 "
        "batch_size=16,512 --epochs 100 --seeds 0,1,2 --results results/rerun"
    )
    select = dict(word.split("=") for word in command.split("--select ")[1].split(" --")[0].split(" "))
    again = replace(request, select={key: tuple(value.split(",")) for key, value in select.items()})
    assert set(plan(again)) == {row["trial_id"] for row in rows if row["batch_size"] in (16, 512)}


def test_without_a_request_the_command_carries_the_sizes_of_the_rows() -> None:
    command = pick(report(curve(fgsm=s.line(0.2, 0.06))).found)["rerun"].item()
    assert "--grid natural_training" in command
    assert "--epochs 100 --train-size 55000 --test-size 10000 --seeds 0,1,2 --results results/rerun" in command


def test_confirmed_pairs_come_first_and_the_most_severe_of_them_at_the_top() -> None:
    rows = curve(fgsm=s.line(0.2, 0.06)) + curve(fgsm=s.line(0.2, 0.03), momentum=0.9, seeds=(0, 1))
    found = report(rows).found
    ranks = found["label"].map({"confirmed": 0, "candidate": 1}).to_numpy()
    assert (np.diff(ranks) >= 0).all() and set(ranks) == {0, 1}
    assert (np.diff(found["severity"][ranks == 0]) <= 0).all()


def test_the_order_of_rows_does_not_matter() -> None:
    rows = curve(fgsm=s.line(0.2, 0.06)) + curve(fgsm=s.line(0.4, -0.03), log2_lambda1=s.line(6, -1), momentum=0.9)
    shuffled = [rows[k] for k in np.random.default_rng(0).permutation(len(rows))]
    left, right = report(rows), report(shuffled)
    pd.testing.assert_frame_equal(left.found, right.found, rtol=1e-9)
    pd.testing.assert_frame_equal(left.families, right.families)


def test_a_copied_curve_leaves_every_q_value_where_it_was() -> None:
    """A q-value just under .05 would otherwise cross it when the family counts the same runs twice."""
    rows = curve(fgsm=s.line(0.4, 0.012), pgd=s.flat(0.2), noise=0.02, rng=np.random.default_rng(2))
    once = report(rows).found
    twice = report([row | {"regimes": [*row["regimes"], "mine"]} for row in rows]).found
    keys = ["attack", "loss", "curvature", "direction", "batch_i", "batch_j"]
    twice = twice[twice["regime"] == "lr"].sort_values(keys, ignore_index=True)
    once = once[once["regime"] == "lr"].sort_values(keys, ignore_index=True)
    assert len(once) > 0
    assert twice["q"].to_numpy() == pytest.approx(once["q"].to_numpy(), nan_ok=True)
    assert twice["label"].tolist() == once["label"].tolist()
