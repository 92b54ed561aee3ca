"""The tables of docs/calibration.md, line by line as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import product

import numpy as np

from analysis.statistics.intervals import clopper_pearson
from benchmarks.calibration import coverage as c
from benchmarks.calibration import power as p
from benchmarks.calibration.worlds import (
    Floats,
    World,
    adjusted,
    confirmed,
    families_with,
    flat_curvature_world,
    flat_world,
    unadjusted,
)

SEEDS = (3, 5, 8)
UNEQUAL = np.linspace(0.005, 0.045, 7)
TWO_GROUPS = np.array([0.01] * 5 + [0.04] * 2)
OUTLIER = c.OUTLIER / 100
MIDDLE = np.array([0.005] * 3 + [0.05] + [0.005] * 3)
HALF_MIDDLE = np.array([0.005] * 3 + [0.025] + [0.005] * 3)

NOISES: dict[str, float | Floats] = {
    "noise 1.5": c.NOISE,
    "noise .5 to 4.5": c.UNEQUAL,
    "noise .5, 5 at the largest size": c.OUTLIER,
}

FLAT_WORLDS: dict[str, tuple[World, int]] = {
    "lambda1 rises, noise 1.5 points": (flat_world(), 4000),
    "... eight batch sizes (112 pairs)": (flat_world(sizes=8), 1000),
    "... FGSM and PGD on the same networks (168 pairs)": (flat_world(attacks=2), 1000),
    "... heavy tails (Student's t, 3 dof)": (flat_world(tails=3.0), 1000),
    "... noise .5 to 4.5 points along the batch size": (flat_world(noise=UNEQUAL), 2000),
    "... noise 1 point, 4 at the two largest sizes": (flat_world(noise=TWO_GROUPS), 2000),
    "... noise .5 points, 5 at the largest size": (flat_world(noise=OUTLIER), 2000),
    "... noise .5 points, 5 at the middle size": (flat_world(noise=MIDDLE), 4000),
    "... noise .5 points, 2.5 at the middle size": (flat_world(noise=HALF_MIDDLE), 10_000),
    "... noise .5 points, 5 at the middle size, twelve curves (252 pairs)": (
        flat_world(noise=MIDDLE, curves=12),
        4000,
    ),
    "lambda1 flat too": (flat_world(rising=False), 1000),
    "lambda1 flat, its noise .1 and 1 at the middle size; accuracy rises": (flat_curvature_world(20 * MIDDLE), 4000),
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


def false_finds(scale: float) -> Iterator[str]:
    """Families of tests with at least one confirmed counterexample where there is none."""
    events = {"unadjusted": unadjusted, "adjusted": adjusted, "confirmed": confirmed}
    yield "| world | seeds | families | p <= .05 | q <= .05 | confirmed | 95 % interval |"
    yield "|---|---|---|---|---|---|---|"
    for name, (world, full) in FLAT_WORLDS.items():
        for seeds in SEEDS:
            n = max(round(full * scale), 20)
            hits = families_with(events, world, n, seeds, rng("flat", name, seeds))
            low, high = clopper_pearson(hits["confirmed"], n)
            shares = " | ".join(f"{100 * hits[event] / n:.1f} %" for event in events)
            yield f"| {name} | {seeds} | {n} | {shares} | {100 * low:.1f} to {100 * high:.1f} % |"


def coverage(scale: float) -> Iterator[str]:
    """How often intervals contain the truth."""
    yield "| interval | world | nominal | held (%) | n |"
    yield "|---|---|---|---|---|"
    for name, world, nominal, found in _covered(scale):
        yield f"| {name} | {world} | {nominal} % | {rate(*found)} | {found.n} |"
    yield "\n| interval of a proportion (exact) | n | least | mean |"
    yield "|---|---|---|---|"
    shares = np.linspace(0.02, 0.98, 97)
    for (name, interval), n in product(c.PROPORTIONS.items(), (6, 12, 30)):
        held = 100 * c.proportion(interval, n, shares)
        yield f"| {name} | {n} | {held.min():.1f} % | {held.mean():.1f} % |"


def _covered(scale: float) -> Iterator[tuple[str, str, int, c.Held]]:
    """Interval, world, nominal coverage in percent and what was found."""
    n = max(round(2000 * scale), 20)
    for seeds, (noisy, noise) in product(SEEDS, NOISES.items()):
        world = f"{seeds} seeds, {noisy}"
        line, change = c.both(partial(c.slope, seeds=seeds, noise=noise), n // 2, rng("slope", world))
        yield "trend, slope per doubling (logit)", world, 95, line
        yield "trend, end-to-end change", world, 95, change
    for seeds, (noisy, noise) in product(SEEDS, NOISES.items()):
        world = f"{seeds} seeds, {noisy}"
        along, _ = c.both(partial(c.paired, seeds=seeds, noise=noise), n, rng("paired", world))
        yield "paired difference over batch sizes", world, 95, along
        ninety = c.count(partial(c.pairwise_ninety, seeds=seeds, noise=noise), n, rng("90", world))
        yield "TOST, one difference", world, 90, ninety
        flat, same = c.both(partial(c.steps, seeds=seeds, noise=noise / 5), n // 2, rng("steps", world))
        yield "TOST, a step of delta is not called flat", f"{world}, a fifth of it", 95, flat
        yield "TOST, a difference of delta at one size is not called none", f"{world}, a fifth of it", 95, same
    for seeds in SEEDS:
        world = f"{seeds} seeds"
        _, at_one = c.both(partial(c.paired, seeds=seeds), n, rng("paired", seeds))
        yield "paired difference by seed", world, 95, at_one
        largest = c.count(partial(c.largest_difference, seeds=seeds), n // 10, rng("tost", seeds))
        yield "TOST, the largest of 21 differences", f"{world}, flat", 90, largest
        ratio = c.count(partial(c.attack_ratio, seeds=seeds), n, rng("r", seeds))
        yield "attack ratio, mean over seeds", world, 95, ratio
        images = c.count(partial(c.seeds_accuracy, seeds=seeds), n, rng("images", seeds))
        yield "Clopper-Pearson of all seeds' images, as if it were over seeds", world, 95, images
    for seeds, slope in product(SEEDS, (0.0, 0.5, -0.5)):
        world = f"{seeds} seeds, accuracy {slope:+g} noise units a doubling"
        found = c.sign_error_interval(rng("sign", world), seeds=seeds, slope=slope, environments=n)
        yield "sign-error of an environment", world, 95, found
    for seeds in SEEDS:
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
    """How often planted effects are found, in percent, at 3, 5 and 8 seeds."""
    yield "| test | planted | seed noise (points) | 3 seeds | 5 seeds | 8 seeds | n |"
    yield "|---|---|---|---|---|---|---|"

    def found(test: Callable[..., bool], name: str, planted: str, effect: float, noise: float, full: int) -> str:
        n = max(round(full * scale), 20)
        hits = [
            c.count(partial(test, effect=effect, noise=noise, seeds=seeds), n, rng(name, effect, noise, seeds)).hits
            for seeds in SEEDS
        ]
        return _line(name, planted, noise, hits, n)

    for effect, noise in product((3.0, 5.0, 10.0), (0.5, 1.5, 3.0)):
        yield found(p.finds_trend, "trend", f"falls by {effect:g} points", effect, noise, 1000)
    for effect, noise in product((0.0, 1.5), (0.5, 1.0, 1.5, 3.0)):
        yield found(p.finds_flat, "flat within 3 points", f"changes by {effect:g} points", effect, noise, 200)
    for noise in (0.5, 1.0, 1.5, 3.0):
        yield found(p.finds_none, "no difference within 3 points", "differ by 0 points", 0.0, noise, 200)
    n = max(round(500 * scale), 20)
    for gap, ratio, noise in product((0.01, 0.02, 0.04), (1.5, 2.0), (0.005, 0.015)):
        planted = f"gap {100 * gap:g} points, lambda1 x{ratio:g}"
        world = p.exception_world(gap=gap, ratio=ratio, noise=noise)
        hits = [
            families_with({"true": p.true_find}, world, n, seeds, rng("power", planted, noise, seeds))["true"]
            for seeds in SEEDS
        ]
        yield _line("confirmed counterexample", planted, 100 * noise, hits, n)


def _line(test: str, planted: str, noise: float, hits: list[int], n: int) -> str:
    return f"| {test} | {planted} | {noise:g} | {' | '.join(rate(k, n) for k in hits)} | {n} |"
