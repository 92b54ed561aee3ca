"""Cells: counts, seed values, means, and the flags that exclude a cell from tests."""

import numpy as np
import pandas as pd
import pytest

from analysis.tables.cells import CELL, cells
from analysis.tables.table import QUESTION, StudyTable, from_rows
from study.results.schema import Row
from tests.analysis import synthetic as s

SIZES = (16, 64, 256)


def curve(**options: object) -> list[Row]:
    return s.curve_rows(batch_sizes=SIZES, **options)  # type: ignore[arg-type]


def of(frame: pd.DataFrame, batch_size: int, attack: str = "fgsm", regime: str = "lr", loss: str = "ce") -> pd.Series:
    chosen = (frame["batch_size"] == batch_size) & (frame["attack"] == attack)
    found = frame[chosen & (frame["regime"] == regime) & (frame["loss"] == loss)]
    assert len(found) == 1
    return found.iloc[0]


def edit_attacks(rows: list[Row], batch_size: int, **values: object) -> list[Row]:
    for row in rows:
        if row["batch_size"] == batch_size:
            row["attacks"] = [attack | values for attack in row["attacks"]]
    return rows


def test_one_row_per_curve_batch_and_question_and_batch_64_lies_on_two_curves() -> None:
    found = cells(from_rows(curve()))
    assert not found.duplicated([*CELL, *QUESTION]).any()
    assert len(found) == 4 * (len(SIZES) + 1)
    shared = of(found, 64, regime="lr_bs")
    assert list(shared["trial_ids"]) == list(of(found, 64)["trial_ids"])


def test_seed_values_are_sorted_by_seed_aligned_and_averaged() -> None:
    rows = curve(seeds=(2, 0, 1))
    cell = of(cells(from_rows(rows)), 16)
    expected = sorted((r for r in rows if r["batch_size"] == 16), key=lambda r: r["seed"])
    assert list(cell["seeds"]) == [0, 1, 2]
    assert list(cell["accuracy_seeds"]) == [r["fgsm_acc"] for r in expected]
    assert cell["accuracy"] == pytest.approx(np.mean([r["fgsm_acc"] for r in expected]))
    assert list(cell["log2_lambda1_test_seeds"]) == pytest.approx([np.log2(r["lambda1_test"]) for r in expected])
    assert cell["log2_lambda1_train"] == pytest.approx(np.mean([np.log2(r["lambda1_train"]) for r in expected]))
    assert (cell["correct"], cell["n"]) == (round(sum(r["fgsm_acc"] for r in expected) * 10_000), 30_000)


@pytest.mark.parametrize(("steps", "usual"), [((100, 40, 20), 40), ((20, 10), 20), ((20,), 20)])
def test_pgd_with_other_numbers_of_steps_is_another_attack_and_no_further_seed(
    steps: tuple[int, ...], usual: int
) -> None:
    rows = curve()
    for row in rows:
        pgd = [attack for attack in row["attacks"] if attack["attack"] == "pgd"]
        others = [attack for attack in row["attacks"] if attack["attack"] != "pgd"]
        row["attacks"] = [*others, *(attack | {"steps": n, "correct": n} for attack in pgd for n in steps)]
    found = cells(from_rows(rows))
    assert {"fgsm", "pgd", *(f"pgd ({n} steps)" for n in steps if n != usual)} == set(found["attack"])
    assert (found["n_seeds"] == 3).all()
    assert of(found, 16, "pgd")["correct"] == 3 * usual


def test_a_diverged_cell_keeps_its_place_and_its_counts() -> None:
    cell = of(cells(from_rows(curve(diverged=(256,)))), 256)
    assert (cell["n_seeds"], cell["n_ok"], cell["n_diverged"], cell["n_planned"]) == (0, 0, 3, 3)
    assert not cell["decidable"] and not cell["sound"] and np.isnan(cell["accuracy"])
    assert cell["accuracy_seeds"].size == cell["trial_ids"].size == 0


def test_planned_trials_without_a_row_are_missing() -> None:
    rows = curve(seeds=(0, 1))
    trials = [s.trial(batch_size=b, seed=seed) for b in SIZES for seed in (0, 1, 2)]
    cell = of(cells(from_rows(rows, grid=s.planned(rows, trials))), 16)
    assert (cell["n_planned"], cell["n_ok"], cell["n_missing"]) == (3, 2, 1)


@pytest.mark.parametrize(
    ("seeds", "diverged", "failed", "decidable"),
    [(3, 0, 0, True), (2, 0, 0, False), (3, 1, 0, True), (3, 2, 0, False), (3, 2, 1, False), (3, 1, 3, True)],
)
def test_a_cell_decides_with_three_seeds_and_two_thirds_not_diverged(
    seeds: int, diverged: int, failed: int, decidable: bool
) -> None:
    """One that failed is neither: it counted as one that did not diverge."""
    rows = curve(seeds=tuple(range(seeds)))
    lost = s.curve_rows(batch_sizes=(16,), seeds=tuple(range(10, 10 + diverged + failed)), diverged=(16,))
    lost = [row | ({"status": "failed"} if k >= diverged else {}) for k, row in enumerate(lost)]
    assert of(cells(from_rows(rows + lost)), 16)["decidable"] == decidable


@pytest.mark.parametrize(("accuracy", "floor"), [(0.0, True), (0.007, True), (0.012, False), (0.3, False)])
def test_floor_is_an_upper_bound_below_one_percent(accuracy: float, floor: bool) -> None:
    found = cells(from_rows(curve(pgd=s.flat(accuracy), noise=0.0)))
    assert (found.loc[found["attack"] == "pgd", "floor"] == floor).all()
    assert not found.loc[found["attack"] == "fgsm", "floor"].any()


def test_few_images_do_not_prove_a_floor() -> None:
    found = cells(from_rows(curve(pgd=s.flat(0.0), noise=0.0, test_size=300, seeds=(0,))))
    assert not found["floor"].any()  # 0 of 300 leaves up to 1.2 %


@pytest.mark.parametrize(
    ("classes", "accuracy", "untrained"),
    [
        (2, 0.5, True), (2, 0.6, False), (8, 0.19, True), (8, 0.23, False), (10, 0.19, True), (10, 0.21, False),
        (100, 0.019, True), (100, 0.05, False), (None, 0.19, True), (None, 0.21, False),
    ],
)  # fmt: skip
def test_untrained_depends_on_the_number_of_classes(classes: int | None, accuracy: float, untrained: bool) -> None:
    rows = [row | {"num_classes": classes} for row in curve(clean=s.flat(accuracy))]
    assert (cells(from_rows(rows))["untrained"] == untrained).all()


@pytest.mark.parametrize(("dataset", "untrained"), [("cifar10", True), ("cifar100", False)])
def test_old_rows_have_the_classes_of_their_data_set(dataset: str, untrained: bool) -> None:
    found = cells(from_rows(curve(clean=s.flat(0.1), dataset=dataset)))
    assert (found["untrained"] == untrained).all()


def test_pgd_above_fgsm_beyond_noise_makes_pgd_suspect() -> None:
    found = cells(from_rows(curve(fgsm=s.flat(0.4), pgd=lambda d: 0.5 if d == 4 else 0.403, noise=0.0)))
    assert of(found, 256, "pgd")["suspect"] and not of(found, 256, "fgsm")["suspect"]
    assert not of(found, 16, "pgd")["suspect"]  # .3 points: within two standard errors of 30,000 images


def test_vanished_gradients_make_an_attack_suspect() -> None:
    rows = edit_attacks(curve(), 64, zero_grad_fraction=0.02)
    found = cells(from_rows(rows))
    assert found.groupby("batch_size")["suspect"].all().to_dict() == {16: False, 64: True, 256: False}
    assert not found.loc[found["suspect"], "sound"].any()


def test_convergence_is_that_of_every_seed() -> None:
    rows = curve()
    rows[0]["spectra"][1]["converged"] = False  # batch 16, seed 0, test
    cell = of(cells(from_rows(rows)), 16)
    assert cell["converged_train"] and not cell["converged_test"]


def test_a_negative_eigenvalue_has_no_logarithm() -> None:
    rows = curve()
    for row in rows[:3]:
        row["lambda1_test"] = -1.0
    assert np.isnan(of(cells(from_rows(rows)), 16)["log2_lambda1_test"])


def test_protocols_never_share_a_cell() -> None:
    found = cells(from_rows(curve() + curve(epochs=5)))
    assert (found["n_seeds"] == 3).all() and found["epochs"].nunique() == 2


def test_rows_of_before_adversarial_epsilons_have_none() -> None:
    rows = [{name: value for name, value in row.items() if name != "adversarial_epsilon"} for row in curve()]
    assert from_rows(rows).trials["adversarial_epsilon"].eq(0.0).all()


@pytest.mark.parametrize("rows", [[], [s.row(s.trial(), clean=0.9, attacks={}, log2_lambda1=1.0)]])
def test_nothing_attacked_gives_no_cells(rows: list[Row]) -> None:
    table: StudyTable = from_rows(rows)
    assert len(cells(table)) == 0
