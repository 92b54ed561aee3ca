"""The correlation report on worlds whose truth was planted."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.reports.associations import FLIP, mean_residuals
from analysis.reports.correlation import ALONG, COLUMNS, CorrelationReport, correlation_report
from analysis.statistics.correlations import (
    over_seeds,
    pearson,
    pooled_against_within,
    repeated_measures_correlation,
    spearman,
)
from analysis.tables.table import from_rows
from study.results.schema import Row
from tests.analysis import synthetic as s


def report(rows: list[Row]) -> CorrelationReport:
    unique = {row["trial_id"]: row for row in rows}  # batch 64 of lr and lr_bs is one run
    return correlation_report(from_rows(list(unique.values())))


def part(found: CorrelationReport, statistic: str) -> pd.DataFrame:
    """The rows whose statistic contains this."""
    rows = found.correlations
    return rows[rows["statistic"].astype(str).str.contains(statistic)]


def along(found: CorrelationReport) -> pd.DataFrame:
    return part(found, ALONG)


def pick(frame: pd.DataFrame, **values: Any) -> pd.DataFrame:
    wanted = {"curvature": "lambda1_test", "attack": "fgsm", "loss": "ce"} | values
    for name, value in wanted.items():
        frame = frame[frame[name] == value]
    return frame


def world(seeds: tuple[int, ...] = (0, 1, 2), fgsm_slope: float = -0.05, seed: int = 0) -> list[Row]:
    """Curvature doubles with every doubling of the batch; robustness changes by `fgsm_slope`."""
    rng, rows = np.random.default_rng(seed), []
    for regime, momentum in (("lr", 0.0), ("lr", 0.9), ("lr_bs", 0.0), ("lr_bs", 0.9), ("benchmark", 0.9)):
        rows += s.curve_rows(
            regime=regime, momentum=momentum, seeds=seeds, rng=rng, fgsm=s.line(0.6, fgsm_slope),
            pgd=s.flat(0.1), log2_lambda1=s.line(1.0, 1.0),
        )  # fmt: skip
    return rows


@pytest.fixture(scope="module")
def opposed() -> CorrelationReport:
    return report(world())


def test_a_perfect_opposition_has_tau_minus_one_and_the_exact_p(opposed: CorrelationReport) -> None:
    strata = pick(along(opposed))
    assert (strata["estimate"] == -1.0).all() and len(strata) == 5
    assert strata["p"].to_numpy() == pytest.approx(np.full(5, 2 / 5040))
    assert (strata["batch_sizes"] == "16 32 64 128 256 512 1024").all()
    assert (strata["high"] < -0.5).all() and (strata["note"] == "").all()


def test_no_relation_gives_no_verdict_about_one(opposed: CorrelationReport) -> None:
    pgd = pick(opposed.forest, attack="pgd", scope="study").iloc[0]
    assert pgd["low"] < 0 < pgd["high"] and pgd["n"] == 5


def test_granulated_tau_knows_the_axis_that_matters(opposed: CorrelationReport) -> None:
    psi = pick(part(opposed, "granulated_tau")).set_index("axis")["estimate"]
    assert psi["batch_size"] == -1.0
    assert abs(psi["regime"]) < 0.4 and abs(psi["momentum"]) < 0.4 and abs(psi["seed"]) < 0.4
    assert psi["mean"] == pytest.approx(psi[["batch_size", "regime", "momentum"]].mean())


def test_sign_error_is_zero_where_the_claim_holds_and_one_where_it_is_reversed(opposed: CorrelationReport) -> None:
    for made, expected in ((opposed, 0.0), (report(world(fgsm_slope=0.05)), 1.0)):
        found = pick(part(made, "sign_error"), statistic="sign_error", axis="batch_size")
        assert found["estimate"].to_numpy() == pytest.approx(np.full(5, expected))
        assert ((found["low"] > 0.5) == (expected == 1.0)).all()
        assert (found["n"] == 3 * 21).all()


def test_equal_batch_environments_vary_regime_or_momentum_alone(opposed: CorrelationReport) -> None:
    environments = pick(part(opposed, "sign_error"), statistic="sign_error")
    at_64 = environments[environments["batch_sizes"] == "64"]
    assert sorted(at_64[at_64["axis"] == "regime"]["momentum"]) == [0.9]  # at momentum 0 lr and lr_bs are one run
    assert sorted(at_64[at_64["axis"] == "momentum"]["regime"]) == ["lr", "lr_bs"]
    two_levels = environments[(environments["axis"] == "momentum")]
    assert (two_levels["low"] <= 0.5).all()  # three seeds on two levels can agree by accident
    worst = pick(part(opposed, "sign_error"), statistic="sign_error_max")["estimate"].item()
    assert worst == environments["estimate"].max()


def test_seed_residuals_are_found_inside_cells() -> None:
    rng, rows = np.random.default_rng(1), []
    for batch_size in (16, 32, 64, 128, 256):
        for seed in range(6):
            shift = rng.normal()
            rows.append(
                s.row(
                    s.trial(batch_size=batch_size, seed=seed),
                    clean=0.99,
                    attacks={("fgsm", "ce"): 0.4 + 0.05 * np.log2(batch_size / 16) - 0.02 * shift},
                    log2_lambda1=np.log2(batch_size) + 0.2 * shift,
                )
            )
    found = report(rows)
    residual = pick(found.correlations, statistic="rmcorr_within_cells").iloc[0]
    assert residual["estimate"] < -0.95 and residual["p"] == pytest.approx(2 / math.factorial(5))
    assert pick(along(found))["estimate"].item() == 1.0


def test_seeds_that_share_their_luck_over_cells_are_no_correlation() -> None:
    """Eight seeds move the seven cells of a curve together, curvature and accuracy each by itself. Cell by cell their
    residuals give p <= .05 in over a quarter of the studies; one mean residual a seed does in 5 %.
    """
    rng, alone, together = np.random.default_rng(6), 0, 0
    cell, seed = np.repeat(np.arange(7), 8), np.tile(np.arange(8), 7)
    for _ in range(300):
        x, y = (rng.normal(size=8)[seed] + 0.8 * rng.normal(size=56) for _ in range(2))
        alone += repeated_measures_correlation(x, y, cell).p <= 0.05
        together += over_seeds(mean_residuals(x, cell, seed), mean_residuals(y, cell, seed)).p <= 0.05
    assert alone / 300 > 0.24
    assert together / 300 < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 300)


def test_one_seed_that_is_off_in_both_does_not_decide_and_few_seeds_have_no_p() -> None:
    """Such a seed gives Pearson's r p <= .05 in all of 300 studies, and Spearman's rho in 8 %."""
    rng, ours, ranks, student = np.random.default_rng(8), 0, 0, 0
    off = 10 * np.eye(8)[0]
    for _ in range(300):
        x, y = (rng.choice([-1, 1]) * off + rng.normal(size=8) for _ in range(2))
        ours += over_seeds(x, y).p <= 0.05
        ranks += spearman(x, y).p <= 0.05
        student += pearson(x, y).p <= 0.05
    assert student == 300 and ranks / 300 > 0.05
    assert ours / 300 <= 0.05
    five, six = (over_seeds(np.arange(n), np.arange(n)) for n in (5.0, 6.0))
    assert five.estimate == pytest.approx(1) and np.isnan(five.p)
    assert six.p == pytest.approx(2 / math.factorial(5))


def test_simpson_flags_a_sign_that_flips_between_curves_and_within_them(opposed: CorrelationReport) -> None:
    rows, rng = [], np.random.default_rng(2)
    curves = [*(("lr", m) for m in (0.0, 0.1, 0.2, 0.5, 0.7, 0.9)), ("benchmark", 0.9)]
    for k, (regime, momentum) in enumerate(curves):
        rows += s.curve_rows(
            regime=regime, momentum=momentum, rng=rng, fgsm=s.line(0.2 + 0.1 * k, -0.01),
            pgd=s.line(0.15, -0.01), log2_lambda1=s.line(4.0 * k, 0.2),
        )  # fmt: skip
    found = report(rows)
    assert pick(found.correlations, statistic=FLIP)["p"].item() <= 0.05
    assert pick(found.correlations, statistic="spearman_pooled")["estimate"].item() > 0.9
    assert pick(found.correlations, statistic="pearson_between_curves")["estimate"].item() > 0.9
    assert pick(found.correlations, statistic="rmcorr_within_curves")["estimate"].item() < -0.8
    assert pick(opposed.correlations, statistic=FLIP)["p"].item() > 0.05


def test_signs_that_differ_by_chance_alone_are_no_paradox() -> None:
    """On eight curves whose levels have nothing to do with each other, pooled and within-curve signs differ by chance
    in about half of all studies, and each had the badge. By its test it is given in at most 5 %.
    """
    rng = np.random.default_rng(4)
    apart, badges, curve = 0, 0, np.repeat(np.arange(8), 7)
    for _ in range(300):
        x, y = (3 * rng.normal(size=8)[curve] for _ in range(2))
        inner = rng.normal(size=56)
        x, y = x + inner, y - inner + 0.5 * rng.normal(size=56)  # opposed within every curve
        found = pooled_against_within(x, y, curve)
        apart += pearson(x, y).estimate > 0
        badges += found.p <= 0.05
    assert apart / 300 > 0.3
    assert badges / 300 < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 300)


def test_the_paradox_is_tested_over_curves() -> None:
    """Against correlations computed anew without each curve."""
    rng = np.random.default_rng(0)
    curve = np.repeat(np.arange(5), 4)
    x = 3.0 * curve + rng.normal(size=20)
    y = curve - 0.5 * (x - 3.0 * curve) + 0.3 * rng.normal(size=20)

    def both(kept: np.ndarray) -> np.ndarray:
        within = repeated_measures_correlation(x[kept], y[kept], curve[kept]).estimate
        return np.arctanh([pearson(x[kept], y[kept]).estimate, within])

    whole = both(np.ones(20, dtype=bool))
    pseudo = np.array([5 * whole - 4 * both(curve != k) for k in range(5)])
    expected = max(2 * stats.t.sf(np.abs(whole) / stats.sem(pseudo, axis=0), 4))
    found = pooled_against_within(x, y, curve)
    assert found.p == pytest.approx(expected)
    assert found.estimate == pytest.approx(np.tanh(whole[0]) - np.tanh(whole[1]))
    assert np.isnan(pooled_against_within(x[:8], y[:8], curve[:8]).p)


def test_a_common_cause_vanishes_from_the_partial_correlation() -> None:
    rng, rows = np.random.default_rng(4), []
    for regime, momentum in (("lr", 0.0), ("lr", 0.5), ("lr", 0.9), ("benchmark", 0.9)):
        for batch_size in (16, 32, 64, 128, 256, 512, 1024):
            cause, own, other = rng.normal(size=3) * (1.0, 0.4, 0.04)
            for seed in range(3):
                rows.append(
                    s.row(
                        s.trial(batch_size=batch_size, regime=regime, momentum=momentum, seed=seed),
                        clean=0.9 + 0.02 * cause,
                        attacks={("fgsm", "ce"): 0.4 + 0.1 * cause + other},
                        log2_lambda1=own - cause,
                    )
                )
    found = report(rows)
    assert pick(part(found, "_pooled"), statistic="spearman_pooled")["estimate"].item() < -0.7
    given = pick(part(found, "partial_"), statistic="partial_spearman_clean").iloc[0]
    assert given["low"] < 0 < given["high"]


def test_two_seeds_decide_nothing_and_say_so() -> None:
    found = report(world(seeds=(0, 1)))
    rows = found.correlations[found.correlations["statistic"] != "sign_error_max"]
    assert rows[["low", "high", "p"]].isna().all(axis=None)
    strata = pick(along(found))
    assert (strata["estimate"] == -1.0).all()
    assert strata["note"].str.startswith("undecidable: 0 of 5 batch sizes").all()
    assert pick(part(found, "_pooled"))["note"].str.startswith("undecidable").all()
    assert len(found.forest) == 0


def test_flagged_cells_are_left_out_and_named() -> None:
    rows = s.curve_rows(pgd=lambda d: 0.3 - 0.07 * d if d < 4 else 0.001, log2_lambda1=s.line(1.0, 1.0), noise=0.0005)
    one = pick(along(report(rows)), attack="pgd", regime="lr").iloc[0]
    assert one["batch_sizes"] == "16 32 64 128"
    assert "left out: 3 floor" in one["note"] and np.isnan(one["p"])


def test_a_study_without_a_usable_cell_is_listed_with_the_reason() -> None:
    found = report(s.curve_rows(pgd=s.flat(0.0), noise=0.0))
    pooled = pick(part(found, "_pooled"), attack="pgd")
    assert len(pooled) == 2 and pooled["estimate"].isna().all()
    assert pooled["note"].str.contains("no usable cell; left out: 8 floor").all()
    assert pick(along(found), attack="pgd", regime="lr")["estimate"].isna().all()


def test_diverged_cells_are_counted_among_those_left_out() -> None:
    rows = s.curve_rows(diverged=(1024,), log2_lambda1=s.line(1.0, 1.0), fgsm=s.line(0.5, -0.03))
    stratum = pick(along(report(rows)), regime="lr").iloc[0]
    assert stratum["n"] == 6 and stratum["note"] == "left out: 1 diverged" and stratum["p"] == pytest.approx(2 / 720)


def test_data_sets_meet_only_in_the_forest() -> None:
    rows = world() + s.curve_rows(dataset="fashion-mnist", log2_lambda1=s.line(0.0, 1.0))
    found = report(rows)
    mixed = found.correlations[found.correlations["dataset"] == "all"]
    assert set(mixed["statistic"]) == {"random_effects_tau", "random_effects_prediction"}
    assert pick(found.forest, scope="all")["n"].item() == 6
    assert len(pick(part(found, "_pooled"), statistic="tau_b_pooled")) == 2


def test_everything_is_tidy_and_in_one_frame(opposed: CorrelationReport) -> None:
    everything = opposed.correlations
    assert tuple(everything.columns) == COLUMNS
    assert not everything.drop(columns=["estimate", "low", "high", "p", "n", "note"]).duplicated().any()
    assert (everything["statistic"] == ALONG).sum() == len(along(opposed))
    known = everything.dropna(subset=["low", "high", "estimate"])
    assert (known["low"] <= known["estimate"] + 1e-12).all() and (known["estimate"] <= known["high"] + 1e-12).all()


def test_networks_trained_against_two_epsilons_are_never_paired() -> None:
    rows = [
        row
        | {"adversarial_training": "fgsm", "adversarial_epsilon": epsilon, "trial_id": f"{row['trial_id']}{epsilon}"}
        for epsilon in (0.1, 0.2)
        for row in s.curve_rows(seeds=(0, 1, 2), regime="benchmark", momentum=0.9)
    ]
    environments = pick(part(report(rows), "sign_error"), statistic="sign_error", axis="batch_size")
    assert list(environments["adversarial_epsilon"]) == [0.1, 0.2]
