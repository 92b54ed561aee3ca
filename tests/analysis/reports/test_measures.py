"""Which measure explains robustness: planted studies in which one does, none does, or nothing can be told."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analysis.figures.measures import measure_figures
from analysis.reports.measures import COLUMNS, MeasureReport, against_reference, conclusion, measure_report
from analysis.tables.measures import ROBUSTNESS, SHARPNESS
from analysis.tables.table import from_rows
from tests.analysis import synthetic as s
from tests.analysis.synthetic import Curve

FALLS, RISES, LEVEL = s.line(0.6, -0.05), s.line(0.2, 0.05), s.flat(0.4)
SHARPENS = s.line(0.0, 1.0)


def report(
    *,
    pgd: Curve = FALLS,
    log2_lambda1: Curve = s.LOG2_LAMBDA1,
    log2_doubt: Curve | None = None,
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 6, 7),
    draw: int = 0,
    noise: float = 0.003,
) -> MeasureReport:
    """Of one curve; `log2_doubt` along the batch size, where the networks' confidence is stored."""
    rng = np.random.default_rng(draw)
    rows = s.curve_rows(pgd=pgd, log2_lambda1=log2_lambda1, seeds=seeds, rng=rng, noise=noise, test_size=1000)
    for row in rows:
        row["headline_epsilon"] = row["attacks"][0]["epsilon"]
        if log2_doubt is not None:
            doubt = log2_doubt(float(np.log2(row["batch_size"] / 16))) + 0.05 * rng.normal()
            row["train_confidence"] = 1.0 - 2.0 ** (doubt - 12.0)
    return measure_report(from_rows(rows))


def of(found: MeasureReport, sharpness: str, robustness: str = "pgd") -> pd.Series:
    rows = found.summary
    [(_, row)] = rows[(rows["sharpness"] == sharpness) & (rows["robustness"] == robustness)].iterrows()
    return row


def test_a_measure_that_orders_the_networks_is_better_than_one_that_does_not() -> None:
    found = report(log2_doubt=SHARPENS)
    doubt, lambda1 = of(found, "doubt"), of(found, "lambda1_train")
    assert doubt["tau"] == -1.0
    assert doubt["granulated_tau"] < lambda1["granulated_tau"] < 0.5
    assert doubt["sign_error"] == doubt["sign_error_max"] == 0.0
    assert abs(lambda1["tau"]) < 0.8
    assert doubt["difference_low"] < doubt["difference"] < doubt["difference_high"] < 0
    assert doubt["against_lambda1"] == "better"
    assert "shown to order them better (1 − mean confidence on training images)" in conclusion(found)


def test_a_measure_that_follows_robustness_the_wrong_way_is_worse() -> None:
    found = report(log2_lambda1=SHARPENS, log2_doubt=s.line(8.0, -1.0))
    doubt = of(found, "doubt")
    assert (doubt["tau"], doubt["sign_error"], doubt["against_lambda1"]) == (1.0, 1.0, "worse")


def test_two_measures_without_relation_are_open_and_the_sentence_says_no_more() -> None:
    found = report(pgd=LEVEL, log2_doubt=s.flat(3.0))
    assert of(found, "doubt")["against_lambda1"] == "not shown to differ"
    assert conclusion(found).endswith("none is shown to order the networks of a curve better or worse than λ₁.")


def test_two_seeds_compare_nothing() -> None:
    found = report(log2_doubt=SHARPENS, seeds=(0, 1))
    assert found.summary["against_lambda1"].isna().all()
    assert "three seeds" in conclusion(found)


def test_equal_measures_differ_in_one_study_of_twenty_at_most() -> None:
    """Two measures that are equally good, on two curves whose seeds are shared: p is at most .05 in 5 % of studies."""
    rng = np.random.default_rng(0)
    stratum, seed, size = (grid.ravel() for grid in np.meshgrid(range(2), range(5), range(5), indexing="ij"))
    frame = pd.DataFrame({"stratum": stratum, "seed": seed, "trial": np.arange(50)})
    ps = []
    for _ in range(500):
        of_seed = rng.normal(size=(2, 5))[:, seed]
        noise = rng.normal(size=(3, 50))
        columns = {"accuracy": -size + noise[0], "x": size + noise[1] + of_seed[0], "x lambda1_train": size + noise[2]}
        ps.append(against_reference(frame.assign(**columns))["p"])
    assert np.mean(np.array(ps) <= 0.05) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / len(ps))


def test_cells_of_which_over_a_third_diverged_decide_nothing() -> None:
    """Three seeds were enough, however many others diverged."""
    rows = s.curve_rows(pgd=FALLS, seeds=(0, 1, 2))
    lost = s.curve_rows(seeds=(3, 4), diverged=(16, 32, 64, 128, 256, 512, 1024))
    for some, decided in ((rows, True), (rows + lost, False)):
        assert measure_report(from_rows(some)).strata["low"].notna().any() == decided


@pytest.mark.parametrize(("accuracy", "left"), [(0.008, 8), (0.0, 0)])
def test_cells_are_at_the_floor_where_so_many_images_show_it(accuracy: float, left: int) -> None:
    """Three networks with .8 % of 1,000 images right each have an upper limit of 1.2 %; batch 64 is on two curves."""
    found = report(pgd=s.flat(accuracy), noise=0.0, seeds=(0, 1, 2)).strata
    sizes = found.loc[(found["robustness"] == "pgd") & (found["sharpness"] == "lambda1_train"), "batch_sizes"]
    assert sum(len(of.split()) for of in sizes) == left


def test_the_map_has_every_pair_of_stored_measures_in_order() -> None:
    found = report(log2_doubt=SHARPENS)
    [figure] = measure_figures(found)
    records = figure.data["cells"]
    assert {record["sharpness"] for record in records} <= {one.short for one in SHARPNESS.values()}
    assert {record["robustness"] for record in records} <= {one.short for one in ROBUSTNESS.values()}
    assert len(records) == len(found.summary)
    marked = [record for record in records if str(record["text"]).endswith("▲")]
    assert marked and all(str(record["sharpness"]).startswith("1 − confidence") for record in marked)


def test_an_empty_study_has_an_empty_report() -> None:
    found = measure_report(from_rows([]))
    assert found.summary.empty and list(found.summary.columns) == list(COLUMNS)
    assert found.strata.empty
    assert measure_figures(found) == []
