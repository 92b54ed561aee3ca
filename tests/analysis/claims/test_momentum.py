"""Claims A10 to A15, A21 and A22, on momentum, where the truth was planted."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from search_spaces.natural_training import MOMENTA, STUDIES
from study.results.schema import Row
from tests.analysis.claims.planted_claims import SIZES, judge, momentum_gains, regimes, rng
from tests.analysis.synthetic import Curve, curve_rows, flat

NETWORKS = tuple((study.dataset, study.model) for study in STUDIES if study.dataset != "fashion-mnist")
"""Those that the paper's claims on momentum are about."""


class TestMomentum:
    """A10 to A15."""

    @staticmethod
    def pair(regime: str, base: dict[str, Curve], gained: dict[str, Curve], seed: int = 0, **both: Any) -> list[Row]:
        none = curve_rows(regime=regime, momentum=0.0, rng=rng(seed), **base, **both)
        more = curve_rows(regime=regime, momentum=0.9, rng=rng(seed + 1), **gained, **both)
        return none + more

    @pytest.mark.parametrize("claim", ["A10", "A12"])
    def test_a_pair_that_mostly_diverged_is_undecided(self, claim: str) -> None:
        assert judge(claim, self.pair("lr", {}, {}, diverged=SIZES[3:])).verdict == "inconclusive"

    def test_a11_pgd_of_other_steps_on_the_same_networks_adds_no_sample(self) -> None:
        rows = self.pair("lr", {"pgd": flat(0.3)}, {"pgd": flat(0.35)})
        more = [
            row | {"attacks": [*row["attacks"], *(a | {"steps": 100} for a in row["attacks"] if a["attack"] == "pgd")]}
            for row in rows
        ]
        assert repr(judge("A11", more)) == repr(judge("A11", rows))

    def test_a11_counts_most_cases(self) -> None:
        def networks(gains: Iterable[float]) -> list[Row]:
            rows = []
            for k, ((dataset, model), gain) in enumerate(zip(NETWORKS, gains, strict=False)):
                base = {"fgsm": flat(0.4), "pgd": flat(0.3)}
                gained = {"fgsm": flat(0.4 + gain), "pgd": flat(0.3 + gain)}
                rows += self.pair("lr", base, gained, 2 * k, dataset=dataset, model=model)
            return rows

        assert judge("A11", networks([0.1] * 4)).verdict == "supported"
        assert judge("A11", networks([-0.1] * 4)).verdict == "refuted"
        assert judge("A11", networks([0.1, 0.1, 0.0, 0.0])).verdict == "inconclusive"
        assert judge("A11", networks([0.1]), alone=False).verdict == "inconclusive"

    @pytest.mark.parametrize(("drop", "verdict"), [(0.3, "supported"), (-0.3, "refuted"), (0.0, "inconclusive")])
    def test_a13_a_mild_drop_in_most_cases_is_enough(self, drop: float, verdict: str) -> None:
        rows = []
        for k, (dataset, model) in enumerate(NETWORKS):
            base, gained = {"log2_lambda1": flat(3.0)}, {"log2_lambda1": flat(3.0 - drop)}
            rows += self.pair("lr_bs", base, gained, 2 * k, dataset=dataset, model=model)
        assert judge("A13", rows).verdict == verdict

    def test_a13_with_one_seed_is_not_run(self) -> None:
        assert judge("A13", self.pair("lr_bs", {}, {}, seeds=(0,))).verdict == "not run"

    def test_a14_leaves_out_the_run_that_both_regimes_share(self) -> None:
        rows = momentum_gains(0.1, 0.0)
        without = [row for row in rows if row["batch_size"] != 64]
        assert judge("A14", without).shown.effect == judge("A14", rows).shown.effect

    def test_a14_effects_of_opposite_sign_do_not_cancel(self) -> None:
        """Under LR momentum gains 20 points at batch 16 and loses 20 at 1024, under LR/BS it gains 5 everywhere. By
        mean differences, 0 against 5, it was said to matter more under LR/BS.
        """
        turning: Curve = lambda doublings: 0.6 - 0.2 * (doublings - 3) / 3  # noqa: E731
        rows: list[Row] = []
        for k, momentum in enumerate((0.0, 0.9)):
            lr, lr_bs = (turning, flat(0.65)) if momentum else (flat(0.6), flat(0.6))
            rows += regimes(
                curve_rows(regime="lr", momentum=momentum, rng=rng(k), fgsm=lr),
                curve_rows(regime="lr_bs", momentum=momentum, rng=rng(9 + k), fgsm=lr_bs),
            )
        fgsm = [s for s in judge("A14", rows).strata if s.measure == "fgsm" and s.counted and s.verdict != "not run"]
        assert [s.verdict for s in fgsm] == ["supported"]
        assert fgsm[0].effect > 5

    def test_training_that_fails_with_momentum_alone_is_an_effect_of_momentum(self) -> None:
        """It was left out: momentum under LR then seemed to do nothing."""
        rows: list[Row] = []
        for k, momentum in enumerate((0.0, 0.9)):
            rows += regimes(
                curve_rows(regime="lr", momentum=momentum, rng=rng(k), diverged=(16, 32) if momentum else ()),
                curve_rows(regime="lr_bs", momentum=momentum, rng=rng(9 + k)),
            )
        found = {s.measure: s for s in judge("A14", rows).strata if s.counted and s.verdict != "not run"}
        assert (found["clean"].verdict, found["fgsm"].verdict) == ("supported", "supported")
        assert found["clean"].effect == pytest.approx(89 * 2 / 6, abs=1)  # batch 64 belongs to both regimes: left out
        same: dict[str, Curve] = {"clean": flat(0.98)}
        lost = [*curve_rows(regime="lr_bs", rng=rng(0), **same)]
        lost += curve_rows(regime="lr_bs", momentum=0.9, rng=rng(1), diverged=(1024,), **same)
        assert judge("A15", lost).verdict == "refuted"

    def test_the_largest_momentum_is_tested_whatever_diverged(self) -> None:
        """Where all runs at .9 had diverged, "larger momentum" was judged at .5."""
        rows = curve_rows(regime="lr", clean=flat(0.9), rng=rng(1))
        rows += curve_rows(regime="lr", momentum=0.5, clean=flat(0.95), rng=rng(2))
        found = judge("A10", rows + curve_rows(regime="lr", momentum=0.9, diverged=SIZES, rng=rng(3)))
        assert found.verdict == "inconclusive"
        steps = ["momentum 0.5 against 0", "momentum 0.9 against 0.5"]
        assert [s.keys["momentum"] for s in found.strata] == ["momentum 0.9 against 0", *steps]

    @pytest.mark.parametrize(
        ("claim", "regime", "measure", "level", "gain"),
        [
            ("A10", "lr", "clean", 0.8, 0.1),
            ("A12", "lr", "log2_lambda1", 4.0, -2.0),
            ("A21", "lr_bs", "clean", 0.8, 0.1),
        ],
    )
    def test_every_step_of_momentum_must_go_the_same_way(
        self, claim: str, regime: str, measure: str, level: float, gain: float
    ) -> None:
        def reached(shares: Iterable[float], **both: Any) -> str:
            rows: list[Row] = []
            for k, (momentum, share) in enumerate(zip(MOMENTA, shares, strict=True)):
                curve = {measure: flat(level + share * gain)}
                rows += curve_rows(regime=regime, momentum=momentum, rng=rng(k), **curve, **both)
            return judge(claim, rows).verdict

        assert reached((0, 0.05, 0.2, 1)) == "supported"  # no step but the last is as large as the least that counts
        assert reached((0, -0.6, 0.2, 1)) == "refuted"
        assert reached((0, -0.04, 0.2, 1), noise=0.0001, lambda_noise=0.01) == "inconclusive"  # too little to refute
        assert reached((0, 0.05, 0.2, 1), noise=0.1, lambda_noise=2.0) == "inconclusive"
        assert reached((0, -0.1, 0.2, 1), noise=0.1, lambda_noise=2.0) == "inconclusive"

    def test_a15_is_about_every_momentum(self) -> None:
        def reached(at_half: float) -> str:
            rows: list[Row] = []
            for k, momentum in enumerate(MOMENTA):
                clean = flat(0.98 - at_half * (momentum == 0.5))
                rows += curve_rows(regime="lr_bs", momentum=momentum, clean=clean, noise=0.0005, rng=rng(k))
            return judge("A15", rows).verdict

        assert (reached(0.0), reached(0.05)) == ("supported", "refuted")
