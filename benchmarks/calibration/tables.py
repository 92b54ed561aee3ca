"""The tables of docs/calibration_tables.md, line by line as Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import product
from typing import NamedTuple

import numpy as np

from analysis.statistics.intervals import clopper_pearson
from analysis.statistics.thresholds import LOOKS, MIN_SEEDS_TO_PERMUTE
from benchmarks.calibration import coverage as c
from benchmarks.calibration import sequential as again
from benchmarks.calibration.power import PLANTED, true_find
from benchmarks.calibration.verdicts import (
    CASES,
    FLOOR_CASES,
    NOISES,
    ONE_NETWORK,
    false_association,
    rates,
    reached,
)
from benchmarks.calibration.worlds import (
    Floats,
    Noise,
    World,
    confirmed,
    exception_world,
    families_with,
    flat_curvature_world,
    flat_world,
    unadjusted,
)

ERRORS = (3, 5, 12)
MIDDLE = np.array([0.5] * 3 + [5.0] + [0.5] * 3)
HALF_MIDDLE = np.array([0.5] * 3 + [2.5] + [0.5] * 3)
TWO_GROUPS = np.array([1.0] * 5 + [4.0] * 2)

FLAT_WORLDS: dict[str, tuple[World, int]] = {
    **{f"lambda1 rises; {name}": (flat_world(noise), 500) for name, noise in NOISES.items()},
    "... eight batch sizes (112 pairs)": (flat_world(sizes=8), 500),
    "... FGSM and PGD on the same networks (168 pairs)": (flat_world(attacks=2), 500),
    "... noise 1 point, 4 at the two largest sizes": (flat_world(Noise(TWO_GROUPS)), 500),
    "... noise .5 points, 5 at the middle size": (flat_world(Noise(MIDDLE)), 2000),
    "... noise .5 points, 2.5 at the middle size": (flat_world(Noise(HALF_MIDDLE)), 2000),
    "... noise .5 points, 5 at the middle size, twelve curves (252 pairs)": (
        flat_world(Noise(MIDDLE), curves=12),
        2000,
    ),
    "lambda1 flat too": (flat_world(rising=False), 500),
    "lambda1 flat, its noise .1 and 1 at the middle size; accuracy rises": (
        flat_curvature_world(Noise(0.2 * MIDDLE)),
        2000,
    ),
}
"""Worlds without a counterexample, since accuracy or lambda1 does not depend on batch size, and how many families of
each are simulated.
"""


def rng(*name: object) -> np.random.Generator:
    """A generator for one line of a table, whatever lines come before it."""
    return np.random.default_rng([ord(letter) for letter in repr(name)])


def rate(hits: int, n: int) -> str:
    """A rate in percent with its binomial standard error."""
    share = hits / n
    return f"{100 * share:.1f} ± {100 * np.sqrt(max(share * (1 - share), 1 / n) / n):.1f}"


def verdicts(scale: float) -> Iterator[str]:
    """Wrong verdicts, claim by claim: the highest rate of each."""
    studies = max(round(100 * scale), 5)
    highest: dict[tuple[str, ...], dict[bool, Highest]] = {}
    for case, (world, noise) in [*product(CASES, NOISES.items()), *((case, FLOOR) for case in FLOOR_CASES)]:
        found = [rates(case, noise, k, studies, rng("verdict", case.claim, case.planted, world, k)) for k in ERRORS]
        name: tuple[str, ...] = (case.claim, case.planted, case.verdict)
        for rule in found[0]:
            n = found[0][rule][1]
            single = rule == ONE_NETWORK
            where = world if single else f"{rule}; {world}"
            here = max(Highest(one[rule][0], n, f"{where}, {k} seeds") for one, k in zip(found, ERRORS, strict=True))
            so_far = highest.setdefault(name, {})
            so_far[single] = max(here, so_far.get(single, here), key=lambda one: one.hits)
    yield "| claim | truth | wrong verdict | one network (%) | scenario | six networks (%) | rule and scenario |"
    yield "|---|---|---|---|---|---|---|"
    for name, worst in highest.items():
        yield f"| {' | '.join(name)} | {worst[True]} | {worst[False]} |"
    enough = tuple(k for k in LOOKS if k > MIN_SEEDS_TO_PERMUTE)
    yield f"\n| unrelated over seeds, p <= .05 (%) | {_seeds(enough)} | n |"
    yield f"|---|{'---|' * len(enough)}---|"
    n = max(round(1000 * scale), 20)
    for world, noise in NOISES.items():
        if noise.more == (1,) and not noise.lost:
            falsely = [rate(false_association(noise, k, n, rng("association", world, k)), n) for k in enough]
            yield f"| {world} | {' | '.join(falsely)} | {n} |"


AGAIN = (
    "independent seeds, noise 1.5 points",
    "a seed's cells correlated by .6",
    "heavy tails (Student's t, 3 dof)",
    "noise .5 to 4.5 points along the batch",
    "noise .5, 5 at the largest batch",
)
"""The worlds of `NOISES` in which looks are taken again."""

PAIRS_AGAIN = (
    "lambda1 rises; independent seeds, noise 1.5 points",
    "lambda1 rises; a seed's cells correlated by .6",
    "... noise 1 point, 4 at the two largest sizes",
    "... noise .5 points, 2.5 at the middle size",
    "lambda1 flat too",
)


def sequential(scale: float) -> Iterator[str]:
    """Errors over four stages."""
    n = max(round(400 * scale), 20)
    yield "Wrong in any of the stages of 3, 5, 8 and 12 seeds, in percent: with sequential p-values (95 % interval), in"
    yield "the scenario with the highest rate, and there by each stage's own p-value.\n"
    yield "| test | truth | wrong verdict | sequential | unadjusted | scenario | n |"
    yield "|---|---|---|---|---|---|---|"
    for case in CASES:
        found = {
            world: again.verdict_errors(case, NOISES[world], n, rng("again", case.claim, case.planted, world))
            for world in AGAIN
            if not case.printed
        }
        if found:
            world, worst = max(found.items(), key=lambda item: (item[1].sequential, item[1].naive))
            yield f"| {case.claim} | {case.planted} | {case.verdict} | {_errors(worst)} | {world} | {worst.n} |"
    for world in PAIRS_AGAIN:
        errors = again.pair_errors(FLAT_WORLDS[world][0], max(round(250 * scale), 20), rng("pairs again", world))
        yield f"| counterexamples | none | confirmed | {_errors(errors)} | {world} | {errors.n} |"


def _errors(errors: again.Errors) -> str:
    return f"{_interval(errors.sequential, errors.n)} | {100 * errors.naive / errors.n:.1f}"


def _interval(hits: int, n: int) -> str:
    """A rate in percent with its 95 % interval."""
    low, high = clopper_pearson(hits, n)
    return f"{100 * hits / n:.1f} ({100 * low:.1f} to {100 * high:.1f})"


class Highest(NamedTuple):
    """The highest of several rates, and where it was found."""

    hits: int
    n: int
    where: str

    def __str__(self) -> str:
        return f"{_interval(self.hits, self.n)} | {self.where if self.hits else 'in none'}"


FLOOR = ("near the floor, noise .2 points or less", Noise())


def _seeds(counts: tuple[int, ...]) -> str:
    return " | ".join(f"{count} seeds" for count in counts)


def counterexamples(scale: float) -> Iterator[str]:
    """Families of tests with at least one confirmed counterexample where there is none."""
    events = {"unadjusted": unadjusted, "confirmed": confirmed}
    yield "Families with a confirmed pair, in percent (95 % interval); in square brackets those with a pair of p <= .05"
    yield "by itself.\n"
    yield f"| scenario | families | {_seeds(LOOKS)} |"
    yield f"|---|---|{'---|' * len(LOOKS)}"
    for name, (world, full) in FLAT_WORLDS.items():
        n = max(round(full * scale), 20)
        found = [families_with(events, world, n, seeds, rng("flat", name, seeds)) for seeds in LOOKS]
        shares = (f"{_interval(hits['confirmed'], n)} [{100 * hits['unadjusted'] / n:.0f}]" for hits in found)
        yield f"| {name} | {n} | {' | '.join(shares)} |"


SPREADS: dict[str, float | Floats] = {
    "noise 1.5": c.NOISE,
    "noise .5 to 4.5": c.UNEQUAL,
    "noise .5, 5 at the largest size": c.OUTLIER,
}


def coverage(scale: float) -> Iterator[str]:
    """How often intervals contain the truth."""
    lines: dict[tuple[str, str, int, int], list[str]] = {}
    for name, world, nominal, found in _covered(scale):
        size, _, rest = world.partition(", ")
        lines.setdefault((name, rest, nominal, found.n), []).append(f"{size}: {rate(*found)}")
    yield "| interval | scenario | nominal (%) | covered (%) | n |"
    yield "|---|---|---|---|---|"
    for (name, rest, nominal, n), by_size in lines.items():
        yield f"| {name} | {rest} | {nominal} | {'; '.join(by_size)} | {n} |"


def _covered(scale: float) -> Iterator[tuple[str, str, int, c.Held]]:
    """Interval, world, nominal coverage in percent and what was found."""
    n = max(round(1000 * scale), 20)
    for seeds, (noisy, noise) in product(LOOKS, SPREADS.items()):
        world = f"{seeds} seeds, {noisy}"
        line, change = c.both(partial(c.slope, seeds=seeds, noise=noise), n, rng("slope", world))
        yield "trend, slope per doubling (logit)", world, 95, line
        yield "trend, end-to-end change", world, 95, change
    for seeds, (noisy, noise) in product(LOOKS, SPREADS.items()):
        world = f"{seeds} seeds, {noisy}"
        along, _ = c.both(partial(c.paired, seeds=seeds, noise=noise), n, rng("paired", world))
        yield "paired difference over batch sizes", world, 95, along
        ninety = c.count(partial(c.pairwise_ninety, seeds=seeds, noise=noise), n, rng("90", world))
        yield "TOST, one difference", world, 90, ninety
    for seeds in LOOKS:
        world = f"{seeds} seeds"
        _, at_one = c.both(partial(c.paired, seeds=seeds), n, rng("paired", seeds))
        yield "paired difference by seed", world, 95, at_one
        images = c.count(partial(c.seeds_accuracy, seeds=seeds), n, rng("images", seeds))
        yield "Clopper-Pearson of all seeds' images, as if it were over seeds", world, 95, images
    for seeds, slope in product(LOOKS, (0.0, 0.5, -0.5)):
        world = f"{seeds} seeds, accuracy {slope:+g} noise units a doubling"
        found = c.sign_error_interval(rng("sign", world), seeds=seeds, slope=slope, environments=n)
        yield "sign-error of an environment", world, 95, found
    for seeds in LOOKS:
        found = c.sign_error_interval(rng("bend", seeds), seeds=seeds, slope=0.0, environments=n, shared=2.0)
        yield "sign-error, as if it were over curves", f"{seeds} seeds, curves bend by 2 noise units", 95, found
    for strata, tau2 in product((3, 6, 12, 20), (0.0, 0.1, 0.5)):
        world = f"{strata} strata, tau2 {tau2:g}"
        mean, new = c.both(partial(c.forest, strata=strata, tau2=tau2), n, rng("forest", world))
        yield "forest, mean", world, 95, mean
        yield "forest, prediction", world, 95, new
    for strata, tau in product((4, 12, 30), (0.0, -0.5, -0.8)):
        world = f"{strata} curves of 7 sizes, tau {tau:g}"
        mean = c.count(partial(c.forest_of_taus, strata=strata, tau=tau), n // 4, rng("taus", world))
        yield "forest of taus, mean", world, 95, mean
    for sizes, tau in product((5, 7, 8), (0.0, -0.5, -0.8)):
        world = f"{sizes} sizes, tau {tau:g}"
        found = c.count(partial(c.kendall, tau=tau, sizes=sizes), n, rng("k", world))
        yield "Kendall's tau of a curve", world, 95, found
    pearson, within = c.both(c.correlation, n, rng("correlation"))
    yield "Pearson", "21 points, rho -.5", 95, pearson
    yield "repeated-measures correlation", "4 curves of 21 runs, rho -.5", 95, within


def power(scale: float) -> Iterator[str]:
    """How often planted effects are found, in percent."""
    yield f"| claim | truth | seed noise (points) | {_seeds(LOOKS)} | n |"
    yield f"|---|---|---|{'---|' * len(LOOKS)}---|"
    n = max(round(500 * scale), 20)
    for case, noise in PLANTED:
        hits = [reached(case, Noise(noise), k, n, rng("power", case.claim, case.planted, noise, k)) for k in LOOKS]
        yield _line(case.claim, case.planted, noise, hits, n)
    for gap, ratio, noise in product((1.0, 2.0, 4.0), (1.5, 2.0), (0.5, 1.5)):
        planted = f"gap {gap:g}, lambda1 x{ratio:g}"
        world = exception_world(gap=gap, ratio=ratio, noise=Noise(noise))
        hits = [families_with({"true": true_find}, world, n, k, rng("power", planted, noise, k))["true"] for k in LOOKS]
        yield _line("confirmed counterexample", planted, noise, hits, n)


def _line(test: str, planted: str, noise: float, hits: list[int], n: int) -> str:
    return f"| {test} | {planted} | {noise:g} | {' | '.join(rate(k, n) for k in hits)} | {n} |"
