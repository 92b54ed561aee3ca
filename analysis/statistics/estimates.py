"""Replicated measurements along the batch size, what they can decide, and the decision on a direction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from scipy import special

from analysis.statistics.thresholds import MIN_BATCH_SIZES, MIN_SEEDS, MIN_SPAN, SIGNIFICANCE, few_diverged

Floats = NDArray[np.float64]

Decision = Literal["supported", "refuted", "inconclusive", "not run"]


@dataclass(frozen=True)
class Finding:
    """What one test says of one stratum.

    `effect` and its interval (`low`, `high`) are in the unit of the measure: points of accuracy, or doublings
    of lambda1; `confidence` is that of the interval. `p_supported` and `p_refuted`: p-values of the two decisions.
    A `p_supported` of at most .05 does not suffice for support: the effect must also reach delta. Sizes in `reason` are
    written by `amount`. Where the effect is that of a line, `observed` is the difference of the two
    measured ends. `dof` are the degrees of freedom of Student's t where the interval is the effect plus and minus a
    multiple of its error. NaN: not computed.
    """

    verdict: Decision
    reason: str
    effect: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")
    p_supported: float = float("nan")
    p_refuted: float = float("nan")
    confidence: float = 1 - SIGNIFICANCE
    observed: float = float("nan")
    dof: float = float("nan")

    @property
    def contrast(self) -> LinearContrast:
        """The effect with its error, to be compared with that of another study; NaN without `dof`."""
        quantile = float(special.stdtrit(self.dof, 0.5 + self.confidence / 2))
        return LinearContrast(self.effect, (self.high - self.low) / 2 / quantile, self.dof)

    @property
    def p(self) -> float:
        """The p-value behind the verdict: of the refutation where refuted, else of the support."""
        return self.p_refuted if self.verdict == "refuted" else self.p_supported

    def undecided(self, reason: str, verdict: Decision = "inconclusive") -> Self:
        """The same effect, of which nothing can be decided for `reason`."""
        return replace(self, verdict=verdict, reason=reason, p_supported=float("nan"), p_refuted=float("nan"))


def amount(value: float) -> str:
    """A size in a reason, in brackets: only the caller knows its unit (`analysis.claims.measures.with_units`)."""
    return f"[{value:.2g}]" if value < 99.5 else f"[{value:.0f}]"


@dataclass(frozen=True)
class Reach:
    """The batch sizes that a statement needs: how many, and how many times the smallest the largest must be."""

    sizes: int = MIN_BATCH_SIZES
    span: float = MIN_SPAN

    def met(self, batch_sizes: Floats) -> bool:
        """Whether these (ascending or not, each once) are enough."""
        enough = len(batch_sizes) >= self.sizes
        return enough and float(batch_sizes.max() / batch_sizes.min()) >= self.span

    @property
    def words(self) -> str:
        """What is needed, for a reader."""
        if self.span > 1:
            return f"{self.sizes} spanning {self.span:.0f}x"
        return "one" if self.sizes == 1 else str(self.sizes)


ALONG_BATCH_SIZES = Reach()
AT_ONE_SIZE = Reach(1, 1.0)
"""A contrast of two settings at one batch size says nothing about others and needs none."""


@dataclass(frozen=True)
class Sample:
    """Seeds at batch sizes: four arrays of shape (n,). NaN marks a run that diverged.

    `value` is in the unit in which effects are judged (points, doublings); `linear` holds the same
    measurements on the scale on which significance is (logit of an accuracy); equal to `value` unless given.
    `rounding` is the least step between two values (a hundredth of a point on 10,000 images; 0: unknown). `room` (also
    of shape (n,)): distance of an accuracy from the nearer of 0 and 100 %, infinite for other measures; a curve without
    delta of room can neither show nor exclude a change of delta.
    `chance` is the accuracy of a guess, a fraction; NaN: unknown.
    """

    batch_size: Floats
    seed: NDArray[Any]
    value: Floats
    linear: Floats
    rounding: float = 0.0
    room: Floats = field(default_factory=lambda: np.empty(0))
    chance: float = float("nan")

    def __post_init__(self) -> None:
        """Without `room` the scale has no ends."""
        if len(self.room) != len(self.value):
            object.__setattr__(self, "room", np.full(len(self.value), np.inf))

    @classmethod
    def of(
        cls,
        batch_size: Any,
        seed: Any,
        value: Any,
        linear: Any = None,
        *,
        percent: bool = False,
        rounding: float = 0.0,
        chance: float = float("nan"),
    ) -> Sample:
        """A sample from anything array-like; values in `percent` lie between 0 and 100.

        Raises:
            ValueError: the arrays differ in length.
        """
        value = np.asarray(value, dtype=float)
        linear = value if linear is None else np.asarray(linear, dtype=float)
        room = np.minimum(value, 100.0 - value) if percent else np.full(len(value), np.inf)
        sample = cls(np.asarray(batch_size, dtype=float), np.asarray(seed), value, linear, rounding, room, chance)
        lengths = {len(array) for array in (sample.batch_size, sample.seed, sample.value, sample.linear)}
        if len(lengths) != 1:
            raise ValueError(f"batch sizes, seeds and values must have one length, got {sorted(lengths)}")
        return sample

    @property
    def pairs(self) -> list[tuple[float, object]]:
        """(batch size, seed) of each measurement: what two samples are paired by."""
        return list(zip(self.batch_size.tolist(), self.seed.tolist(), strict=True))

    def where(self, chosen: NDArray[np.bool_] | NDArray[np.intp]) -> Sample:
        """The measurements where a mask holds, or at these positions in their order."""
        return Sample(
            self.batch_size[chosen],
            self.seed[chosen],
            self.value[chosen],
            self.linear[chosen],
            self.rounding,
            self.room[chosen],
            self.chance,
        )

    @cached_property
    def _cells(self) -> tuple[Floats, NDArray[np.intp], NDArray[np.intp]]:
        """The batch sizes, the place of each measurement among them, and how many measurements each has."""
        return np.unique(self.batch_size, return_inverse=True, return_counts=True)

    @cached_property
    def decidable(self) -> Sample:
        """The finite measurements of the cells with enough of them, of which not too many others diverged."""
        finite = np.isfinite(self.value) & np.isfinite(self.linear)
        _, cell, count = self._cells
        left = np.bincount(cell, weights=finite)
        enough = (left >= MIN_SEEDS) & few_diverged(left, count - left)
        return self.where(finite & enough[cell])

    def cells(self, *, linear: bool = False) -> CellMeans:
        """Cell means of `value`, of which no cell is taken to be more exact than the rounding, or of `linear`."""
        size, cell, _ = self._cells
        if linear:
            return _means(size, cell, self.linear, 0.0)
        return _means(size, cell, self.value, self.rounding)

    def p_room(self, delta: float) -> float:
        """One-sided p-value of "the mean room over batch sizes exceeds `delta`", each seed one observation.

        That the measured room exceeds it is not enough: at a true one just below, it does in almost half of all
        studies.
        """
        if np.isinf(self.room).any():
            return 0.0
        return mean_by_seed(self.batch_size, self.seed, self.room, rounding=self.rounding).p_above(delta)

    def shortfall(self, reach: Reach = ALONG_BATCH_SIZES) -> Finding | None:
        """Why no statement about batch sizes of this `reach` can be made here; None where one can.

        `not run` where the runs are not there, `inconclusive` where they are but too many diverged.
        """
        sizes, _, counts = self._cells
        replicated = sizes[counts >= MIN_SEEDS]
        if not reach.met(replicated):
            found = f"{len(replicated)} batch sizes with {MIN_SEEDS} seeds{_range(replicated)}"
            needed = f"needs {reach.words}"
            return Finding("not run", f"{found}; {needed}")
        left = self.decidable._cells[0]
        if not reach.met(left):
            return Finding("inconclusive", f"too many seeds diverged: {len(left)} batch sizes{_range(left)} left")
        return None


def _range(sizes: Floats) -> str:
    return f" ({sizes.min():.0f} to {sizes.max():.0f})" if len(sizes) else ""


@dataclass(frozen=True)
class CellMeans:
    """Means over seeds of each batch size, each with a variance of its own.

    `size`, `mean`, `count`, `variance`: shape (cells,). `variance` is that of one seed; NaN for a cell of one seed.
    Nothing is pooled: seed noise differs between batch sizes, and an interval from a pooled variance then covers too
    little wherever the noisy cells weigh more than their share (docs/calibration.md).
    """

    size: Floats
    mean: Floats
    count: Floats
    variance: Floats

    def at(self, cell: int, *, new: bool = False) -> LinearContrast:
        """The mean of one cell, on Student's t; with `new`, as a prediction of one more seed."""
        count = float(self.count[cell])
        se = math.sqrt(float(self.variance[cell]) * (1 / count + new))
        return LinearContrast(float(self.mean[cell]), se, count - 1)

    def part(self, cells: slice) -> CellMeans:
        """These cells alone."""
        return CellMeans(self.size[cells], self.mean[cells], self.count[cells], self.variance[cells])

    def contrast(self, weights: Floats) -> LinearContrast:
        """The sum of `weights` times the means: its variance is the weighted sum of theirs, its degrees of freedom are
        Satterthwaite's.
        """
        parts = weights**2 * self.variance / self.count
        dof = satterthwaite(parts.tolist(), (self.count - 1).tolist())
        return LinearContrast(float(weights @ self.mean), math.sqrt(float(parts.sum())), dof)


def cell_means(batch_size: Floats, value: Floats) -> CellMeans:
    """Cell means of `value` (shape (n,), finite) at each `batch_size` (shape (n,))."""
    return _means(*np.unique(batch_size, return_inverse=True), value, 0.0)


def _means(size: Floats, cell: NDArray[np.intp], value: Floats, rounding: float) -> CellMeans:
    """A variance is at least that of values rounded to multiples of `rounding`: seeds that agree to the last digit are
    not exact.
    """
    count = np.bincount(cell, minlength=len(size)).astype(float)
    mean = np.bincount(cell, weights=value, minlength=len(size)) / count
    squares = np.bincount(cell, weights=(value - mean[cell]) ** 2, minlength=len(size))
    variance = np.divide(squares, count - 1, out=np.full(len(size), np.nan), where=count > 1)
    return CellMeans(size, mean, count, np.maximum(variance, rounding**2 / 12))


def mean_by_seed(batch_size: Floats, seed: NDArray[Any], value: Floats, *, rounding: float = 0.0) -> LinearContrast:
    """The unweighted mean over batch sizes of cell means, with the error of whole seeds.

    The cells of one seed share its data order and first weights, and are not independent: on measured rows their
    residuals correlate by .5 to .6, where an interval from cell variances misses in 20 to 39 %. So each seed is one
    observation: Student's t over the seeds' means, with n - 1 degrees of freedom. Where seeds lack cells, a seed's
    deviation is the sum of its deviations from the cells' means, each over the cell's count (the variance of clustered
    data, Liang & Zeger 1986, Biometrika 73), and the degrees of freedom are those of the smallest cell.
    """
    cells = cell_means(batch_size, value)
    place = np.searchsorted(cells.size, batch_size)
    share = (value - cells.mean[place]) / cells.count[place] / len(cells.size)
    deviation = np.bincount(np.unique(seed, return_inverse=True)[1], weights=share)
    seeds, least = len(deviation), float(cells.count.min())
    variance = float(deviation @ deviation) * seeds / max(seeds - 1, 1)
    floor = rounding**2 / 12 / float(cells.count.sum())
    return LinearContrast(float(cells.mean.mean()), math.sqrt(max(variance, floor)), least - 1)


def mean_of_seeds(value: Floats, rounding: float = 0.0) -> LinearContrast:
    """The mean of one value a seed (shape (seeds,), two and more), on Student's t."""
    spread = max(float(value.std(ddof=1)), rounding / math.sqrt(12))
    return LinearContrast(float(value.mean()), spread / math.sqrt(len(value)), len(value) - 1)


def satterthwaite(variances: Sequence[float], dofs: Sequence[float]) -> float:
    """Degrees of freedom of a sum of independent estimates of variance (Satterthwaite 1946, Biometrics Bulletin 2;
    Welch 1947, Biometrika 34). The least of `dofs` where all are 0.
    """
    total = sum(variances)
    if not total > 0:
        return min(dofs)
    return total**2 / sum(variance**2 / dof for variance, dof in zip(variances, dofs, strict=True))


@dataclass(frozen=True)
class LinearContrast:
    """A linear contrast of cell means: its value and standard error, on a t distribution of `dof` degrees of
    freedom.
    """

    value: float
    se: float
    dof: float

    def interval(self, confidence: float) -> tuple[float, float]:
        """The two-sided interval of this confidence."""
        half = float(special.stdtrit(self.dof, 0.5 + confidence / 2)) * self.se
        return self.value - half, self.value + half

    def p_above(self, bound: float) -> float:
        """One-sided p-value of "the truth exceeds `bound`"."""
        if self.se == 0.0:  # every seed gave the same: no noise to speak of
            return 0.0 if self.value > bound else 1.0
        return float(special.stdtr(self.dof, (bound - self.value) / self.se))

    def p_below(self, bound: float) -> float:
        """One-sided p-value of "the truth is below `bound`"."""
        return LinearContrast(-self.value, self.se, self.dof).p_above(-bound)

    def p_differs(self) -> float:
        """Two-sided p-value of "the truth is not 0"."""
        return min(1.0, 2 * min(self.p_above(0.0), self.p_below(0.0)))

    def p_within(self, delta: float) -> float:
        """p-value of "the truth lies within +-`delta`": the larger of the two one-sided tests (TOST).

        At most .05 exactly where the 90 % interval lies inside +-`delta`.
        """
        return max(self.p_above(-delta), self.p_below(delta))

    def p_beyond(self, delta: float) -> float:
        """p-value of "the truth lies beyond +-`delta`".

        At most .05 exactly where the 90 % interval lies wholly outside +-`delta`.
        """
        return min(self.p_above(delta), self.p_below(-delta))

    def less(self, other: LinearContrast) -> LinearContrast:
        """This less an independent other, with Welch-Satterthwaite degrees of freedom."""
        variances = (self.se**2, other.se**2)
        dof = satterthwaite(variances, (self.dof, other.dof))
        return LinearContrast(self.value - other.value, math.sqrt(sum(variances)), dof)

    def times(self, factor: float) -> LinearContrast:
        """The estimate in another unit."""
        return LinearContrast(self.value * factor, self.se * abs(factor), self.dof)


def directional(
    effect: LinearContrast, linear: LinearContrast, *, claimed: int, delta: float, what: str, looks: int = 1
) -> Finding:
    """Decide a claim of direction: `claimed` is +1 (rises, higher) or -1.

    Supported where the 95 % interval excludes 0 on the claimed side and the effect is at least `delta`;
    refuted where it excludes 0 on the other side, or where the effect is equivalent to 0: its 90 % interval
    within +-`delta`. A `delta` of 0 decides on direction alone. An interval excludes 0 only if it does so
    both on the scale of the effect and on the linear one: points are what a reader sees, logits what a
    straight line fits. `looks`: how many such effects the data chose this one from; every p-value is multiplied by
    it and the interval holds for all of them at once (Bonferroni).
    """
    low, high = effect.interval(1 - SIGNIFICANCE / looks)
    signed, straight = effect.times(claimed), linear.times(claimed)
    p_for = min(1.0, 2 * looks * max(signed.p_above(0.0), straight.p_above(0.0)))
    p_against = min(1.0, 2 * looks * max(signed.p_below(0.0), straight.p_below(0.0)))
    p_none = min(1.0, looks * effect.p_within(delta))
    verdict: Decision
    if p_against <= SIGNIFICANCE:
        verdict, reason = "refuted", f"{what} goes the other way"
    elif p_none <= SIGNIFICANCE and p_for <= SIGNIFICANCE:
        verdict, reason = "refuted", f"{what} has the claimed sign, but is less than {amount(delta)}"
    elif p_none <= SIGNIFICANCE:
        verdict, reason = "refuted", f"{what} is shown to be less than {amount(delta)} either way"
    elif p_for <= SIGNIFICANCE and signed.value >= delta:
        verdict, reason = "supported", f"{what} is as claimed"
    elif p_for <= SIGNIFICANCE:
        verdict, reason = "inconclusive", f"{what} has the claimed sign, but is measured below {amount(delta)}"
    elif low * high > 0:
        verdict, reason = "inconclusive", f"the interval of {what} excludes 0, but not on the logit scale"
    else:
        verdict, reason = "inconclusive", f"the interval of {what} includes 0"
    p_refuted = min(p_against, p_none)
    dof = effect.dof if looks == 1 else float("nan")  # an effect that the data chose has no known error
    confidence = 1 - SIGNIFICANCE / looks
    return Finding(verdict, reason, effect.value, low, high, p_for, p_refuted, confidence, dof=dof)
