"""How often a claim's verdict is wrong: the tests and rules of `analysis.claims` on curves whose truth is planted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from analysis.claims.claim_tests import Decide, on_sound_cells, paired
from analysis.claims.curves import Curve
from analysis.claims.measures import FGSM
from analysis.claims.rules import Rule, existential, most, universal
from analysis.claims.stratum import Stratum
from analysis.reports.associations import mean_residuals
from analysis.statistics.association_tests import fall_together, opposed, unrelated
from analysis.statistics.correlations import over_seeds
from analysis.statistics.estimates import Decision, Finding, Reach, Sample
from analysis.statistics.intervals import at_floor, logit_accuracy
from analysis.statistics.sample_tests import (
    contrast,
    end_to_end_by_seed,
    exceeds_somewhere,
    falls_from_peak,
    flat,
    larger_in_size,
    no_difference,
    no_fall,
    no_gain,
    trend,
)
from analysis.statistics.thresholds import ROBUST_DELTA, UNRELATED_TAU
from benchmarks.calibration.worlds import ACCURACY, IMAGES, LAMBDA_NOISE, SIZES, Floats, Noise

STRATA = 6
"""Networks of one simulated claim, each with curves of its own."""

Random = np.random.Generator


# Curves


def curves(rng: Random, means: Floats, noise: Noise, seeds: int, *, images: int = IMAGES) -> list[Curve]:
    """A curve for each row of `means` (shape (curves, sizes), percent): seed noise, then the sampling of `images`.

    Cells at the attack's floor are flagged as `analysis.tables.cells` does. `images` 0: a measure without images.
    """
    values = means[..., None] + noise.draw(rng, means.shape, seeds)
    linear, flagged = values, np.zeros(means.shape, dtype=bool)
    if images:
        correct = rng.binomial(images, np.clip(values / 100, 0, 1))
        values, linear = 100 * correct / images, logit_accuracy(correct, images)
        flagged = at_floor(correct.sum(axis=2), images * correct.shape[2])
    run, finite = noise.runs(rng, means.shape, values.shape[2])
    values, linear = (np.where(finite, numbers, np.nan) for numbers in (values, linear))
    seed = np.broadcast_to(np.arange(values.shape[2]), values.shape)
    batch = np.broadcast_to(SIZES[:, None], values.shape[1:])
    rounding = 100 / images if images else 0.0
    flags = np.where(flagged, "floor", "").astype(object)
    found = []
    for k, kept in enumerate(run):
        sample = Sample.of(
            batch[kept], seed[k][kept], values[k][kept], linear[k][kept], percent=images > 0, rounding=rounding
        )
        found.append(Curve({}, FGSM, sample, np.broadcast_to(flags[k][:, None], kept.shape)[kept]))
    return found


# Cases: a test, what is planted, and the verdict that would be wrong


@dataclass(frozen=True)
class Case:
    """A test of a claim on planted curves.

    Attributes:
        claim, planted: what is claimed and what is true, in words.
        verdict: the verdict that is counted: here one that contradicts the truth.
        decide: the test, of as many curves as there are `arms`.
        arms: the planted means of each curve, shape (sizes,), in percent.
        falls: as `analysis.claims.claim_tests.ClaimTest.falls`.
        curvature: the first arm is log2 lambda1, which has no images.
        printed: the curve is compared with one printed number at each size, of one run with the same noise.
        noise: instead of that of the worlds, where the case is about small accuracies.
    """

    claim: str
    planted: str
    verdict: Decision
    decide: Decide
    arms: tuple[Floats, ...]
    falls: bool = False
    curvature: bool = False
    printed: bool = False
    noise: Noise | None = None


def findings(case: Case, noise: Noise, seeds: int, networks: int, rng: Random) -> list[Finding]:
    """What the test says of each of so many simulated networks."""
    noise = case.noise or noise
    arms = [
        curves(rng, np.tile(mean, (networks, 1)), LAMBDA_NOISE, seeds, images=0)
        if case.curvature and place == 0
        else curves(rng, np.tile(mean, (networks, 1)), noise, seeds)
        for place, mean in enumerate(case.arms)
    ]
    if case.printed:
        arms = [[_less_printed(curve, noise, rng) for curve in arms[0]]]
    return [on_sound_cells(case.decide, *arm, falls=case.falls) for arm in zip(*arms, strict=True)]


def reached(case: Case, noise: Noise, seeds: int, networks: int, rng: Random) -> int:
    """For how many of so many networks the verdict is reached."""
    return sum(one.verdict == case.verdict for one in findings(case, noise, seeds, networks, rng))


def _less_printed(curve: Curve, noise: Noise, rng: Random) -> Curve:
    """The curve less one run of the same kind (of mean 40 %), which is not the seed that is off."""
    one = curves(rng, LEVEL[None, :], replace(noise, outlier=0.0, more=(1,), lost=False), 1)[0].sample.value
    place = np.searchsorted(SIZES, curve.sample.batch_size)
    sample = curve.sample
    return Curve({}, FGSM, Sample.of(sample.batch_size, sample.seed, sample.value - one[place]), curve.flag)


ONE_NETWORK = "one network"

RULES: Mapping[Decision, Mapping[str, tuple[Rule, int]]] = {
    "supported": {"one of 6 networks suffices": (existential, STRATA), "most of 4 settings": (most, 4)},
    "refuted": {"every one of 6 networks": (universal, STRATA), "most of 4 settings": (most, 4)},
}
"""Verdict -> the rules that could add up errors on single networks to it, and of how many networks each is."""


def rates(case: Case, noise: Noise, seeds: int, studies: int, rng: Random) -> dict[str, tuple[int, int]]:
    """Rule -> for how many of how many claims (of `STRATA` networks each, or one) the verdict is reached."""
    found = findings(case, noise, seeds, studies * STRATA, rng)
    hits = {ONE_NETWORK: (sum(one.verdict == case.verdict for one in found), len(found))}
    for name, (rule, networks) in RULES[case.verdict].items():
        claims = (found[start : start + networks] for start in range(0, len(found), STRATA))
        hits[name] = sum(_rule_reaches(rule, claim, case.verdict) for claim in claims), studies
    return hits


def _rule_reaches(rule: Rule, claim: list[Finding], verdict: Decision) -> bool:
    if all(one.verdict != verdict for one in claim):
        return False  # no rule makes a verdict that no stratum has
    together = [Stratum.of(one, dataset=f"network {k}", unit="points") for k, one in enumerate(claim)]
    return rule(together).verdict == verdict


LEVEL = np.full(len(SIZES), ACCURACY)
ALONG = np.linspace(0.0, 1.0, len(SIZES))
LAST = np.eye(len(SIZES))[-1]
DELTA = ROBUST_DELTA
BEND = np.array([0.0, -4, -8, -10, -8, -6, -4])
PEAK = np.array([-2.0, -1, 0, -0.75, -1.5, -2.25, -3])
INTO_FLOOR = np.array([6.5, 6.4, 6.2, 6.0, 5.8, 0.3, 0.2])
NEAR_FLOOR = np.array([2.9, 2.6, 2.3, 2.0, 1.7, 1.4, 1.2])
BELOW_DELTA = np.full(len(SIZES), 2.9)
RISE = np.array([0.0, 2, 4, 6, 8, 10, 10])
AT_FLOOR = np.full(len(SIZES), 0.3)
QUIET = Noise(0.2)
SHARPER = np.arange(len(SIZES), dtype=float)
SHUFFLED = 3.0 * np.array([5, 0, 6, 4, 3, 2, 1])
"""Points: 6 of 21 pairs in the order of the batch sizes, tau = -.43."""
UNORDERED = 3.0 * np.array([5, 0, 4, 2, 1, 6, 3])
"""11 of 21 pairs, tau = +.05."""
FOUR = 3.0 * np.array([0, 0, 2, 3, 0, 1, 0])
"""2 of 6 pairs of the sizes 64 to 512, those of CR in Yao et al.: tau = -.33."""


def _paired(decide: Callable[..., Finding], **settings: object) -> Decide:
    return paired(partial(decide, delta=DELTA, **settings))


def _at(sizes: tuple[int, ...], decide: Decide) -> Decide:
    """The test at these batch sizes alone."""
    return lambda *samples: decide(*(one.where(np.isin(one.batch_size, sizes)) for one in samples))


_FALLS = partial(trend, claimed=-1, delta=DELTA)
_FLAT = partial(flat, delta=DELTA)
_NO_FALL = partial(no_fall, delta=DELTA)
_MORE = _paired(contrast, claimed=1)
_SAME = _paired(no_difference)
_NO_GAIN = _paired(no_gain, claimed=1)
_STRONGER = _paired(larger_in_size)
_STEEPER = partial(larger_in_size, delta=DELTA, effects=end_to_end_by_seed)
_PRINTED = partial(no_difference, delta=DELTA, new=True)
_UNRELATED = partial(unrelated, delta=UNRELATED_TAU)
_BOTH_FALL = _at((32, 512), partial(fall_together, delta=0.0))

NOISES: dict[str, Noise] = {
    "independent seeds, noise 1.5 points": Noise(),
    "noise 3 points": Noise(3.0),
    "a seed's cells correlated by .3": Noise(shared=0.3),
    "a seed's cells correlated by .6": Noise(shared=0.6),
    "one seed off by 6 points": Noise(outlier=6.0),
    "heavy tails (Student's t, 3 dof)": Noise(tails=3.0),
    "noise .5 to 4.5 points along the batch": Noise(np.array([0.5, 0.5, 1.0, 1.5, 2.0, 3.0, 4.5])),
    "noise .5, 5 at the largest batch": Noise(np.array([0.5] * 6 + [5.0])),
    "1 to 4 times the seeds, by batch": Noise(more=(1, 1, 2, 1, 4, 2, 1)),
    "one run of each cell diverged": Noise(lost=True),
}
"""The worlds."""

CASES = (
    Case("falls", "flat", "supported", _FALLS, (LEVEL,), falls=True),
    Case("falls", "a U that ends 4 lower", "supported", _FALLS, (LEVEL + BEND,), falls=True),
    Case("falls", "falls by delta", "refuted", _FALLS, (LEVEL - DELTA * ALONG,), falls=True),
    Case("falls from its best", "flat", "supported", partial(falls_from_peak, delta=DELTA), (LEVEL,), falls=True),
    Case(
        "falls from its best", "falls by delta from batch 64 on", "refuted",
        partial(falls_from_peak, delta=DELTA), (LEVEL + PEAK,), falls=True,
    ),
    Case("flat", "a step of delta at the largest size", "supported", _FLAT, (LEVEL + DELTA * LAST,)),
    Case("flat", "flat", "refuted", _FLAT, (LEVEL,)),
    Case("falls nowhere", "a fall by delta at the largest size", "supported", _NO_FALL, (LEVEL - DELTA * LAST,)),
    Case("falls nowhere", "rises, then falls by delta", "supported", _NO_FALL, (LEVEL + RISE - DELTA * LAST,)),
    Case("falls nowhere", "flat", "refuted", _NO_FALL, (LEVEL,)),
    Case("higher at equal batch", "no difference", "supported", _MORE, (LEVEL, LEVEL)),
    Case("higher at equal batch", "higher by delta", "refuted", _MORE, (LEVEL, LEVEL + DELTA)),
    Case("the same at every batch", "delta at one size", "supported", _SAME, (LEVEL, LEVEL + DELTA * LAST)),
    Case("the same at every batch", "no difference", "refuted", _SAME, (LEVEL, LEVEL)),
    Case("gains nothing", "gains delta", "supported", _NO_GAIN, (LEVEL, LEVEL + DELTA)),
    Case("gains nothing", "no difference", "refuted", _NO_GAIN, (LEVEL, LEVEL)),
    Case("effect is larger", "two effects of 5", "supported", _STRONGER, (LEVEL, LEVEL + 5, LEVEL, LEVEL + 5)),
    Case("effect is larger", "8 and 5", "refuted", _STRONGER, (LEVEL, LEVEL + 8, LEVEL, LEVEL + 5)),
    Case("effect is larger", "3 and 0", "refuted", _STRONGER, (LEVEL, LEVEL + DELTA, LEVEL, LEVEL)),
    Case("changes more along the batch", "two falls of 5", "supported", _STEEPER, (LEVEL - 5 * ALONG,) * 2),
    Case(
        "changes more along the batch", "falls of 8 and 5", "refuted",
        _STEEPER, (LEVEL - 8 * ALONG, LEVEL - 5 * ALONG),
    ),
    Case("changes more along the batch", "falls of 3 and 0", "refuted", _STEEPER, (LEVEL - DELTA * ALONG, LEVEL)),
    Case(
        "more right on the published loss", "no difference", "supported",
        paired(partial(exceeds_somewhere, delta=DELTA)), (LEVEL, LEVEL),
    ),
    Case("opposes lambda1", "lambda1 rises, flat", "supported", opposed, (SHARPER, LEVEL), curvature=True),
    Case("opposes lambda1", "lambda1 rises, flat", "refuted", opposed, (SHARPER, LEVEL), curvature=True),
    Case("does not follow lambda1", "lambda1 rises, flat", "refuted", _UNRELATED, (SHARPER, LEVEL), curvature=True),
    Case("does not follow lambda1", "tau -.43", "supported", _UNRELATED, (SHARPER, LEVEL + SHUFFLED), curvature=True),
    Case(
        "does not follow lambda1, four sizes", "tau -.33", "supported",
        _at((64, 128, 256, 512), partial(_UNRELATED, reach=Reach(4, 8.0))), (SHARPER, LEVEL + FOUR), curvature=True,
    ),
    Case(
        "both fall, a pair of sizes", "lambda1 falls, flat", "supported", _BOTH_FALL, (-SHARPER, LEVEL), curvature=True
    ),
    Case(
        "both fall, a pair of sizes", "both fall, by delta", "refuted",
        _BOTH_FALL, (-SHARPER, LEVEL - DELTA * ALONG), curvature=True,
    ),
    Case("equals a printed number", "one run of the same kind", "refuted", _PRINTED, (LEVEL,), printed=True),
)  # fmt: skip

FLOOR_CASES = (
    Case("falls", "6.5 to 5.8, then .3 and .2 %", "refuted", _FALLS, (INTO_FLOOR,), falls=True, noise=QUIET),
    Case("falls", "2.9 to 1.2 %", "refuted", _FALLS, (NEAR_FLOOR,), falls=True, noise=QUIET),
    Case(
        "falls from its best", "2.9 to 1.2 %", "refuted",
        partial(falls_from_peak, delta=DELTA), (NEAR_FLOOR,), falls=True, noise=QUIET,
    ),
    Case("flat", "2.9 to 1.2 %", "supported", _FLAT, (NEAR_FLOOR,), noise=QUIET),
    Case("falls nowhere", "2.9 to 1.2 %", "supported", _NO_FALL, (NEAR_FLOOR,), noise=QUIET),
    Case("higher at equal batch", "2.9 % on both", "refuted", _MORE, (BELOW_DELTA,) * 2, noise=QUIET),
    Case("the same at every batch", "2.9 % on both", "supported", _SAME, (BELOW_DELTA,) * 2, noise=QUIET),
    Case("gains nothing", "2.9 % on both", "supported", _NO_GAIN, (BELOW_DELTA,) * 2, noise=QUIET),
    Case("effect is larger", "2.9 % on all four", "refuted", _STRONGER, (BELOW_DELTA,) * 4, noise=QUIET),
    Case("changes more along the batch", "2.9 to 1.2 % on both", "refuted", _STEEPER, (NEAR_FLOOR,) * 2, noise=QUIET),
    Case("falls", ".3 % everywhere", "refuted", _FALLS, (AT_FLOOR,), falls=True, noise=Noise(0.05)),
    Case("flat", ".3 % everywhere", "supported", _FLAT, (AT_FLOOR,), noise=Noise(0.05)),
    Case("higher at equal batch", ".3 % on both", "refuted", _MORE, (AT_FLOOR, AT_FLOOR), noise=Noise(0.05)),
)  # fmt: skip
"""Where accuracies are so small that an attack cannot tell: neither verdict follows."""


# The association of curvature and accuracy over seeds


def false_association(noise: Noise, seeds: int, studies: int, rng: Random) -> int:
    """In how many studies unrelated lambda1 and accuracy of a curve are correlated over its seeds, by p <= .05."""
    hits = 0
    shape = (studies, len(SIZES))
    x, y = (noise.draw(rng, shape, seeds) for _ in range(2))
    cell, seed = (codes.ravel() for codes in np.indices((len(SIZES), seeds)))
    for one, other in zip(x, y, strict=True):
        residuals = (mean_residuals(values.ravel(), cell, seed) for values in (one, other))
        hits += over_seeds(*residuals).p <= 0.05
    return hits
