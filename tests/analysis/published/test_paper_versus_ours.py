"""The papers' tables beside ours: the right run for each printed number, and an honest verdict on it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.output.page.published import published_section
from analysis.published import published
from analysis.published.paper_versus_ours import COLUMNS, compare
from analysis.published.printed_rows import PRINTED, PrintedTable
from analysis.statistics.intervals import mean_interval
from analysis.tables.table import StudyTable, from_rows
from search_spaces import Request, Trial, plan
from search_spaces.sgd_variants import CIFAR, SGD_VARIANTS
from tests.analysis.large_batch import changed, robust, to_the_loss
from tests.analysis.synthetic import row


def printed(table: str, model: str) -> PrintedTable:
    return next(t for t in PRINTED if (t.table, t.printed_model) == (table, model))


def cell(frame: pd.DataFrame, label: str, metric: str, split: str = "test", eps: float | None = None) -> dict[str, Any]:
    asked = (frame["row"] == label) & (frame["metric"] == metric) & (frame["split"] == split)
    asked &= frame["eps"].isna() if eps is None else np.isclose(frame["eps"].astype(float), eps or 0.0)
    (found,) = frame[asked].to_dict("records")
    return {str(name): value for name, value in found.items()}


def table_7(**choices: Any) -> pd.DataFrame:
    return compare(from_rows(to_the_loss(**choices)), printed("Yao-T7", "M1"), "m1").cells


def test_every_printed_number_has_its_place_once() -> None:
    cells = [compare(from_rows([]), t, t.models[0]).cells for t in PRINTED]
    assert sum(map(len, cells)) == len(published())
    assert all(list(frame.columns) == COLUMNS for frame in cells)
    assert {word for frame in cells for word in frame["verdict"]} == {"not run"}


def test_ours_is_the_mean_over_seeds_with_the_interval_of_one_more_run() -> None:
    rows = to_the_loss(clean=lambda doublings: 0.99, noise=0.01)
    found = cell(compare(from_rows(rows), printed("Yao-T7", "M1"), "m1").cells, "64", "clean_acc")
    seeds = 100 * np.array([r["test_acc"] for r in rows if r["batch_size"] == 64])
    low, high = stats.t.interval(0.95, 2, loc=seeds.mean(), scale=seeds.std(ddof=1) * np.sqrt(1 + 1 / 3))
    assert (found["ours"], found["low"], found["high"]) == pytest.approx((seeds.mean(), low, high))
    assert (found["paper"], found["seeds"]) == (99.21, 3)
    assert found["difference"] == pytest.approx(found["ours"] - 99.21)


def test_lambda1_has_a_geometric_mean() -> None:
    rows = to_the_loss()
    found = cell(compare(from_rows(rows), printed("Yao-T7", "M1"), "m1").cells, "64", "lambda1_theta", "train")
    seeds = np.log([r["lambda1_train"] for r in rows if r["batch_size"] == 64])
    assert found["ours"] == pytest.approx(np.exp(seeds.mean()))
    assert found["paper"] == 0.49


def test_an_eigenvalue_without_a_logarithm_was_measured_and_decides_nothing() -> None:
    rows = to_the_loss()
    rows[0]["lambda1_train"] = -0.1
    found = cell(compare(from_rows(rows), printed("Yao-T7", "M1"), "m1").cells, "64", "lambda1_theta", "train")
    assert (found["verdict"], found["seeds"]) == ("not decidable", 3)


@pytest.mark.parametrize(
    ("level", "seeds", "verdict"),
    [
        (0.9921, (0, 1, 2), "consistent"),
        (0.95, (0, 1, 2), "not consistent"),
        (0.9921, (0,), "not decidable"),
    ],
)
def test_consistent_is_within_the_interval(level: float, seeds: tuple[int, ...], verdict: str) -> None:
    cells = table_7(clean=lambda doublings: level, seeds=seeds, noise=0.001)
    assert cell(cells, "64", "clean_acc")["verdict"] == verdict


def test_more_seeds_do_not_make_a_true_agreement_inconsistent() -> None:
    """The paper's number is one run of the same networks. By the interval of our mean it was called inconsistent in 16,
    32 and 46 % of studies with 3, 5 and 8 seeds; where one more run would lie it is in 5 % with any number of seeds.
    """
    rng = np.random.default_rng(5)
    for seeds, before in ((3, 0.16), (5, 0.32), (8, 0.46)):
        studies = list(zip(rng.normal(size=(2_000, seeds)), rng.normal(size=2_000), strict=True))

        def outside(new: bool, studies: list[Any] = studies) -> float:
            found = [(mean_interval(ours, new=new), paper) for ours, paper in studies]
            return float(np.mean([not m.low <= paper <= m.high for m, paper in found]))

        assert outside(True) == pytest.approx(0.05, abs=4 * np.sqrt(0.05 * 0.95 / 2_000))
        assert outside(False) == pytest.approx(before, abs=4 * np.sqrt(0.25 / 2_000))


def test_the_rounding_of_the_print_widens_the_interval() -> None:
    """Table 7 prints .85: with no spread between seeds 84.6 % is it, 84.4 % is not."""
    for share, verdict in ((0.846, "consistent"), (0.844, "not consistent")):
        cells = table_7(accuracy=lambda attack, doublings, share=share: share, noise=0.0)
        found = cell(cells, "64", "fgsm_acc", eps=0.1)
        assert (found["rounding"], found["verdict"]) == (0.5, verdict)


def test_trailing_zeros_that_the_file_drops_do_not_coarsen_a_column() -> None:
    rows = published()
    mine = rows[(rows["table"] == "Yao-T2") & (rows["metric"] == "clean_acc") & (rows["split"] == "test")]
    assert set(mine["rounding"].round(9)) == {0.005}
    assert set(rows[rows["table"] == "Yao-T3"]["rounding"].round(9)) == {0.005}


def test_attacks_are_compared_on_the_published_loss_with_the_stable_one_beside() -> None:
    rows = to_the_loss()
    for one in rows:
        one["attacks"] = [a | ({"accuracy": 0.11} if a["loss"] == "stable" else {}) for a in one["attacks"]]
    found = cell(compare(from_rows(rows), printed("Yao-T7", "M1"), "m1").cells, "128", "fgsm_acc", eps=0.1)
    assert found["stable"] == pytest.approx(11)
    assert found["ours"] > 50


def test_what_deviates_from_the_protocol_is_said() -> None:
    cells = table_7(train_size=2000, unreached=(2048,))
    assert "2,000 instead of 60,000 training images" in cell(cells, "64", "clean_acc")["protocol"]
    assert "3 of 3 seeds stopped above the target loss" in cell(cells, "2048", "clean_acc")["protocol"]
    assert cell(table_7(), "64", "clean_acc")["protocol"] == ""


def test_the_papers_protocol_is_preferred_to_another_one() -> None:
    both = to_the_loss(train_size=2000, clean=lambda d: 0.5) + to_the_loss(clean=lambda d: 0.99)
    found = cell(compare(from_rows(both), printed("Yao-T7", "M1"), "m1").cells, "64", "clean_acc")
    assert found["ours"] == pytest.approx(99, abs=0.5)


def test_tables_3_and_4_transfer_the_images_of_m_ori() -> None:
    rows = robust(original={"l2grad": 0.14}, transferred={"l2grad": 0.63}, white_box={"l2grad": 0.01})
    for one in rows:  # an attack that the paper does not have is not in its mean
        one["attacks"].append(one["attacks"][-1] | {"attack": "pgd", "loss": "ce", "accuracy": 0.0, "correct": 0})
    frame = compare(from_rows(rows), printed("Yao-T3", "M1"), "m1").cells
    assert cell(frame, "M_ORI", "l2grad_acc", eps=0.1)["ours"] == pytest.approx(14, abs=1)
    assert cell(frame, "M_FGSM", "l2grad_acc", eps=0.1)["ours"] == pytest.approx(63, abs=1)
    mean = cell(frame, "M_FGSM", "mean_adv_acc", eps=0.1)
    assert mean["ours"] == pytest.approx((4 * 80 + 63) / 5, abs=1)


def vgg_rows() -> StudyTable:
    cells = [(c.regime, t) for c in SGD_VARIANTS.curves for t in c.cells if t.model == "vgg11"]
    attacks = {(a, loss): 0.3 for a in ("fgsm", "pgd") for loss in ("ce", "stable")}

    def made(regime: str, trial: Trial) -> dict[str, Any]:
        return row(trial, clean=0.8, attacks=attacks, log2_lambda1=3.0, regimes=(regime,), spaces=("sgd_variants",))

    return from_rows([made(regime, trial.with_seed(seed)) for regime, trial in cells for seed in (0, 1)])


def test_every_row_of_choudharys_table_2_finds_its_runs() -> None:
    frame = compare(vgg_rows(), printed("Choudhary-T2", "VGG11"), "vgg11").cells
    assert set(frame["seeds"]) == {2}
    assert set(frame["protocol"]) == {""}
    assert CIFAR.dataset == printed("Choudhary-T2", "VGG11").dataset


def test_commands_plan_the_cells_that_they_promise() -> None:
    for one in PRINTED:
        for model in one.models:
            words = dict(word.split("=") for word in one.command(model).split() if "=" in word)
            grid = one.command(model).split("--grid ")[1].split()[0]
            found = plan(Request(grid, {key: tuple(value.split(",")) for key, value in words.items()}))
            assert {(p.trial.dataset, p.trial.model) for p in found.values()} == {(one.dataset, model)}


def test_the_page_opens_what_was_run_and_gives_one_line_to_the_rest() -> None:
    study = from_rows(changed(to_the_loss(), device="cpu"))
    page = published_section([compare(study, t, model) for t in PRINTED for model in t.models]).body
    assert page.count("<details") == 2
    assert "contradict Table 3" in page
    assert "Yao et al., Table 7: M1 on MNIST, read as M1: " in page
    assert "--grid large_batch --select dataset=cifar10 model=c3 regime=benchmark,adversarial" in page
    assert f"{sum(len(t.models) for t in PRINTED) - 1} tables were not run" in page
    b_table = published_section([compare(vgg_rows(), printed("Choudhary-T2", "VGG11"), "vgg11")]).body
    assert "a higher accuracy under PGD than under FGSM" in b_table


def test_the_page_has_printed_numbers_as_they_are_printed() -> None:
    one = compare(from_rows(to_the_loss()), printed("Yao-T7", "M1"), "m1")
    for paper, rounding, text in ((0.523, 0.0005, "paper 0.523 ("), (2372.0, 0.5, "paper 2372 (")):
        assert text in published_section([replace(one, cells=one.cells.assign(paper=paper, rounding=rounding))]).body
