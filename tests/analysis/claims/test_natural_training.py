"""Claims A1 to A9 and A17 on their floors, where networks diverged, and where the paper makes exceptions."""

from __future__ import annotations

from typing import Any

import pytest

from analysis.reports.counterexamples import counterexample_report
from analysis.tables.table import from_rows
from search_spaces.natural_training import STUDIES
from study.results.schema import Row
from tests.analysis.claims.planted_claims import FALLS, RISES, SIZES, judge, regimes, rng
from tests.analysis.synthetic import Curve, curve_rows, flat, line


class TestBenchmark:
    """A1 clean falls, A2 FGSM falls, A3 lambda1 rises."""

    @staticmethod
    def rows(**curve: Any) -> list[Row]:
        return curve_rows(regime="benchmark", **curve)

    @pytest.mark.parametrize("claim", ["A1", "A2", "A3"])
    @pytest.mark.parametrize(
        "thin",
        [{"seeds": (0,)}, {"seeds": (0, 1)}, {"batch_sizes": SIZES[:4]}, {"batch_sizes": (64, 96, 128, 192, 256)}],
        ids=["one seed", "two seeds", "four sizes", "fourfold"],
    )
    def test_too_few_runs_are_not_run(self, claim: str, thin: dict[str, Any]) -> None:
        found = judge(claim, self.rows(**thin))
        assert found.verdict == "not run"
        assert "needs 5 spanning 16x" in found.reason

    @pytest.mark.parametrize("claim", ["A1", "A2", "A3"])
    def test_a_curve_that_mostly_diverged_is_inconclusive(self, claim: str) -> None:
        found = judge(claim, self.rows(diverged=(128, 256, 512, 1024)))
        assert found.verdict == "inconclusive"
        assert "diverged" in found.reason
        assert (found.coverage.ok, found.coverage.diverged) == (9, 12)

    def test_a_diverged_end_leaves_the_rest_to_decide(self) -> None:
        assert judge("A2", self.rows(fgsm=line(0.5, -0.03), diverged=(1024,))).verdict == "supported"

    def test_a_curve_at_its_floor_is_inconclusive_and_says_so(self) -> None:
        found = judge("A2", self.rows(fgsm=flat(0.0), pgd=flat(0.0), noise=0.0))
        assert found.verdict == "inconclusive"
        assert "at its floor" in found.reason
        assert any("with them: inconclusive" in s.reason for s in found.strata)  # no room for a fall from 0

    def test_a_curve_too_short_with_and_without_its_flagged_cells_says_so_once(self) -> None:
        rows = self.rows(fgsm=flat(0.0), pgd=flat(0.0), noise=0.0, batch_sizes=(64, 128))
        reasons = {s.reason for s in judge("A2", rows).strata if s.keys}
        assert any("2 batch sizes with 3 seeds (64 to 128); needs" in one for one in reasons)
        assert not any("with them" in one or "left out" in one for one in reasons)

    def test_a_floored_end_is_left_out_and_the_test_run_again_with_it(self) -> None:
        falling: Curve = lambda doublings: max(0.5 - 0.1 * doublings, 0.0)  # noqa: E731
        found = judge("A2", self.rows(fgsm=falling, pgd=flat(0.0), noise=0.002))
        note = next(s.reason for s in found.strata if s.verdict == "supported")
        assert found.verdict == "supported"
        assert "at its floor at batch 512, 1024; with them: supported" in note

    def test_cells_at_the_floor_do_not_turn_a_fall_into_a_refutation(self) -> None:
        """6.5, 6.4, 6.2, 6.0, 5.8, .3, .2 % without its two floor cells "falls" by .7 points, which was "refuted: no
        more than 3 points" in every simulation. With them it falls by 6.
        """
        shares = (0.065, 0.064, 0.062, 0.060, 0.058, 0.003, 0.002)
        found = judge("A2", self.rows(fgsm=lambda doublings: shares[round(doublings)], pgd=flat(0.0), noise=0.002))
        (stratum,) = found.strata
        assert found.verdict == stratum.verdict == "inconclusive"
        assert "at its floor at batch 512, 1024; with them: supported; without: refuted" in stratum.reason

    def test_cells_at_the_floor_are_evidence_of_a_fall(self) -> None:
        """Two sizes above the floor are too few for a trend; that five lie below 1 % shows the fall all the same."""
        shares = (0.6, 0.2, 0.002, 0.001, 0.001, 0.001, 0.001)
        found = judge("A2", self.rows(fgsm=lambda doublings: shares[round(doublings)], pgd=flat(0.0), noise=0.001))
        assert found.verdict == "supported"

    def test_missing_figures_of_the_paper_are_counted(self) -> None:
        """One of six networks does not support a claim about all of them: before, it did."""
        found = judge("A1", self.rows(clean=FALLS), alone=False)
        assert (found.coverage.strata_decided, found.coverage.strata) == (1, 6)
        assert found.verdict == "inconclusive"
        assert "Supported in 1 of 6 tests; not run in 5 of 6" in found.reason

    def test_one_refuting_network_refutes_the_general_claim(self) -> None:
        rows = self.rows(clean=FALLS) + self.rows(clean=RISES, model="stdcnn", rng=rng(1))
        found = judge("A1", rows)
        assert found.verdict == "refuted"
        assert "StdCNN" in found.effect_text

    def test_one_undecided_network_leaves_it_open(self) -> None:
        noisy = self.rows(clean=line(0.7, -0.005), noise=0.2, model="stdcnn", rng=rng(1))
        found = judge("A1", self.rows(clean=FALLS) + noisy)
        assert found.verdict == "inconclusive"
        assert "Supported in 1 of 2 tests; undecided in 1 of 2" in found.reason


class TestConstantRatio:
    """A4 lambda1 almost flat and flatter than LR, A5 clean flat, A6 robustness flat."""

    def test_a4_needs_both_curves(self) -> None:
        for dataset in ("mnist", "digits"):  # a rehearsal needs them too
            rows = curve_rows(regime="lr_bs", dataset=dataset, log2_lambda1=flat(3.0))
            found = judge("A4", [row | {"regimes": ("lr_bs",)} for row in rows])
            assert found.verdict == "inconclusive"
            assert "flatter than under LR" in found.reason

    def test_a6_is_not_earned_by_lying_on_the_floor(self) -> None:
        found = judge("A6", curve_rows(regime="lr_bs", fgsm=flat(0.0), pgd=flat(0.0), noise=0.0))
        assert found.verdict == "inconclusive"
        assert "at its floor" in found.reason

    def test_a6_of_a_curve_that_mostly_diverged_is_undecided(self) -> None:
        assert judge("A6", curve_rows(regime="lr_bs", diverged=SIZES[3:])).verdict == "inconclusive"


class TestFallingRobustness:
    """A7 FGSM and PGD fall under LR and benchmark, save for the paper's own exception."""

    def test_a7_does_not_count_the_exception_that_the_paper_makes_itself(self) -> None:
        network = {"dataset": "fashion-mnist", "model": "stdcnn"}
        falls = curve_rows(regime="benchmark", fgsm=line(0.5, -0.03), pgd=line(0.4, -0.02), **network)
        rises = curve_rows(regime="lr", fgsm=line(0.3, 0.03), pgd=line(0.2, 0.02), rng=rng(1), **network)
        found = judge("A7", falls + rises)
        assert found.verdict == "supported"
        assert {s.keys["regime"] for s in found.strata} == {"benchmark"}

    def test_a7_is_undecided_on_the_floor(self) -> None:
        floor = curve_rows(regime="lr", fgsm=flat(0.0), pgd=flat(0.0), noise=0.0)
        assert judge("A7", floor).verdict == "inconclusive"

    @pytest.mark.parametrize("claim", ["A4", "A7"])
    def test_a_setting_that_was_not_even_asked_for_leaves_the_claim_open(self, claim: str) -> None:
        """Both were supported: A7 without its benchmark, A4 without the LR that its ratio is to be flatter than."""
        regime = {"A4": "lr_bs", "A7": "lr"}[claim]
        falling = {"fgsm": line(0.5, -0.03), "pgd": line(0.4, -0.02), "log2_lambda1": flat(3.0)}
        networks = [{"dataset": s.dataset, "model": s.model} for s in STUDIES]
        rows = [
            row for k, one in enumerate(networks) for row in curve_rows(regime=regime, rng=rng(k), **one, **falling)
        ]
        found = judge(claim, [row | {"regimes": (regime,)} for row in rows], alone=False)
        assert found.verdict == "inconclusive"
        assert "not run in" in found.reason

    def test_a17_attacks_agree_or_not(self) -> None:
        same = curve_rows(regime="lr", fgsm=line(0.5, -0.03), pgd=line(0.4, -0.02))
        assert judge("A17", regimes(same, curve_rows(regime="lr_bs", rng=rng(1)))).verdict == "supported"
        assert judge("A17", same).verdict == "inconclusive"  # of LR/BS there is batch 64 alone
        apart = curve_rows(regime="lr", fgsm=line(0.3, 0.03), pgd=line(0.25, -0.02))
        assert judge("A17", apart).verdict == "refuted"
        assert judge("A17", curve_rows(regime="lr", seeds=(0,))).verdict == "not run"


class TestTheCounterexample:
    """A8 the Hessian does not always explain; A9 StdCNN on Fashion-MNIST: all three rise."""

    @staticmethod
    def rows(**curve: Any) -> list[Row]:
        rising = {"fgsm": line(0.3, 0.03), "pgd": line(0.2, 0.03), "log2_lambda1": line(1.0, 0.6)}
        return curve_rows(regime="lr", dataset="fashion-mnist", model="stdcnn", **(rising | curve))

    def test_planted_it_is_found(self) -> None:
        found = judge("A8", self.rows())
        assert found.verdict == "supported"
        assert {s.part for s in found.strata if s.verdict == "supported"} == {
            "sign-error",
            "counterexample",
        }

    def test_a_networks_surest_pair_speaks_for_it(self) -> None:
        """It was the most severe one, whose q is larger; claims that something exists adjust that of each network."""
        pairs = counterexample_report(from_rows(self.rows())).found.query("label == 'confirmed' and loss == 'ce'")
        pairs = pairs.query("split == 'test' and curvature == 'lambda1_train'").sort_values("severity")
        found = next(s for s in judge("A9", self.rows()).strata if s.part == "counterexample")
        assert found.p_supported == pairs["q"].min() < pairs["q"].iloc[-1]
        sizes = pairs[["batch_i", "batch_j"]].drop_duplicates()  # they were counted once for each attack and epsilon
        assert found.reason == f"{len(sizes)} pairs of batch sizes are confirmed" and len(sizes) < len(pairs)

    def test_a9_speaks_of_this_network_alone(self) -> None:
        assert judge("A9", curve_rows(regime="lr", fgsm=line(0.3, 0.03))).verdict == "not run"

    def test_a9_is_undecided_on_the_floor(self) -> None:
        floor = self.rows(fgsm=flat(0.0), pgd=flat(0.0), noise=0.0)
        assert judge("A9", floor).verdict == "inconclusive"

    def test_a8_names_no_epsilon_a9_that_of_its_figure(self) -> None:
        """At the figure's epsilon nothing survives the attack; at a smaller one the counterexample stands."""
        smaller = [attack | {"epsilon": 0.1} for row in self.rows() for attack in row["attacks"] or ()]
        per_row = len(smaller) // len(self.rows())
        rows = [
            row | {"attacks": [*row["attacks"], *smaller[i * per_row : (i + 1) * per_row]]}
            for i, row in enumerate(self.rows(fgsm=flat(0.0), pgd=flat(0.0), noise=0.0))
        ]
        assert judge("A8", rows).verdict == "supported"
        assert judge("A9", rows).verdict == "inconclusive"

    def test_a8_where_curvature_explains_all_or_nothing_is_known(self) -> None:
        explained = self.rows(fgsm=line(0.6, -0.03), pgd=line(0.5, -0.03))
        assert judge("A8", explained).verdict == "inconclusive"
        assert not judge("A8", explained).effect_text.endswith(": ")  # something is always said
        assert judge("A8", self.rows(seeds=(0,))).verdict == "not run"

    @pytest.mark.parametrize(
        "nearly_flat",
        [{"log2_lambda1": line(1.0, 0.03)}, {"fgsm": line(0.3, 0.001), "pgd": line(0.2, 0.001)}],
        ids=["curvature", "accuracy"],
    )
    def test_a8_takes_no_order_of_tiny_differences_for_an_answer(self, nearly_flat: dict[str, Curve]) -> None:
        found = judge("A8", self.rows(**nearly_flat, noise=0.0, lambda_noise=0.0))
        signs = {s.verdict for s in found.strata if s.part == "sign-error" and s.verdict != "not run"}
        assert signs == {"inconclusive"}

    def test_a8_where_cells_at_the_floor_decide_differently_is_undecided(self) -> None:
        """The sign-error is .90 without the two cells at the floor and .43 with them: it was supported."""
        shares = (0.03, 0.035, 0.05, 0.042, 0.06, 0.003, 0.002)
        robust: Curve = lambda doublings: shares[round(doublings)]  # noqa: E731
        found = judge("A8", self.rows(fgsm=robust, pgd=robust, noise=0.0, lambda_noise=0.0))
        signs = [s for s in found.strata if s.part == "sign-error" and s.verdict != "not run"]
        assert {s.verdict for s in signs} == {"inconclusive"}
        assert signs[0].effect == pytest.approx(0.9)
        assert "at its floor at batch 512, 1024; with them: inconclusive; without: supported" in signs[0].reason
