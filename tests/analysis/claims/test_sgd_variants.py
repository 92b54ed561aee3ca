"""Claims B1 to B11 (Choudhary 2020) on their floors, where networks diverged, and of a part of the settings."""

from __future__ import annotations

import pytest

from analysis.claims import sgd_variants as b
from analysis.published import published
from tests.analysis.claims.planted_claims import judge
from tests.analysis.claims.test_planted_truths import TRUTHS, adam, opposition, ratio_curve
from tests.analysis.synthetic import flat, line
from tests.analysis.variants import FALLING, Level, level, rows

SIZES = (32, 64, 128, 256, 512, 1024)


@pytest.mark.parametrize(("claim", "only"), [("B1", SIZES[:4]), ("B4", (32, 128, 256)), ("B8", (32, 64))])
def test_without_the_batch_sizes_that_it_compares_a_claim_is_not_run(claim: str, only: tuple[int, ...]) -> None:
    assert judge(claim, TRUTHS[claim][0](only=only)).verdict == "not run"


class TestAlongBatchSize:
    """B1: trends of minibatch SGD on MNIST."""

    def test_b1_at_the_floor_and_diverged(self) -> None:
        floor = Level(line(0.99, -0.01), line(0.008, -0.001), line(0.004, -0.0005), line(1.0, 0.8))
        found = judge("B1", rows("mnist", {b.LR: floor}, noise=0.0002))
        assert found.verdict == "inconclusive"
        assert "at its floor" in found.reason
        lost = tuple((b.LR, size) for size in SIZES[2:])
        assert judge("B1", rows("mnist", {b.LR: FALLING}, diverged=lost)).verdict == "inconclusive"


class TestAgainstEachOther:
    """B2 and B8: two settings on MNIST."""

    def test_the_attack_ratio_is_not_the_accuracy(self) -> None:
        """Both accuracies are half: the attack ratio is the same."""
        found = judge("B2", rows("mnist", {b.LR: level(0.45, 0.2, 0.15), b.HIGH: level(0.9, 0.4, 0.3)}))
        by_part = {s.part: s.verdict for s in found.strata}
        assert by_part == {"accuracy": "supported", "robustness": "refuted"}

    def test_b8_a_diverged_run_is_suboptimal_training(self) -> None:
        lost = tuple((b.with_momentum(m, b.HIGH), size) for m in b.MOMENTA for size in b.SMALL_BATCHES)
        levels = {b.HIGH: level(0.98), **{setting: level(0.98) for setting, _ in lost}}
        found = judge("B8", rows("mnist", levels, diverged=lost))
        assert found.verdict == "supported"
        assert found.shown.effect == pytest.approx(-88, abs=0.5)
        four = [row | {"num_classes": 4} for row in rows("mnist", levels, diverged=lost)]
        assert judge("B8", four).shown.effect == pytest.approx(25 - 98, abs=0.5)


class TestOneBatchSize:
    """B7 and B10: contrasts at batch 128 alone on CIFAR-10, beside curves on MNIST."""

    def test_b7_needs_both_momenta(self) -> None:
        levels = {b.LR: level(0.95), b.with_momentum(0.9): level(0.99, 0.6, lambda1=1.0)}
        found = judge("B7", rows("mnist", levels))
        assert found.verdict == "inconclusive"
        assert "MNIST accuracy at 0.5" in found.reason

    def test_b10_is_undecided_where_adam_diverged(self) -> None:
        assert judge("B10", adam(level(0.87, 0.3, 0.2, 9.0))(diverged=((b.ADAM, 128),))).verdict == "inconclusive"

    def test_b10_at_its_floor_is_undecided_not_less_robust(self) -> None:
        found = judge("B10", adam(level(0.87, 0.004, 0.002, 9.0))(noise=0.0005))
        assert {s.verdict for s in found.strata if s.part == "less robust"} == {"inconclusive"}
        assert "at its floor" in found.reason


class TestCurvature:
    """B4 and B9: where curvature and robustness do and do not go together."""

    def test_b4_undecided_where_512_diverged_or_is_at_its_floor(self) -> None:
        assert judge("B4", ratio_curve(-3.0, -0.2)(diverged=((b.RATIO, 512),))).verdict == "inconclusive"
        floor = {b.RATIO: Level(flat(0.8), line(0.2, -0.05), line(0.2, -0.05), line(6.0, -0.5))}
        found = judge("B4", rows("cifar10", floor, noise=0.0005))
        assert found.verdict == "inconclusive"
        assert "floor" in found.strata[0].reason

    def test_b4_needs_one_smaller_batch(self) -> None:
        """Flatter and less robust than batch 256 alone."""
        sharpness, robust = ({1: a, 3: b, 4: c, 5: d} for a, b, c, d in ((1, 2, 6, 3), (0.2, 0.25, 0.5, 0.4)))
        hill = Level(flat(0.8), lambda x: robust[round(x)], lambda x: robust[round(x)], lambda x: sharpness[round(x)])
        found = judge("B4", rows("cifar10", {b.RATIO: hill}))
        assert found.verdict == "supported"
        by_batch = {s.details["batch"]: s.verdict for s in found.strata if s.measure == "fgsm"}
        assert by_batch == {
            "batch 512 against 32": "refuted",
            "batch 512 against 128": "refuted",
            "batch 512 against 256": "supported",
        }

    def test_b9_where_cells_at_the_floor_decide_differently_is_undecided(self) -> None:
        """Tau is -1 without the cell at the floor, and rho without the two on CIFAR-10: both were supported."""
        at_floor = level(0.9, 0.003, 0.003, lambda1=2.0)
        robust = line(0.06, -0.005)
        curve = Level(flat(0.98), *[lambda x: robust(x) if x > 1 else 0.003] * 2, line(1.0, 0.8))
        names = [b.by(o, base) for base in (b.LR, b.HIGH_STEP) for o in b.OTHERS]
        levels = [level(0.9, 0.3 + 0.01 * k, lambda1=6.0 - 0.3 * k) for k in range(6)]
        cifar = {**dict(zip(names, levels, strict=True)), b.LR: at_floor, b.ADAM: at_floor}
        made = rows("mnist", {b.LR: curve}, noise=0.0) + rows("cifar10", cifar, noise=0.0)
        found = [s for s in judge("B9", made).strata if s.part == b.USUALLY and s.verdict != "not run"]
        assert {(s.dataset, s.verdict) for s in found} == {("mnist", "inconclusive"), ("cifar10", "inconclusive")}
        assert {round(s.effect, 6) for s in found} == {-1.0}
        assert all("at its floor" in s.reason and "without: supported" in s.reason for s in found)

    def test_b9_a_tendency_with_exceptions(self) -> None:
        found = judge("B9", opposition(FALLING, exception=True)())
        assert "Usually inverse:" in found.reason
        assert "Usually inverse to clean accuracy:" in found.reason
        assert "Exceptions: Confirmed" in found.reason
        assert judge("B9", opposition(FALLING, exception=False)()).verdict == "inconclusive"


class TestPaper:
    """What the claims say of their source."""

    def test_table_2_prints_pgd_above_fgsm_in_every_row_and_the_strata_say_so(self) -> None:
        table = published().query("table == 'Choudhary-T2'")
        printed = table.pivot_table(index="variant", columns="metric", values="value_std")
        assert len(printed) >= 16
        assert (printed["pgd_acc"] > printed["fgsm_acc"]).all()
        levels = {b.LR: level(0.8), b.HIGH_STEP: level(0.8), b.ADAM: level(0.87, 0.3, 0.2, 9.0)}
        robust = [s for s in judge("B10", rows("cifar10", levels)).strata if s.part == "less robust"]
        assert robust
        assert all("PGD accuracy above FGSM's in every row" in s.remarks for s in robust)
