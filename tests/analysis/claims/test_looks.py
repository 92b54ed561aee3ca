"""Sequential testing (`--until-decided`): the seeds of each interim look, and p-value and verdict over all looks."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from scipy import stats

from analysis.claims.looks import together
from analysis.claims.prospects import Prospect, continued, prospects
from analysis.claims.stratum import Stratum
from analysis.reports.correlation import correlation_report
from analysis.reports.counterexamples import counterexample_report
from analysis.statistics.thresholds import LOOK_SHARES, LOOKS
from analysis.tables.looks import looks
from analysis.tables.table import StudyTable, from_rows
from benchmarks.calibration.sequential import pair_errors, verdict_errors
from benchmarks.calibration.verdicts import BEND, CASES, NOISES, curves
from benchmarks.calibration.worlds import Noise, flat_world
from search_spaces import Request, plan
from study.results.schema import Row
from tests.analysis.claims.planted_claims import SIZES, judge_table, rng
from tests.analysis.large_batch import robust
from tests.analysis.synthetic import curve_rows, line, planned, trial

PLAN: dict[str, Any] = {"claims": ["A2"]}

falling = partial(curve_rows, regime="benchmark", fgsm=line(0.6, -0.04), pgd=line(0.5, -0.04))


def table(rows: list[Row], *, curves: tuple[dict[str, Any], ...] = ({"regime": "benchmark"},)) -> StudyTable:
    """The rows in a study with a plan, of which the first look at these `curves` was asked for."""
    trials = [trial(**curve, batch_size=size, seed=seed) for curve in curves for size in SIZES for seed in range(3)]
    grid = planned(rows, trials)
    for curve in curves:
        mine = {trial(**curve, batch_size=size, seed=seed).trial_id for size in SIZES for seed in range(3)}
        grid |= {one: replace(grid[one], regimes=(curve["regime"],)) for one in mine}
    return from_rows(rows, grid=grid, plans=[PLAN])


def stratum(verdict: Any, p: float, *, refutes: bool = False) -> Stratum:
    return Stratum(verdict, "so", p_supported=1.0 if refutes else p, p_refuted=p if refutes else 1.0)


def test_shares_are_the_whole_level() -> None:
    assert sum(LOOK_SHARES) == pytest.approx(1.0)
    assert len(LOOK_SHARES) == len(LOOKS)


def test_the_sequential_p_is_the_least_over_its_share() -> None:
    found = together([(3, 0.15, stratum("inconclusive", 0.06)), (5, 0.25, stratum("supported", 0.01))])
    assert found.verdict == "supported"
    assert found.p_supported == pytest.approx(0.04)
    assert found.told == "so; tested with 5 seeds"


def test_a_look_that_decides_by_itself_alone_decides_nothing() -> None:
    found = together([(3, 0.15, stratum("supported", 0.02)), (5, 0.25, stratum("supported", 0.02))])
    assert found.verdict == "inconclusive"
    assert found.p_supported == pytest.approx(0.08)
    assert "supported by this test alone, but not after the correction for repeated testing" in found.told


def test_what_was_decided_stays_decided() -> None:
    first, later = stratum("refuted", 0.001, refutes=True), stratum("inconclusive", 0.5)
    assert together([(3, 0.15, first), (5, 0.25, later)]).verdict == "refuted"


def test_a_report_of_the_whole_study_is_no_look_at_few_seeds() -> None:
    """A counterexample that twelve seeds confirmed was said to be seen at three."""
    whole = replace(stratum("supported", 0.01), looks_allowed=True)
    assert together([(3, 0.15, whole), (5, 0.25, whole)]) == whole


def test_surplus_seeds_wait_for_their_look() -> None:
    rows = falling(seeds=(0, 1, 2, 3), rng=rng(1))
    found = looks(table(rows))
    assert found is not None
    assert [look.seeds for look in found.each] == [3]
    assert set(found.latest.points["seed"]) == {0, 1, 2}
    assert judge_table("A2", table(rows)).shown == judge_table("A2", table([r for r in rows if r["seed"] < 3])).shown


def test_a_look_waits_for_the_cells_of_a_plan_alone() -> None:
    """An ordinary run of all sizes, and a plan for some of them."""
    rows = [row for row in falling(seeds=tuple(range(5)), rng=rng(1)) if row["batch_size"] < 512 or row["seed"] < 3]
    some = frozenset(row["cell_id"] for row in rows if row["batch_size"] < 512)
    for staged, seeds in ((frozenset[str](), [3]), (some, [3, 5])):
        found = looks(replace(table(rows), staged=staged))
        assert found is not None and [look.seeds for look in found.each] == seeds
    assert found.latest.points["batch_size"].max() == 256


def test_a_look_waits_for_every_cell_and_counts_diverged_seeds() -> None:
    rows = falling(seeds=tuple(range(5)), diverged=(1024,), rng=rng(1))
    found = looks(table(rows))
    assert found is not None and [look.seeds for look in found.each] == [3, 5]
    without = [row for row in rows if (row["batch_size"], row["seed"]) != (64, 4)]
    found = looks(table(without))
    assert found is not None and [look.seeds for look in found.each] == [3]


def test_without_a_plan_all_seeds_count_at_once() -> None:
    assert looks(from_rows(falling(seeds=tuple(range(5))))) is None


def test_correlations_are_those_of_the_last_stage_adjusted_for_all() -> None:
    """Not only for those so far: whether there are more depends on the data."""
    rows = falling(seeds=tuple(range(6)), rng=rng(1))  # the stages of 3 and 5 seeds are complete
    once = correlation_report(from_rows([row for row in rows if row["seed"] < 5])).correlations
    again = correlation_report(table(rows)).correlations
    assert again["n"].equals(once["n"]) and (once["p"] < 0.25).any()
    assert again["p"].equals((len(LOOKS) * once["p"]).clip(upper=1.0))


def test_a_verdict_needs_more_where_looks_are_taken() -> None:
    rows = falling(seeds=(0, 1, 2), noise=0.1, rng=rng(0))
    once, again = judge_table("A2", from_rows(rows)), judge_table("A2", table(rows))
    assert once.verdict == "supported"
    assert again.verdict == "inconclusive"
    for one, other in zip(once.strata, again.strata, strict=True):
        assert other.p_supported == pytest.approx(min(1.0, one.p_supported / LOOK_SHARES[0]))


def test_planned_curves_without_a_look_are_undecided_strata() -> None:
    """Else the adjustment of a refutation would depend on which curve was trained first."""
    two = ({"regime": "benchmark"}, {"regime": "benchmark", "model": "stdcnn"})
    rises = curve_rows(regime="benchmark", clean=line(0.8, 0.02), rng=rng(1))
    verdict = judge_table("A1", table(rises, curves=two), alone=False)
    waiting = [s for s in verdict.strata if s.model == "stdcnn" and s.dataset == "mnist"]
    assert [(s.verdict, s.p_refuted) for s in waiting] == [("inconclusive", 1.0)]
    assert verdict.verdict == "refuted"


def test_planned_networks_without_a_look_are_undecided_strata() -> None:
    """As above, of the networks of section 3.3: Holm's adjustment had no place for those that were still to come."""
    request = Request("large_batch", {"dataset": ("mnist",), "model": ("m1",), "regime": ("benchmark", "adversarial")})
    rows = robust(methods=("fgsm",), log2_lambda1=(2.0, 6.0))  # M_FGSM is sharper
    verdict = judge_table("C9", from_rows(rows, grid=plan(replace(request, seeds=(0, 1, 2))), plans=[PLAN]))
    p = {s.keys["network"]: (s.verdict, s.p_refuted) for s in verdict.strata if s.measure == "spectrum"}
    waiting = {name: p.pop(name) for name in ("M_FGSM10", "M_L2GRAD", "M_FHSM", "M_L2HESS")}
    assert set(waiting.values()) == {("inconclusive", 1.0)}
    assert [verdict for verdict, _ in p.values()] == ["refuted"]
    assert verdict.verdict == "refuted"


def test_a_network_that_is_not_planned_is_not_awaited() -> None:
    rows = robust(methods=("fgsm",))
    table = from_rows(rows, grid=plan(Request("large_batch", {"model": ("m1",)})), plans=[PLAN])
    verdict = judge_table("C9", table, alone=False)
    assert {s.verdict for s in verdict.strata if s.model == "c3"} == {"not run"}


def test_pairs_wait_until_every_curve_has_a_look_and_allow_for_all_of_them() -> None:
    rises = curve_rows(
        regime="benchmark", fgsm=line(0.3, 0.05), log2_lambda1=line(1.0, 0.8), seeds=tuple(range(5)), rng=rng(2)
    )
    two = ({"regime": "benchmark"}, {"regime": "benchmark", "model": "stdcnn"})
    waits = counterexample_report(table(rises, curves=two))
    assert waits.waiting == 1
    assert set(waits.found["label"]) == {"candidate"}
    assert waits.found["q"].isna().all()
    assert waits.summary() == "42 testable pairs on 1 curve under FGSM and PGD"
    again, once = (counterexample_report(of).found for of in (table(rises), from_rows(rises)))
    keys = ["attack", "loss", "curvature", "direction", "batch_i", "batch_j"]
    both = once.merge(again, on=keys, suffixes=("_once", "_again"))
    assert (again["label"] == "confirmed").any()
    assert (both["p_again"] >= both["p_once"] - 1e-12).all()  # of one look at most; here the last has the least p


def test_pairs_do_not_wait_for_a_curve_of_one_seed() -> None:
    """A pilot beside a plan kept every pair of the folder from being confirmed, for ever."""
    rises = {"fgsm": line(0.3, 0.05), "log2_lambda1": line(1.0, 0.8), "rng": rng(2)}
    pilot = curve_rows(regime="benchmark", model="stdcnn", seeds=(0,), rng=rng(3))
    rows = curve_rows(regime="benchmark", seeds=tuple(range(5)), **rises)
    found = counterexample_report(from_rows([*rows, *pilot], plans=[PLAN]))
    assert not found.waiting
    assert (found.found["label"] == "confirmed").any()


class TestErrors:
    """Every look taken: the simulations of docs/calibration.md, smaller."""

    @pytest.mark.parametrize("claim", ["falls", "higher at equal batch", "the same at every batch"])
    @pytest.mark.parametrize("world", ["a seed's cells correlated by .6", "noise .5 to 4.5 points along the batch"])
    def test_wrong_verdicts_stay_below_the_level(self, claim: str, world: str) -> None:
        for case in (one for one in CASES if one.claim == claim and "U" not in one.planted):
            found = verdict_errors(case, NOISES[world], 150, rng(3))
            assert stats.binom.sf(found.sequential - 1, found.n, 0.05) > 1e-3, case
            assert found.sequential <= found.naive

    def test_flat_curves_confirm_no_pair(self) -> None:
        found = pair_errors(flat_world(Noise(shared=0.6)), 60, rng(4))
        assert stats.binom.sf(found.sequential - 1, found.n, 0.05) > 1e-3


class TestProspects:
    """What more seeds may decide."""

    def chance(self, rows: list[Row]) -> list[tuple[float, float]]:
        return [(one.soon, one.ever) for one in prospects(table(rows), ["A2"], most=12, memory={})]

    def test_a_claim_that_is_decided_has_none(self) -> None:
        assert not self.chance(falling(noise=0.002, rng=rng(5)))

    def test_before_the_first_look_nothing_is_known(self) -> None:
        assert set(self.chance([])) == {(0.2, 0.2)}

    def test_a_clear_fall_is_decided_soon_and_a_u_never(self) -> None:
        clear = self.chance(falling(noise=0.06, rng=rng(0)))
        assert clear and min(soon for soon, _ in clear) > 0.7
        u = self.chance(
            curve_rows(regime="benchmark", fgsm=lambda d: 0.4 + float(BEND[int(d)]) / 100, noise=0.005, rng=rng(6))
        )
        assert set(u) == {(0.0, 0.0)}

    def test_a_vote_that_is_won_has_none(self) -> None:
        """A vote was asked for a level that its rule does not, and was "expected to be decided" for sure."""
        rates = ({"regime": "lr"}, {"regime": "lr", "momentum": 0.9})

        def ahead(noise: float) -> list[Prospect]:
            rows = [
                row
                for k, rate in enumerate(rates)
                for row in curve_rows(
                    **rate, fgsm=line(0.4 + 0.1 * k, 0.0), pgd=line(0.3 + 0.1 * k, 0.0), noise=noise, rng=rng(10 + k)
                )
            ]
            return list(prospects(table(rows, curves=rates), ["A11"], most=12, memory={}))

        assert len(ahead(0.2)) == 4  # two attacks on two losses
        assert not ahead(0.005)

    def test_a_curve_counts_once_for_a_stratum_that_reads_two_measures_of_it(self) -> None:
        several = list(prospects(table(falling(rng=rng(5))), ["A8"], most=12, memory={}))
        assert several
        assert all(len(set(one.curves)) == len(one.curves) for one in several)

    def test_continuations_have_the_seeds_and_the_noise_of_their_curve(self) -> None:
        curve = curves(rng(7), np.full((1, 7), 40.0), Noise(1.5), 12)[0]
        curve = replace(curve, trial_id=np.full(len(curve.flag), "", dtype=object))
        three = curve.where(curve.sample.seed < 3)
        more = [continued(three, 12, rng(k)).sample for k in range(200)]
        assert {tuple(np.unique(one.seed)) for one in more} == {tuple(range(12))}
        new = np.array([one.value[one.seed > 2].reshape(7, 9) for one in more])
        cells = three.sample.cells()
        expected = (cells.variance + cells.variance.mean()) / 2
        np.testing.assert_allclose(new.mean(axis=(0, 2)), cells.mean, atol=4 * np.sqrt(expected / 3 / 200).max())
        np.testing.assert_allclose(new.var(axis=2, ddof=1).mean(axis=0), expected, rtol=0.15, atol=0.03)
