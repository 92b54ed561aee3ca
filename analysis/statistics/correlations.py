"""Kendall's tau (exact, by group, granulated), Spearman, partial ranks, Pearson, repeated measures; the sign-error."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache
from itertools import permutations
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

from analysis.statistics.groups import Codes, group_codes, pairs_within
from analysis.statistics.intervals import TAIL, Array, fisher_z_interval
from analysis.statistics.thresholds import CHANCE_SIGN_ERROR, MIN_SEEDS_TO_PERMUTE

EXACT_WITH_TIES = 8
"""Up to this many points a tied sample's permutations are enumerated (8! = 40,320); beyond it p is
asymptotic.
"""

EXACT_UNTIED = 50
"""Up to this many points without ties p comes from the exact distribution of inversions."""


class Correlation(NamedTuple):
    """A correlation with its two-sided p value and 95 % interval; NaN where the sample cannot give one."""

    estimate: float
    p: float
    low: float
    high: float
    n: int


class SignError(NamedTuple):
    """Per environment (in ascending order) the fraction of its `pairs` that are ordered wrongly."""

    errors: Array
    pairs: Codes


class MeanSignError(NamedTuple):
    """Per environment the mean sign-error over its replicates (`mean_sign_error`), of so many pairs and replicates."""

    estimate: Array
    low: Array
    high: Array
    p: Array
    pairs: Codes
    replicates: Codes


class GroupedTau(NamedTuple):
    """Kendall's tau-b per group; `score`: concordant - discordant pairs, `untied`: no tie in x or y."""

    tau: Array
    score: Codes
    n: Codes
    untied: NDArray[np.bool_]


def kendall_tau_b(x: ArrayLike, y: ArrayLike) -> Correlation:
    """Kendall's tau-b with an exact permutation p value for small samples.

    Exact without ties up to 50 points, with ties up to 8; asymptotic (scipy) beyond. p is the two-sided
    chance of a score at least as far from 0. NaN in, or a constant sample: NaN out. The interval is
    Fisher's z (`intervals.fisher_z_interval`, kind "kendall").
    """
    a, b = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    n = a.size
    if n < 2 or not (np.isfinite(a).all() and np.isfinite(b).all()):
        return Correlation(np.nan, np.nan, np.nan, np.nan, n)
    if n > EXACT_UNTIED:
        result = stats.kendalltau(a, b, method="asymptotic")
        tau, p = float(result.statistic), float(result.pvalue)
    else:
        grouped = kendall_by_group(a, b, np.zeros(n, dtype=np.intp))
        tau, p = float(grouped.tau[0]), float(kendall_p(grouped, a, b, np.zeros(n, dtype=np.intp))[0])
    return Correlation(tau, p, *fisher_z_interval(tau, n, "kendall"), n)


def kendall_by_group(x: Array, y: Array, groups: Codes) -> GroupedTau:
    """tau-b of x and y within each group; `groups` holds codes 0..G-1. A group constant in x or y gets
    NaN.
    """
    count = int(groups.max()) + 1 if groups.size else 0
    i, j = pairs_within(groups)
    of = groups[i]
    dx, dy = np.sign(x[i] - x[j]), np.sign(y[i] - y[j])
    score = np.bincount(of, weights=dx * dy, minlength=count)
    varied_x = np.bincount(of, weights=np.abs(dx), minlength=count)
    varied_y = np.bincount(of, weights=np.abs(dy), minlength=count)
    total = np.bincount(of, minlength=count)
    scale = np.sqrt(varied_x * varied_y)
    tau = np.divide(score, scale, out=np.full(count, np.nan), where=scale > 0)
    return GroupedTau(
        tau,
        np.rint(score).astype(np.intp),
        np.bincount(groups, minlength=count),
        (varied_x == total) & (varied_y == total),
    )


def kendall_p(grouped: GroupedTau, x: Array, y: Array, groups: Codes) -> Array:
    """Two-sided p value of each group's tau, exact where `kendall_tau_b` is; NaN where tau is."""
    p = np.full(grouped.tau.size, np.nan)
    for g in np.flatnonzero(np.isfinite(grouped.tau)):
        n = int(grouped.n[g])
        if grouped.untied[g] and n <= EXACT_UNTIED:
            p[g] = _untied_tail(n)[abs(int(grouped.score[g]))]
            continue
        members = groups == g
        a, b = stats.rankdata(x[members], "dense"), stats.rankdata(y[members], "dense")
        if n <= EXACT_WITH_TIES:
            null = _tied_null(tuple(sorted(a.tolist())), tuple(sorted(b.tolist())))
            p[g] = float(np.mean(np.abs(null) >= abs(int(grouped.score[g]))))
        else:
            p[g] = float(stats.kendalltau(a, b, method="asymptotic").pvalue)
    return p


@cache
def _untied_tail(n: int) -> Array:
    """P(|score| >= s) for s = 0..n(n-1)/2 under random order: the counts of permutations by inversions."""
    counts = np.ones(1)
    for size in range(2, n + 1):
        counts = np.convolve(counts, np.full(size, 1.0 / size))
    pairs = n * (n - 1) // 2
    scores = np.abs(pairs - 2 * np.arange(pairs + 1))
    by_score = np.bincount(scores, weights=counts, minlength=pairs + 1)
    return np.minimum(np.cumsum(by_score[::-1])[::-1], 1.0)


@cache
def _orders(n: int) -> NDArray[np.int8]:
    return np.array(list(permutations(range(n))), dtype=np.int8)


@lru_cache(maxsize=256)
def _tied_null(x: tuple[int, ...], y: tuple[int, ...]) -> Codes:
    """The score of every permutation of `y` against `x`; it depends on the pattern of ties alone."""
    a, shuffled = np.array(x), np.array(y)[_orders(len(y))]
    score = np.zeros(len(shuffled), dtype=np.intp)
    for i in range(a.size):
        for j in range(i + 1, a.size):
            score += int(np.sign(a[i] - a[j])) * np.sign(shuffled[:, i] - shuffled[:, j]).astype(np.intp)
    return score


def spearman(x: ArrayLike, y: ArrayLike) -> Correlation:
    """Spearman's rho with the interval of Bonett & Wright (2000).

    Up to `EXACT_WITH_TIES` points p is that of all permutations (`permutation_p`): the t approximation, used
    beyond, says 2e-16 of four points in order, where chance does it in 2 of 24.
    """
    a, b = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    found = partial_spearman(a, b, np.empty((a.size, 0)))
    if not np.isfinite(found.estimate) or found.n > EXACT_WITH_TIES:
        return found
    return found._replace(p=permutation_p(stats.rankdata(a), stats.rankdata(b)))


def over_seeds(x: Array, y: Array) -> Correlation:
    """Spearman's rho of one value a seed, each of shape (seeds,), with a p that does not rest on one seed.

    A seed that is off in both has an extreme rank in both, so p over permutations alone is too small: the larger of it
    and of that without the seed of the most extreme ranks counts. NaN where so few seeds are left that no order of them
    reaches the level (`MIN_SEEDS_TO_PERMUTE`). No limits are given (NaN): those of few ranks have no width where all
    agree.
    """
    found = spearman(x, y)
    if not np.isfinite(found.estimate) or found.n <= MIN_SEEDS_TO_PERMUTE:
        return found._replace(p=np.nan, low=np.nan, high=np.nan)
    middle = (found.n + 1) / 2
    extreme = sum(np.abs(stats.rankdata(values) - middle) for values in (x, y))
    rest = np.delete(np.arange(found.n), np.argmax(extreme))
    return found._replace(p=max(found.p, spearman(x[rest], y[rest]).p), low=np.nan, high=np.nan)


def permutation_p(x: Array, y: Array) -> float:
    """Two-sided p of the correlation of x and y, shape (n,), over all n! orders of y: twice the smaller tail.

    scipy's `permutation_test` gives the same; orders that are kept take an eighth of its time or less.
    """
    a, b = x - x.mean(), y - y.mean()
    products = b[_orders(a.size)] @ a
    rounding = 1e-12 * float(np.sqrt((a @ a) * (b @ b)))
    tails = (products >= products[0] - rounding).mean(), (products <= products[0] + rounding).mean()
    return min(1.0, 2 * float(min(tails)))


def partial_spearman(x: ArrayLike, y: ArrayLike, controls: ArrayLike) -> Correlation:
    """Rank correlation of x and y given `controls` (n,) or (n, k): correlation of the rank residuals.

    Each variable is ranked, the ranks of x and y are regressed on those of the controls (with intercept),
    and the residuals are correlated; p by t with n - 2 - k degrees of freedom. NaN in, a residual without
    variance or no degree of freedom left: NaN out.
    """
    a, b = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    n = a.size
    given = np.asarray(controls, dtype=float)
    given = given.reshape(n, given.size // max(n, 1))
    k = given.shape[1]
    finite = np.isfinite(a).all() and np.isfinite(b).all() and np.isfinite(given).all()
    if n - 2 - k < 1 or not finite:
        return Correlation(np.nan, np.nan, np.nan, np.nan, n)
    ranked = np.column_stack([np.ones(n), *map(stats.rankdata, given.T)])
    sides = np.column_stack([stats.rankdata(a), stats.rankdata(b)])
    residuals = sides - ranked @ np.linalg.lstsq(ranked, sides, rcond=None)[0]
    norms = np.sqrt((residuals**2).sum(axis=0))
    if (norms <= 1e-9 * n).any():  # ranks are of order n: what is left is rounding
        return Correlation(np.nan, np.nan, np.nan, np.nan, n)
    r = float(np.clip(residuals[:, 0] @ residuals[:, 1] / norms.prod(), -1.0, 1.0))
    return Correlation(r, correlation_p(r, n - 2 - k), *fisher_z_interval(r, n, "spearman", controls=k), n)


def pearson(x: ArrayLike, y: ArrayLike) -> Correlation:
    """Pearson's r with t's p and Fisher's interval; NaN for NaN in, a constant or under three points."""
    a, b = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    n = a.size
    r = _cosine(a - a.mean(), b - b.mean()) if n > 2 else np.nan
    if not np.isfinite(r):
        return Correlation(np.nan, np.nan, np.nan, np.nan, n)
    return Correlation(r, correlation_p(r, n - 2), *fisher_z_interval(r, n), n)


def repeated_measures_correlation(x: ArrayLike, y: ArrayLike, subject: ArrayLike) -> Correlation:
    """Correlation of x and y within subjects (Bakdash & Marusich 2017, Frontiers in Psychology 8:456).

    The common slope of an analysis of covariance with one intercept per subject: correlation of the
    deviations from the subjects' means, with N - k - 1 degrees of freedom for N observations of k subjects.
    Subjects seen once tell nothing and are left out. NaN in, no variation or no degree of freedom: NaN out.
    """
    a, b = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    codes = np.unique(np.asarray(subject), return_inverse=True)[1].reshape(-1)
    repeated = np.bincount(codes)[codes] > 1 if codes.size else np.zeros(0, dtype=bool)
    a, b, codes = a[repeated], b[repeated], np.unique(codes[repeated], return_inverse=True)[1].reshape(-1)
    n, k = a.size, int(codes.max()) + 1 if codes.size else 0
    dof = n - k - 1
    r = _cosine(_centred(a, codes), _centred(b, codes)) if dof > 0 else np.nan
    if not np.isfinite(r):
        return Correlation(np.nan, np.nan, np.nan, np.nan, n)
    return Correlation(r, correlation_p(r, dof), *fisher_z_interval(r, dof + 2), n)


def pooled_against_within(x: ArrayLike, y: ArrayLike, group: ArrayLike) -> Correlation:
    """How far the pooled correlation of x and y lies from that within groups, and p of "their signs differ".

    The estimate is pooled less within. Both are Pearson's r, on Fisher's z; what is sampled are the groups, so each has
    the jackknife's error over groups (Tukey 1958, Annals of Mathematical Statistics 29) and Student's t. p is the
    larger of the two-sided ones (intersection-union), 1 where the signs agree. NaN with fewer than three groups or
    without variation; no limits are given.
    """
    a, b = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    codes = np.unique(np.asarray(group), return_inverse=True)[1].reshape(-1)
    count = int(codes.max()) + 1 if codes.size else 0
    nothing = Correlation(np.nan, np.nan, np.nan, np.nan, count)
    if count < 3:
        return nothing
    a, b = a - a.mean(), b - b.mean()
    chosen = np.vstack([np.ones(count), 1.0 - np.eye(count)])  # all groups, then without each
    pooled = _r(chosen @ _products(a, b, codes), centre=True)
    within = _r(chosen @ _products(_centred(a, codes), _centred(b, codes), codes), centre=False)
    rs = pooled, within
    if not all(np.isfinite(r).all() and (np.abs(r) < 1).all() for r in rs):
        return nothing
    difference = float(rs[0][0] - rs[1][0])
    if rs[0][0] * rs[1][0] >= 0:
        return Correlation(difference, 1.0, np.nan, np.nan, count)
    p = 0.0
    for z in map(np.arctanh, rs):
        pseudo = count * z[0] - (count - 1) * z[1:]
        t = abs(z[0]) / (pseudo.std(ddof=1) / np.sqrt(count))
        p = max(p, float(2 * special.stdtr(count - 1, -t)))
    return Correlation(difference, p, np.nan, np.nan, count)


def _products(a: Array, b: Array, codes: np.ndarray) -> Array:
    """Of each group the sums that a correlation is made of, shape (groups, 6)."""
    terms = (np.ones(a.size), a, b, a * a, b * b, a * b)
    return np.stack([np.bincount(codes, weights=term) for term in terms], axis=1)


def _r(sums: Array, *, centre: bool) -> Array:
    """Pearson's r of such sums (..., 6), about the mean or, with no `centre`, about 0."""
    n, a, b, aa, bb, ab = np.moveaxis(sums, -1, 0)
    shift = 1.0 / n if centre else 0.0
    with np.errstate(invalid="ignore", divide="ignore"):
        r: Array = (ab - a * b * shift) / np.sqrt((aa - a * a * shift) * (bb - b * b * shift))
    return r


def _centred(values: Array, codes: np.ndarray) -> Array:
    means = np.bincount(codes, weights=values) / np.bincount(codes)
    return np.asarray(values - means[codes])


def _cosine(a: Array, b: Array) -> float:
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(np.clip(a @ b / scale, -1.0, 1.0)) if scale > 0 else np.nan


def correlation_p(r: float, dof: int) -> float:
    """Two-sided p value of a correlation with `dof` degrees of freedom, by Student's t."""
    if abs(r) >= 1.0:
        return 0.0
    return float(2 * special.stdtr(dof, -abs(r) * np.sqrt(dof / (1.0 - r**2))))


def granulated_by_group(
    df: pd.DataFrame, x: str, y: str, axes: Sequence[str], group: Codes, count: int, fixed: Sequence[str] = ()
) -> tuple[Array, Codes]:
    """Kendall's tau along one axis at a time, all others fixed, in each group of rows (Jiang et al. 2020, "Fantastic
    Generalization Measures and Where to Find Them", arXiv:1912.02178, section 4: psi_i).

    psi_i is the mean of tau over the settings in which only axis i varies. Within a setting we take tau-b, which is
    the paper's tau where nothing is tied and leaves out what is: one run on two curves (batch 64 under `lr` and
    `lr_bs`) is no comparison. NaN keys are keys. `group` holds codes 0..count-1; `fixed` names columns that are held
    fixed along every axis. Returns psi (NaN where nothing varies along the axis) and the number of settings behind it,
    both (count, axes).
    """
    a, b = df[x].to_numpy(dtype=float), df[y].to_numpy(dtype=float)
    keyed = df.assign(_group=group)
    psi, found = np.full((count, len(axes)), np.nan), np.zeros((count, len(axes)), dtype=np.intp)
    for column, axis in enumerate(axes):
        others = [name for name in axes if name != axis]
        codes = group_codes(keyed, ["_group", *fixed, *others])
        tau = kendall_by_group(a, b, codes).tau
        owner = np.zeros(tau.size, dtype=np.intp)
        owner[codes] = group
        known = np.isfinite(tau)
        found[:, column] = np.bincount(owner[known], minlength=count)
        total = np.bincount(owner[known], weights=tau[known], minlength=count)
        np.divide(total, found[:, column], out=psi[:, column], where=found[:, column] > 0)
    return psi, found


def sign_error(x: ArrayLike, y: ArrayLike, env: ArrayLike, level: ArrayLike | None = None) -> SignError:
    """Expected fraction of pairs that x orders otherwise than y, per environment (Dziugaite et al. 2020,
    "In Search of Robust Measures of Generalization", arXiv:2010.11924, section 3).

    x is meant to rise with y: to ask whether curvature opposes accuracy, give the adversarial error as y. A
    tie counts one half. Pairs at equal `level` (replicates of one setting) do not count. .5 is chance.
    """
    a, b = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    codes, names = pd.factorize(np.asarray(env), sort=True)
    i, j = pairs_within(codes.astype(np.intp))
    if level is not None:
        of = np.asarray(level)
        differ = of[i] != of[j]
        i, j = i[differ], j[differ]
    wrong = (1.0 - np.sign(a[i] - a[j]) * np.sign(b[i] - b[j])) / 2.0
    pairs = np.bincount(codes[i], minlength=len(names))
    total = np.bincount(codes[i], weights=wrong, minlength=len(names))
    errors = np.divide(total, pairs, out=np.full(len(names), np.nan), where=pairs > 0)
    return SignError(errors, pairs)


def mean_sign_error(found: SignError, owner: Codes) -> MeanSignError:
    """The mean sign-error over the replicates (seeds) of each environment, `owner` being that of each replicate.

    The 95 % interval is the wider of two: Student's t over the replicates, and the interval under random order of that
    many levels (variance of tau under independence, 2 (2k + 5) / (9 k (k - 1)), a quarter of it for the sign-error),
    since a few seeds may agree by chance. The two-sided p-value of "the sign-error is .5" is the larger of theirs.
    """
    count = int(owner.max(initial=-1)) + 1
    known = found.pairs > 0
    errors, owner, of_each = found.errors[known], owner[known], found.pairs[known]
    n = np.bincount(owner, minlength=count)
    pairs = np.bincount(owner, weights=of_each, minlength=count)
    safe, dof = np.maximum(n, 1), np.maximum(n - 1, 1)
    mean = np.bincount(owner, weights=errors, minlength=count) / safe
    squares = np.bincount(owner, weights=(errors - mean[owner]) ** 2, minlength=count)
    by_seeds = np.sqrt(squares / dof / safe)
    levels = np.maximum((1 + np.sqrt(1 + 8 * pairs / safe)) / 2, 2)  # k levels make k (k - 1) / 2 pairs
    by_chance = np.sqrt(2 * (2 * levels + 5) / (9 * levels * (levels - 1)) / 4 / safe)
    half = np.maximum(stats.t.ppf(1 - TAIL, dof) * by_seeds, stats.norm.ppf(1 - TAIL) * by_chance)
    away = np.abs(mean - CHANCE_SIGN_ERROR)
    t = np.divide(away, by_seeds, out=np.full(count, np.inf), where=by_seeds > 0)  # seeds that agree: chance decides
    p = np.maximum(2 * stats.t.sf(t, dof), 2 * stats.norm.sf(away / by_chance))
    estimate = np.where(n > 0, mean, np.nan)
    return MeanSignError(estimate, np.clip(mean - half, 0, 1), np.clip(mean + half, 0, 1), p, pairs.astype(int), n)
