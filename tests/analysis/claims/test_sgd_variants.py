"""Claims B1 to B11 (Choudhary 2020) where the truth was planted; the later ones are in test_planted_truths.py."""

from __future__ import annotations

from typing import Any

import pytest

from analysis.claims import sgd_variants as b
from analysis.published import published
from tests.analysis.claims.planted_claims import judge
from tests.analysis.synthetic import flat, line
from tests.analysis.variants import Level, Setting, level, rows

SIZES = (32, 64, 128, 256, 512, 1024)

FALLING = Level(line(0.99, -0.01), line(0.6, -0.05), line(0.5, -0.04), line(1.0, 0.8))
LEVEL = level(0.98)
RISING = Level(line(0.90, 0.01), line(0.3, 0.05), line(0.2, 0.04), line(6.0, -0.8))

ONE_SEED: dict[str, Any] = {"seeds": (0,)}
NOISE: dict[str, Any] = {"noise": 0.4, "lambda_noise": 8.0}


def verdict(claim: str, dataset: str, levels: dict[Setting, Level], **choices: Any) -> str:
    return judge(claim, rows(dataset, levels, **choices)).verdict


class TestAlongBatchSize:
    """B1 and B3: trends and flatness of minibatch SGD on MNIST."""

    def test_b1(self) -> None:
        assert verdict("B1", "mnist", {b.LR: FALLING, b.HIGH: FALLING}) == "supported"
        assert verdict("B1", "mnist", {b.LR: RISING, b.HIGH: FALLING}) == "refuted"
        assert verdict("B1", "mnist", {b.LR: LEVEL}) == "refuted"
        assert verdict("B1", "mnist", {b.LR: FALLING}, **NOISE) == "inconclusive"
        assert verdict("B1", "mnist", {b.LR: FALLING}, **ONE_SEED) == "not run"
        assert verdict("B1", "mnist", {b.LR: FALLING}, only=SIZES[:4]) == "not run"

    def test_b1_at_the_floor_and_diverged(self) -> None:
        floor = Level(line(0.99, -0.01), line(0.008, -0.001), line(0.004, -0.0005), line(1.0, 0.8))
        found = judge("B1", rows("mnist", {b.LR: floor}, noise=0.0002))
        assert found.verdict == "inconclusive"
        assert "at its floor" in found.reason
        lost = tuple((b.LR, size) for size in SIZES[2:])
        assert verdict("B1", "mnist", {b.LR: FALLING}, diverged=lost) == "inconclusive"

    def test_b3(self) -> None:
        assert verdict("B3", "mnist", {b.RATIO: LEVEL}) == "supported"
        assert verdict("B3", "mnist", {b.RATIO: FALLING}) == "refuted"
        assert verdict("B3", "mnist", {b.RATIO: LEVEL}, **NOISE) == "inconclusive"
        assert verdict("B3", "mnist", {b.RATIO: LEVEL}, **ONE_SEED) == "not run"


class TestAgainstEachOther:
    """B2, B5, B8: two settings on MNIST."""

    def test_b2(self) -> None:
        better = level(0.99, 0.6)
        assert verdict("B2", "mnist", {b.LR: LEVEL, b.HIGH: better}) == "supported"
        assert verdict("B2", "mnist", {b.LR: better, b.HIGH: LEVEL}) == "refuted"
        assert verdict("B2", "mnist", {b.LR: LEVEL, b.HIGH: better}, **NOISE) == "inconclusive"
        assert verdict("B2", "mnist", {b.LR: LEVEL, b.HIGH: better}, **ONE_SEED) == "not run"
        assert verdict("B2", "mnist", {b.LR: LEVEL}) == "not run"

    def test_the_attack_ratio_is_not_the_accuracy(self) -> None:
        """Both accuracies are half: the attack ratio is the same."""
        found = judge("B2", rows("mnist", {b.LR: level(0.45, 0.2, 0.15), b.HIGH: level(0.9, 0.4, 0.3)}))
        by_part = {s.part: s.verdict for s in found.strata}
        assert by_part == {"accuracy": "supported", "robustness": "refuted"}

    def test_b5(self) -> None:
        same = {b.LR: LEVEL, b.STEP: LEVEL, b.HIGH: LEVEL, b.HIGH_STEP: LEVEL}
        assert verdict("B5", "mnist", same) == "supported"
        assert verdict("B5", "mnist", same | {b.HIGH_STEP: level(0.98, 0.6)}) == "refuted"
        assert verdict("B5", "mnist", same | {b.HIGH_STEP: level(0.98, 0.2)}) == "supported"  # a loss is no gain
        assert verdict("B5", "mnist", same, **NOISE) == "inconclusive"
        assert verdict("B5", "mnist", same, **ONE_SEED) == "not run"

    def test_b8(self) -> None:
        def trained(accuracy: float, **choices: Any) -> str:
            with_momentum = {b.with_momentum(m, b.HIGH): level(accuracy) for m in b.MOMENTA}
            return verdict("B8", "mnist", {b.HIGH: level(0.98), **with_momentum}, **choices)

        assert trained(0.95) == "supported"
        assert trained(0.99) == "refuted"
        assert trained(0.98) == "refuted"
        assert trained(0.97, noise=0.2) == "inconclusive"
        assert trained(0.95, **ONE_SEED) == "not run"
        assert trained(0.95, only=(32, 64)) == "not run"

    def test_b8_a_diverged_run_is_suboptimal_training(self) -> None:
        lost = tuple((b.with_momentum(m, b.HIGH), size) for m in b.MOMENTA for size in b.SMALL_BATCHES)
        levels = {b.HIGH: level(0.98), **{setting: level(0.98) for setting, _ in lost}}
        found = judge("B8", rows("mnist", levels, diverged=lost))
        assert found.verdict == "supported"
        assert found.shown.effect == pytest.approx(-88, abs=0.5)
        four = [row | {"num_classes": 4} for row in rows("mnist", levels, diverged=lost)]
        assert judge("B8", four).shown.effect == pytest.approx(25 - 98, abs=0.5)


class TestOneBatchSize:
    """B6, B7, B10, B11: contrasts at batch 128 alone on CIFAR-10, beside curves on MNIST."""

    def decay(self, mnist: float, cifar: float, **choices: Any) -> str:
        on_mnist = {b.LR: level(0.98), b.decayed(b.LR, b.MNIST): level(0.98, mnist)}
        on_mnist |= {b.HIGH: level(0.98), b.decayed(b.HIGH, b.MNIST): level(0.98)}
        on_cifar = {b.LR: level(0.8), b.decayed(b.LR, b.CIFAR): level(0.8, cifar, lambda1=3.6)}
        return judge("B6", rows("mnist", on_mnist, **choices) + rows("cifar10", on_cifar, **choices)).verdict

    def test_b6(self) -> None:
        assert self.decay(0.4, 0.4) == "supported"
        assert self.decay(0.6, 0.4) == "refuted"
        assert self.decay(0.4, 0.6) == "refuted"
        assert self.decay(0.4, 0.4, **NOISE) == "inconclusive"
        assert self.decay(0.4, 0.4, **ONE_SEED) == "not run"

    def momentum(self, at_half: float, at_most: float, **choices: Any) -> str:
        """log2 lambda1 at momentum .5 and .9; accuracy and robustness rise with either."""
        levels = {b.LR: level(0.95), b.with_momentum(0.5): level(0.97, 0.5, lambda1=at_half)}
        levels[b.with_momentum(0.9)] = level(0.99, 0.6, lambda1=at_most)
        cifar = {b.LR: level(0.77), b.with_momentum(0.9): level(0.86, 0.6, lambda1=1.0)}
        return judge("B7", rows("mnist", levels, **choices) + rows("cifar10", cifar, **choices)).verdict

    def test_b7(self) -> None:
        assert self.momentum(3.9, 1.0) == "supported"
        assert self.momentum(1.0, 1.0) == "refuted"
        assert self.momentum(4.0, 4.0) == "refuted"
        assert self.momentum(3.9, 1.0, **NOISE) == "inconclusive"
        assert self.momentum(3.9, 1.0, **ONE_SEED) == "not run"

    def test_b7_needs_both_momenta(self) -> None:
        levels = {b.LR: level(0.95), b.with_momentum(0.9): level(0.99, 0.6, lambda1=1.0)}
        found = judge("B7", rows("mnist", levels))
        assert found.verdict == "inconclusive"
        assert "MNIST accuracy at 0.5" in found.reason

    def adam(self, adam: Level, **choices: Any) -> Any:
        levels = {b.by(o, base): level(0.8, 0.4) for base in (b.LR, b.HIGH_STEP) for o in ("sgd", *b.OTHERS)}
        levels[b.with_momentum(0.9)] = level(0.86, 0.45)
        return judge("B10", rows("cifar10", levels | {b.ADAM: adam}, **choices))

    def test_b10(self) -> None:
        assert self.adam(level(0.87, 0.3, 0.2, 9.0)).verdict == "supported"
        assert self.adam(level(0.7, 0.3, 0.2, 9.0)).verdict == "refuted"
        assert self.adam(level(0.87, 0.3, 0.2, 4.0)).verdict == "refuted"
        assert self.adam(level(0.87, 0.6, 0.5, 9.0)).verdict == "refuted"
        assert self.adam(level(0.87, 0.3, 0.2, 9.0), **NOISE).verdict == "inconclusive"
        assert self.adam(level(0.87, 0.3, 0.2, 9.0), **ONE_SEED).verdict == "not run"
        assert self.adam(level(0.87, 0.3, 0.2, 9.0), diverged=((b.ADAM, 128),)).verdict == "inconclusive"

    def test_b10_at_its_floor_is_undecided_not_less_robust(self) -> None:
        found = self.adam(level(0.87, 0.004, 0.002, 9.0), noise=0.0005)
        assert {s.verdict for s in found.strata if s.part == "less robust"} == {"inconclusive"}
        assert "at its floor" in found.reason

    def baseline(self, fgsm: float, **choices: Any) -> str:
        bases = {"mnist": (b.LR, b.HIGH, b.RATIO), "cifar10": (b.LR, b.HIGH_STEP)}
        found = []
        for dataset, settings in bases.items():
            levels = {base: level(0.9) for base in settings}
            levels |= {b.by(o, base): level(0.9, fgsm) for base in settings for o in b.OTHERS}
            levels |= dict.fromkeys([b.ADAM, b.ADAM_RATIO] if dataset == "mnist" else [b.ADAM], level(0.9, fgsm))
            found += rows(dataset, levels, **choices)
        return judge("B11", found).verdict

    def test_b11(self) -> None:
        assert self.baseline(0.3) == "supported"
        assert self.baseline(0.4) == "supported"
        assert self.baseline(0.6) == "refuted"
        assert self.baseline(0.4, **NOISE) == "inconclusive"
        assert self.baseline(0.4, **ONE_SEED) == "not run"


class TestCurvature:
    """B4 and B9: where curvature and robustness do and do not go together."""

    @staticmethod
    def ratio_curve(lambda1: float, fgsm: float) -> Level:
        """Both change by this much from batch 32 to 512, in doublings and as a fraction."""
        return Level(flat(0.8), line(0.5, fgsm / 4), line(0.4, fgsm / 4), line(6.0, lambda1 / 4))

    def test_b4(self) -> None:
        assert verdict("B4", "cifar10", {b.RATIO: self.ratio_curve(-3.0, -0.2)}) == "supported"
        assert verdict("B4", "cifar10", {b.RATIO: self.ratio_curve(-3.0, +0.2)}) == "refuted"
        assert verdict("B4", "cifar10", {b.RATIO: self.ratio_curve(+3.0, -0.2)}) == "refuted"
        assert verdict("B4", "cifar10", {b.RATIO: self.ratio_curve(-3.0, -0.2)}, **NOISE) == "inconclusive"
        assert verdict("B4", "cifar10", {b.RATIO: self.ratio_curve(-3.0, -0.2)}, **ONE_SEED) == "not run"
        without = (32, 128, 256)
        assert verdict("B4", "cifar10", {b.RATIO: self.ratio_curve(-3.0, -0.2)}, only=without) == "not run"

    def test_b4_undecided_where_512_diverged_or_is_at_its_floor(self) -> None:
        curve = {b.RATIO: self.ratio_curve(-3.0, -0.2)}
        assert verdict("B4", "cifar10", curve, diverged=((b.RATIO, 512),)) == "inconclusive"
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

    def opposition(self, curve: Level, exception: bool, **choices: Any) -> Any:
        mnist = {b.by(o, base): curve for base in (b.LR, b.HIGH) for o in ("sgd", *b.OTHERS)}
        sharp = level(0.9, 0.5, lambda1=8.0) if exception else level(0.9, 0.2, lambda1=8.0)
        levels = [level(0.9, 0.3 + 0.01 * k, lambda1=6.0 - 0.3 * k) for k in range(6)]
        names = [*(b.by(o, base) for base in (b.LR, b.HIGH_STEP) for o in b.OTHERS)]
        cifar = {**dict(zip(names, levels, strict=True)), b.LR: sharp, b.ADAM: sharp}
        return judge("B9", rows("mnist", mnist, **choices) + rows("cifar10", cifar, **choices))

    def test_b9_a_tendency_with_exceptions(self) -> None:
        found = self.opposition(FALLING, exception=True)
        assert found.verdict == "supported"
        assert "Usually inverse:" in found.reason
        assert "Usually inverse to clean accuracy:" in found.reason
        assert "Exceptions: Confirmed" in found.reason

    def test_b9_no_tendency_or_no_exception(self) -> None:
        together = Level(flat(0.98), line(0.3, 0.05), line(0.2, 0.04), line(1.0, 0.8))
        assert self.opposition(together, exception=True).verdict == "refuted"
        assert self.opposition(FALLING, exception=False).verdict == "inconclusive"
        assert self.opposition(FALLING, exception=True, **NOISE).verdict == "inconclusive"
        assert self.opposition(FALLING, exception=True, **ONE_SEED).verdict == "not run"


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
