"""Claims A1 to A17 on tables whose truth was planted: yes, no, undecidable, floor, diverged, one seed only."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from analysis.claims import CLAIMS, evaluate
from analysis.evidence import Evidence
from analysis.table import StudyTable, from_rows
from analysis.verdict import Verdict, to_frame
from search_spaces import Request, plan
from study.schema import Row
from tests.analysis.synthetic import Curve, curve_rows, flat, line

SIZES = (16, 32, 64, 128, 256, 512, 1024)


def judge(claim: str, rows: list[Row], loss: str = "ce") -> Verdict:
    return judge_table(claim, from_rows(rows), loss)


def judge_table(claim: str, table: StudyTable, loss: str = "ce") -> Verdict:
    found = CLAIMS[claim]
    return found(Evidence(table), loss if found.attacked else None)


def regimes(lr: list[Row], lr_bs: list[Row]) -> list[Row]:
    """Both curves of one network; batch 64 is one run, that of `lr`."""
    return [*lr, *(row for row in lr_bs if row["batch_size"] != 64)]


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def attacked_on(rows: Iterable[Row], loss: str, **changes: Any) -> list[Row]:
    """The rows with columns of their attacks on one loss overwritten."""
    return [row | {"attacks": [a | changes if a["loss"] == loss else a for a in row["attacks"] or ()]} for row in rows]


FALLS, RISES, FLAT = line(0.99, -0.01), line(0.90, +0.01), flat(0.97)


class TestBenchmark:
    """A1 clean falls, A2 FGSM falls, A3 lambda1 rises."""

    @staticmethod
    def rows(**curve: Any) -> list[Row]:
        return curve_rows(regime="benchmark", **curve)

    @pytest.mark.parametrize(("clean", "verdict"), [(FALLS, "supported"), (RISES, "refuted"), (FLAT, "refuted")])
    def test_a1(self, clean: Curve, verdict: str) -> None:
        assert judge("A1", self.rows(clean=clean)).verdict == verdict

    @pytest.mark.parametrize(
        ("fgsm", "verdict"),
        [(line(0.5, -0.03), "supported"), (line(0.2, 0.03), "refuted"), (flat(0.4), "refuted")],
    )
    def test_a2(self, fgsm: Curve, verdict: str) -> None:
        assert judge("A2", self.rows(fgsm=fgsm)).verdict == verdict

    @pytest.mark.parametrize(
        ("log2_lambda1", "verdict"),
        [(line(0, 0.6), "supported"), (line(4, -0.6), "refuted"), (flat(3.0), "refuted")],
    )
    def test_a3(self, log2_lambda1: Curve, verdict: str) -> None:
        assert judge("A3", self.rows(log2_lambda1=log2_lambda1)).verdict == verdict

    @pytest.mark.parametrize("claim", ["A1", "A2", "A3"])
    def test_noise_beyond_the_effect_is_inconclusive(self, claim: str) -> None:
        rows = self.rows(noise=0.08, lambda_noise=2.0, clean=line(0.7, -0.005), fgsm=line(0.5, -0.005))
        assert judge(claim, rows).verdict == "inconclusive"

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
        assert "with them: refuted" in found.strata[-1].note or any(
            "with them: refuted" in s.note for s in found.strata
        )

    def test_a_floored_end_is_left_out_and_the_test_run_again_with_it(self) -> None:
        falling: Curve = lambda doublings: max(0.5 - 0.1 * doublings, 0.0)  # noqa: E731
        found = judge("A2", self.rows(fgsm=falling, pgd=flat(0.0), noise=0.002))
        note = next(s.note for s in found.strata if s.verdict == "supported")
        assert found.verdict == "supported"
        assert "at its floor at batch 512, 1024; with them: supported" in note

    def test_missing_figures_of_the_paper_are_counted(self) -> None:
        found = judge("A1", self.rows(clean=FALLS))
        assert (found.coverage.strata_decided, found.coverage.strata) == (1, 6)
        assert "5 more were not run" in found.reason

    def test_one_refuting_network_refutes_the_general_claim(self) -> None:
        rows = self.rows(clean=FALLS) + self.rows(clean=RISES, model="stdcnn", rng=rng(1))
        found = judge("A1", rows)
        assert found.verdict == "refuted"
        assert "stdcnn" in found.effect.text

    def test_one_undecided_network_leaves_it_open(self) -> None:
        noisy = self.rows(clean=line(0.7, -0.005), noise=0.2, model="stdcnn", rng=rng(1))
        found = judge("A1", self.rows(clean=FALLS) + noisy)
        assert found.verdict == "inconclusive"
        assert "only 1 of 2 strata" in found.reason


class TestProtocol:
    """A cheap run never poses as the paper's."""

    def test_the_papers_own_protocol_is_said_to_be_it(self) -> None:
        found = judge("A1", curve_rows(regime="benchmark", clean=FALLS))
        assert "the paper's protocol: 100 epochs, 55,000 training images" in found.protocol
        assert "3 seeds" in found.protocol

    def test_fewer_epochs_are_named(self) -> None:
        found = judge("A1", curve_rows(regime="benchmark", clean=FALLS, epochs=2))
        assert found.verdict == "supported"
        assert "2 instead of 100 epochs" in found.protocol
        assert "Not at the paper's protocol" in found.reason

    def test_protocols_are_never_mixed_and_the_papers_own_decides(self) -> None:
        cheap = curve_rows(regime="benchmark", clean=RISES, epochs=2)
        full = curve_rows(regime="benchmark", clean=FALLS)
        found = judge("A1", cheap + full)
        assert found.verdict == "supported"
        assert {s.verdict for s in found.strata} == {"supported", "refuted", "not run"}

    def test_digits_are_a_rehearsal(self) -> None:
        rehearsal = curve_rows(regime="benchmark", dataset="digits", clean=FALLS)
        assert "rehearsal" in judge("A1", rehearsal).reason
        assert "digits with m1_20 is not in the paper" in judge("A1", rehearsal).protocol
        assert judge("A1", rehearsal + curve_rows(regime="benchmark", clean=RISES)).verdict == "refuted"

    def test_planned_trials_that_are_missing_are_covered(self) -> None:
        grid = plan(Request("natural_training", select={"dataset": ("mnist",), "regime": ("benchmark",)}))
        found = judge_table("A1", from_rows(curve_rows(regime="benchmark", clean=FALLS), grid=grid))
        assert (found.coverage.planned, found.coverage.ok) == (42, 21)


class TestConstantRatio:
    """A4 lambda1 almost flat and flatter than LR, A5 clean flat, A6 robustness flat."""

    @staticmethod
    def rows(lr: Curve, lr_bs: Curve, **both: Any) -> list[Row]:
        return regimes(
            curve_rows(regime="lr", log2_lambda1=lr, rng=rng(1), **both),
            curve_rows(regime="lr_bs", log2_lambda1=lr_bs, rng=rng(2), **both),
        )

    @pytest.mark.parametrize(
        ("lr", "lr_bs", "verdict"),
        [
            (line(1.4, 0.8), flat(3.0), "supported"),
            (line(1.4, 0.8), line(1.4, 0.8), "refuted"),
            (flat(3.0), flat(3.0), "refuted"),
        ],
        ids=["flat and flatter", "as steep", "flat but no flatter"],
    )
    def test_a4(self, lr: Curve, lr_bs: Curve, verdict: str) -> None:
        assert judge("A4", self.rows(lr, lr_bs)).verdict == verdict

    def test_a4_is_undecided_in_noise_and_not_run_with_one_seed(self) -> None:
        steep, level = line(1.4, 0.8), flat(3.0)
        assert judge("A4", self.rows(steep, level, lambda_noise=2.0)).verdict == "inconclusive"
        assert judge("A4", self.rows(steep, level, seeds=(0,))).verdict == "not run"

    def test_a4_needs_both_curves(self) -> None:
        found = judge("A4", curve_rows(regime="lr_bs", log2_lambda1=flat(3.0)))
        assert found.verdict == "inconclusive"
        assert "flatter than under LR" in found.reason

    def test_a5(self) -> None:
        assert judge("A5", curve_rows(regime="lr_bs", clean=flat(0.99))).verdict == "supported"
        assert judge("A5", curve_rows(regime="lr_bs", clean=line(0.99, -0.01))).verdict == "refuted"

    @pytest.mark.parametrize(
        ("fgsm", "noise", "verdict"),
        [(flat(0.4), 0.003, "supported"), (line(0.5, -0.03), 0.003, "refuted"), (flat(0.4), 0.06, "inconclusive")],
        ids=["flat", "falls", "noisy"],
    )
    def test_a6(self, fgsm: Curve, noise: float, verdict: str) -> None:
        assert judge("A6", curve_rows(regime="lr_bs", fgsm=fgsm, noise=noise)).verdict == verdict

    def test_a6_is_not_earned_by_lying_on_the_floor(self) -> None:
        found = judge("A6", curve_rows(regime="lr_bs", fgsm=flat(0.0), pgd=flat(0.0), noise=0.0))
        assert found.verdict == "inconclusive"
        assert "at its floor" in found.reason

    def test_a6_with_one_seed_or_mostly_diverged(self) -> None:
        assert judge("A6", curve_rows(regime="lr_bs", seeds=(0,))).verdict == "not run"
        assert judge("A6", curve_rows(regime="lr_bs", diverged=SIZES[3:])).verdict == "inconclusive"


class TestFallingRobustness:
    """A7 FGSM and PGD fall under LR and benchmark, save for the paper's own exception."""

    def test_a7(self) -> None:
        falling = {"fgsm": line(0.5, -0.03), "pgd": line(0.4, -0.02)}
        both = curve_rows(regime="lr", **falling) + curve_rows(regime="benchmark", **falling, rng=rng(1))
        assert judge("A7", both).verdict == "supported"
        half = curve_rows(regime="lr", fgsm=line(0.5, -0.03), pgd=flat(0.2))
        assert judge("A7", half).verdict == "refuted"

    def test_a7_does_not_count_the_exception_that_the_paper_makes_itself(self) -> None:
        network = {"dataset": "fashion-mnist", "model": "stdcnn"}
        falls = curve_rows(regime="benchmark", fgsm=line(0.5, -0.03), pgd=line(0.4, -0.02), **network)
        rises = curve_rows(regime="lr", fgsm=line(0.3, 0.03), pgd=line(0.2, 0.02), rng=rng(1), **network)
        found = judge("A7", falls + rises)
        assert found.verdict == "supported"
        assert [s.verdict for s in found.strata if not s.counted] == ["refuted", "refuted"]

    def test_a7_floor_noise_and_one_seed(self) -> None:
        floor = curve_rows(regime="lr", fgsm=flat(0.0), pgd=flat(0.0), noise=0.0)
        assert judge("A7", floor).verdict == "inconclusive"
        noisy = curve_rows(regime="lr", fgsm=line(0.5, -0.005), noise=0.08)
        assert judge("A7", noisy).verdict == "inconclusive"
        assert judge("A7", curve_rows(regime="lr", seeds=(0,))).verdict == "not run"

    def test_a17_attacks_agree_or_not(self) -> None:
        same = curve_rows(regime="lr", fgsm=line(0.5, -0.03), pgd=line(0.4, -0.02))
        assert judge("A17", same).verdict == "supported"
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
        assert judge("A9", self.rows()).verdict == "supported"
        found = judge("A8", self.rows())
        assert found.verdict == "supported"
        assert {s.keys["part"] for s in found.strata if s.verdict == "supported"} == {
            "sign-error",
            "counterexample",
        }

    @pytest.mark.parametrize("name", ["fgsm", "pgd"])
    def test_a9_needs_each_attack(self, name: str) -> None:
        assert judge("A9", self.rows(**{name: line(0.35, -0.02)})).verdict == "refuted"

    def test_a9_needs_the_curvature_to_rise(self) -> None:
        assert judge("A9", self.rows(log2_lambda1=line(5.0, -0.6))).verdict == "refuted"

    def test_a9_speaks_of_this_network_alone(self) -> None:
        assert judge("A9", curve_rows(regime="lr", fgsm=line(0.3, 0.03))).verdict == "not run"

    def test_a9_one_seed_noise_and_floor(self) -> None:
        assert judge("A9", self.rows(seeds=(0,))).verdict == "not run"
        assert judge("A9", self.rows(fgsm=line(0.3, 0.002), noise=0.08)).verdict == "inconclusive"
        floor = self.rows(fgsm=flat(0.0), pgd=flat(0.0), noise=0.0)
        assert judge("A9", floor).verdict == "inconclusive"

    def test_a8_where_curvature_explains_all_or_nothing_is_known(self) -> None:
        explained = self.rows(fgsm=line(0.6, -0.03), pgd=line(0.5, -0.03))
        assert judge("A8", explained).verdict == "inconclusive"
        assert judge("A8", self.rows(seeds=(0,))).verdict == "not run"


class TestMomentum:
    """A10 to A15."""

    @staticmethod
    def pair(regime: str, base: dict[str, Curve], gained: dict[str, Curve], seed: int = 0, **both: Any) -> list[Row]:
        none = curve_rows(regime=regime, momentum=0.0, rng=rng(seed), **base, **both)
        more = curve_rows(regime=regime, momentum=0.9, rng=rng(seed + 1), **gained, **both)
        return none + more

    @pytest.mark.parametrize(
        ("claim", "measure", "level", "gain"),
        [("A10", "clean", 0.90, 0.05), ("A12", "log2_lambda1", 4.0, -2.0)],
    )
    def test_a10_and_a12(self, claim: str, measure: str, level: float, gain: float) -> None:
        def reached(change: float, **both: Any) -> str:
            return judge(
                claim, self.pair("lr", {measure: flat(level)}, {measure: flat(level + change)}, **both)
            ).verdict

        assert reached(gain) == "supported"
        assert reached(-gain) == "refuted"
        assert reached(0.0) == "refuted"
        assert reached(gain / 2, noise=0.6, lambda_noise=12.0) == "inconclusive"
        assert reached(gain, seeds=(0,)) == "not run"
        assert reached(gain, diverged=SIZES[3:]) == "inconclusive"

    def test_a11_counts_most_cases(self) -> None:
        def networks(gains: Iterable[float]) -> list[Row]:
            names = [("mnist", "m1_20"), ("mnist", "stdcnn"), ("fashion-mnist", "m1_20")]
            rows = []
            for k, ((dataset, model), gain) in enumerate(zip(names, gains, strict=False)):
                base = {"fgsm": flat(0.4), "pgd": flat(0.3)}
                gained = {"fgsm": flat(0.4 + gain), "pgd": flat(0.3 + gain)}
                rows += self.pair("lr", base, gained, 2 * k, dataset=dataset, model=model)
            return rows

        assert judge("A11", networks([0.1, 0.1, 0.1])).verdict == "supported"
        assert judge("A11", networks([-0.1, -0.1, -0.1])).verdict == "refuted"
        assert judge("A11", networks([0.1, -0.1, 0.0])).verdict == "inconclusive"
        assert judge("A11", networks([0.1])).verdict == "inconclusive"

    @pytest.mark.parametrize(("drop", "verdict"), [(0.3, "supported"), (-0.3, "refuted"), (0.0, "inconclusive")])
    def test_a13_a_mild_drop_in_most_cases_is_enough(self, drop: float, verdict: str) -> None:
        names = [("mnist", "m1_20"), ("mnist", "stdcnn"), ("fashion-mnist", "m1_20"), ("fashion-mnist", "stdcnn")]
        rows = []
        for k, (dataset, model) in enumerate(names):
            base, gained = {"log2_lambda1": flat(3.0)}, {"log2_lambda1": flat(3.0 - drop)}
            rows += self.pair("lr_bs", base, gained, 2 * k, dataset=dataset, model=model)
        assert judge("A13", rows).verdict == verdict

    def test_a13_with_one_seed_is_not_run(self) -> None:
        assert judge("A13", self.pair("lr_bs", {}, {}, seeds=(0,))).verdict == "not run"

    @staticmethod
    def gains(lr: float, lr_bs: float, **both: Any) -> list[Row]:
        """Momentum raises everything by these shares under each regime (lambda1 by 20 times as many
        doublings).
        """

        def curves(gain: float) -> dict[str, Curve]:
            levels = {"clean": 0.8, "fgsm": 0.4, "pgd": 0.3}
            return {name: flat(level + gain) for name, level in levels.items()} | {
                "log2_lambda1": flat(3.0 + 20 * gain)
            }

        rows: list[Row] = []
        for k, (momentum, share) in enumerate(((0.0, 0.0), (0.9, 1.0))):
            rows += regimes(
                curve_rows(regime="lr", momentum=momentum, rng=rng(k), **curves(share * lr), **both),
                curve_rows(regime="lr_bs", momentum=momentum, rng=rng(9 + k), **curves(share * lr_bs), **both),
            )
        return rows

    @pytest.mark.parametrize(
        ("lr", "lr_bs", "verdict"),
        [(0.1, 0.0, "supported"), (-0.1, 0.0, "supported"), (0.0, 0.1, "refuted"), (0.1, -0.1, "refuted")],
    )
    def test_a14(self, lr: float, lr_bs: float, verdict: str) -> None:
        assert judge("A14", self.gains(lr, lr_bs)).verdict == verdict

    def test_a14_noise_one_seed_and_the_shared_run(self) -> None:
        assert judge("A14", self.gains(0.05, 0.0, noise=0.2, lambda_noise=5.0)).verdict == "inconclusive"
        assert judge("A14", self.gains(0.1, 0.0, seeds=(0,))).verdict == "not run"
        without = [row for row in self.gains(0.1, 0.0) if row["batch_size"] != 64]
        assert judge("A14", without).effect.value == judge("A14", self.gains(0.1, 0.0)).effect.value

    def test_a15(self) -> None:
        same: dict[str, Curve] = {"clean": flat(0.98)}
        assert judge("A15", self.pair("lr_bs", same, same)).verdict == "supported"
        more: dict[str, Curve] = {"clean": flat(0.98), "fgsm": flat(0.6)}
        assert judge("A15", self.pair("lr_bs", same, more)).verdict == "refuted"


YAO_CLEAN = dict(zip(SIZES[2:], (0.9921, 0.9918, 0.9904, 0.9904, 0.9905), strict=True))
YAO_LAMBDA1 = dict(zip(SIZES[2:], (0.49, 1.44, 2.71, 5.84, 21.24), strict=True))
YAO_FGSM = dict(zip(SIZES[2:], (0.53, 0.51, 0.46, 0.42, 0.33), strict=True))


class TestYao:
    """A16 against the printed Table 7 of Yao et al.: M1 on MNIST at batch 64 to 1024."""

    def rows(self, *, clean: float = 0.0, log2_lambda1: float = 0.0, fgsm: float = 0.0, **curve: Any) -> list[Row]:
        """The printed values, each shifted by something; FGSM is asked at Yao's epsilon."""

        def at(values: dict[int, float], shift: float) -> Curve:
            return lambda doublings: values.get(round(16 * 2**doublings), 0.9) + shift

        log2 = {size: float(np.log2(value)) for size, value in YAO_LAMBDA1.items()}
        curves = {
            "clean": at(YAO_CLEAN, clean),
            "fgsm": at(YAO_FGSM, fgsm),
            "log2_lambda1": at(log2, log2_lambda1),
        }
        rows = curve_rows(regime="benchmark", **curves, **curve)
        return attacked_on(attacked_on(rows, "ce", epsilon=0.2), "stable", epsilon=0.2)

    @pytest.mark.parametrize(
        ("shifts", "verdict"),
        [
            ({"fgsm": -0.2}, "supported"),
            ({"fgsm": 0.0}, "refuted"),
            ({"fgsm": -0.2, "clean": -0.05}, "refuted"),
            ({"fgsm": -0.2, "log2_lambda1": 3.0}, "refuted"),
        ],
        ids=["only FGSM differs", "FGSM agrees too", "clean differs", "lambda1 differs"],
    )
    def test_planted(self, shifts: dict[str, float], verdict: str) -> None:
        assert judge("A16", self.rows(**shifts)).verdict == verdict

    def test_noise_and_one_seed(self) -> None:
        assert judge("A16", self.rows(fgsm=-0.2, lambda_noise=1.5)).verdict == "inconclusive"
        assert judge("A16", self.rows(fgsm=-0.2, seeds=(0,))).verdict == "not run"

    def test_another_epsilon_is_no_comparison(self) -> None:
        found = judge("A16", curve_rows(regime="benchmark"))
        assert all(s.verdict == "not run" for s in found.strata if s.keys["part"] == "FGSM differs")

    def test_the_difference_of_protocols_is_said(self) -> None:
        assert all("stop at a training loss" in s.note for s in judge("A16", self.rows()).strata)


class TestLosses:
    """Claims on adversarial accuracy are decided on the published and on the stable loss."""

    def test_a_claim_that_rests_on_saturation_is_marked(self) -> None:
        rows = curve_rows(regime="benchmark", fgsm=line(0.5, -0.03))
        flat_on_stable = attacked_on(rows, "stable", correct=4000, accuracy=0.4)
        verdicts = {(v.claim, v.loss): v for v in evaluate(from_rows(flat_on_stable))}
        assert verdicts["A2", "ce"].verdict == "supported"
        assert verdicts["A2", "stable"].verdict == "refuted"
        assert verdicts["A2", "ce"].differs
        assert not verdicts["A3", None].differs

    def test_an_attack_without_gradients_is_suspect(self) -> None:
        rows = curve_rows(regime="benchmark", fgsm=line(0.5, -0.03))
        found = judge("A2", attacked_on(rows, "ce", zero_grad_fraction=0.5))
        assert found.verdict == "inconclusive"
        assert "suspect" in found.reason
        assert "with them: supported" in found.reason
        assert judge("A2", attacked_on(rows, "ce", zero_grad_fraction=0.5), "stable").verdict == "supported"

    def test_untrained_networks_are_left_out(self) -> None:
        found = judge("A1", curve_rows(regime="benchmark", clean=flat(0.1)))
        assert found.verdict == "inconclusive"
        assert "untrained" in found.reason


def whole_study() -> list[Row]:
    """One network under all three regimes, with and without momentum."""
    rising, level = line(1.4, 0.8), flat(3.0)
    rows: list[Row] = []
    for k, momentum in enumerate((0.0, 0.9)):
        both = {"momentum": momentum, "batch_sizes": SIZES[:5]}
        rows += regimes(
            curve_rows(regime="lr", fgsm=line(0.5, -0.03), log2_lambda1=rising, rng=rng(k), **both),
            curve_rows(regime="lr_bs", log2_lambda1=level, rng=rng(9 + k), **both),
        )
    return rows + curve_rows(regime="benchmark", batch_sizes=SIZES[:5], fgsm=line(0.5, -0.03), clean=FALLS)


class TestLedger:
    """All claims together."""

    def test_every_claim_comes_once_per_loss_in_the_order_of_the_ledger(self) -> None:
        verdicts = evaluate(from_rows([]))
        assert list(dict.fromkeys(v.claim for v in verdicts)) == [f"A{n}" for n in range(1, 18)]
        assert {v.claim for v in verdicts if v.loss is None} == {"A1", "A3", "A4", "A5", "A10", "A12", "A13"}
        assert all(v.verdict == "not run" and "bug" not in v.reason for v in verdicts)

    @pytest.mark.parametrize(
        "rows",
        [
            lambda: curve_rows()[:1],
            lambda: curve_rows(diverged=SIZES),
            lambda: [row | {"attacks": None, "spectra": None} for row in curve_rows()],
            lambda: [row | {"lambda1_train": float("nan"), "test_acc": None} for row in curve_rows()],
            lambda: [row | {"status": "failed", "attacks": None} for row in curve_rows()],
            lambda: curve_rows(batch_sizes=(64,)),
            lambda: [row | {"regimes": None} for row in curve_rows()],
        ],
        ids=["one row", "all diverged", "no probes", "no numbers", "all failed", "one size", "no label"],
    )
    def test_no_table_breaks_a_claim(self, rows: Callable[[], list[Row]]) -> None:
        verdicts = evaluate(from_rows(rows()))
        assert [v.reason for v in verdicts if "bug" in v.reason] == []

    def test_a_broken_test_is_shown_and_spares_the_others(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(*arguments: object) -> list[Any]:
            raise ZeroDivisionError("planted")

        monkeypatch.setitem(CLAIMS, "A1", replace(CLAIMS["A1"], test=broken))
        first, *others = evaluate(from_rows([]))
        assert "ZeroDivisionError: planted" in first.reason
        assert len(others) == 26

    def test_neither_the_order_of_rows_nor_an_extra_column_changes_a_verdict(self) -> None:
        rows = whole_study()
        straight = from_rows(rows)
        shuffled = from_rows([rows[k] for k in rng(7).permutation(len(rows))])
        wider = replace(
            shuffled,
            points=shuffled.points.assign(extra=np.arange(len(shuffled.points))),
            attacks=shuffled.attacks.assign(extra="x"),
        )
        ours, theirs = to_frame(evaluate(straight)), to_frame(evaluate(wider))
        same = ["claim", "loss", "verdict", "reason", "effect_text", "strata_decided", "protocol"]
        assert ours[same].to_dict("list") == theirs[same].to_dict("list")
        assert set(ours["verdict"]) > {"supported", "refuted"}

    def test_every_verdict_carries_what_a_reader_needs(self) -> None:
        for found in evaluate(from_rows(whole_study())):
            assert found.figures
            assert found.reason.endswith(".")
            if found.verdict != "not run":
                assert "epochs" in found.protocol
                assert found.coverage.ok
                assert found.effect.text
