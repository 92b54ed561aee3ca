"""Every threshold of the analysis, written once: what it decides and where it comes from.

All were fixed before results were seen. Where no source is named, the value is our choice (docs/method.md).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

SIGNIFICANCE = 0.05
"""Level of every decision: two-sided 95 % intervals for directions, 90 % intervals (two one-sided tests) for
equivalence."""

FALSE_DISCOVERY_RATE = 0.05
"""Level of the counterexample report, over all pairs of one curvature, loss and direction."""

# Looking again (analysis.claims.looks)

LOOKS = (3, 5, 8, 12)
"""Seeds of every cell of a curve at each look at it."""

LOOK_SHARES = (0.15, 0.25, 0.30, 0.30)
"""What each look may spend of the level, together all of it: a p-value is divided by the share of its look."""

# Replication

MIN_SEEDS = 3
"""A cell with fewer seeds decides nothing; Yao et al. 2018 (arXiv:1802.08241) repeat each experiment thrice or more."""

MIN_FINITE_SHARE = 2 / 3
"""A cell decides nothing where a smaller share of its seeds than this did not diverge."""


def few_diverged(finite: ArrayLike, diverged: ArrayLike) -> NDArray[np.bool_]:
    """Whether the seeds of a cell that did not diverge are `MIN_FINITE_SHARE` of them; failed ones are neither."""
    left = np.asarray(finite, dtype=float)
    return np.asarray(left >= MIN_FINITE_SHARE * (left + np.asarray(diverged)) - 1e-9)


MIN_SEEDS_TO_PERMUTE = 5
"""The least two-sided p of all orders of n seeds is 2 / n!: .017 of five, but .083 of four and .33 of three. A
correlation over seeds must hold without one of them too, so it takes one more."""

MIN_BATCH_SIZES = 5
MIN_SPAN = 16
"""A statement about batch size needs this many sizes, the largest this many times the smallest."""

MIN_SIZES_FROM_PEAK = 3
"""A line from the best batch size on needs this many sizes, the best one among them."""

REVERSAL_LEVEL = 0.4
"""A trend is called a fall only if the one-sided p-value of "no part of the curve rises by delta" is at most .4;
likewise a rise. At .05 three seeds would miss most falls; at .4 a U that comes back by twice delta passes in about 5 %
of simulated studies at most."""

SAME_SIGNS = 0.8
"""Refuting "the first arm's effects are larger" uses two bounds: one takes the effects of both arms to have the same
signs, the other opposite ones. They share the 5 % as .8 and .2 (Bonferroni)."""

# The least effects that count (delta)

ROBUST_DELTA = 3.0
"""Points of adversarial accuracy, and of adversarial over clean accuracy."""

CLEAN_DELTA = 1.0
"""Points of clean accuracy."""

CLEAN_DELTA_OF_EASY_DATA = 0.5
"""Points of clean accuracy on digits and garments, where all networks are close to perfect."""

CURVATURE_DELTA = 1.0
"""Doublings of an eigenvalue or of a gradient's norm: a factor of 2."""

CURVATURE_STEP = 0.004
"""Doublings: the relative error of 3e-3 to which an eigenvalue is computed. Seeds that agree better are not exact."""

UNRELATED_TAU = 0.3
"""The largest absolute value of Kendall's tau that still counts as no correlation."""

# Cells that are left out (and tested again with them)

FLOOR = 0.01
"""A cell is at its attack's floor where its adversarial accuracy has a Clopper-Pearson upper bound below this."""


def untrained_accuracy(classes: ArrayLike) -> NDArray[np.float64]:
    """A network of at most this clean accuracy has not learned its task: a fraction, in the shape of `classes`.

    Twice the accuracy of a guess, which is .2 on ten classes and .02 on a hundred. With fewer than ten, where twice a
    guess may be perfect, a ninth of the way from a guess to 1, which is .56 on two.
    """
    count = np.asarray(classes, dtype=float)
    least: NDArray[np.float64] = np.minimum(2 / count, (count + 8) / (9 * count))
    return least


ZERO_GRADIENT = 0.01
"""An attack is suspect where it saw no gradient on more than this share of the images."""

OVERSTATED = 0.01
"""A cell is marked where auto-PGD leaves at least so much less of the images right than the published PGD."""

CHANCE_SIGN_ERROR = 0.5
"""Sign-error of a random order."""

# Counterexamples

MIN_RATIO = 1.25
"""The eigenvalues of the two cells must differ by this factor."""

MIN_GAP = 0.01
"""Their adversarial accuracies (fractions) must differ by this much."""

MIN_ERRORS = 2.0
"""... and by this many binomial standard errors, paired over the images."""

LOSS_RATIO = 2.0
"""Training losses further apart than this factor are another explanation of a counterexample."""

NOISY_CELL_DIRECTIONS = 2
"""One noisy cell can fake a pair as the larger or as the smaller batch size: its p-value is doubled."""

NOISY_CELL_SHARE = 0.8
"""The share of the false discovery rate that these tests get; the rest is reserved because they treat the other cell's
mean as known and seeds as equally noisy."""

# Numeric checks

PSD_TOLERANCE = 1e-8
"""Largest -lambda_min / lambda_max of an input Hessian that is rounding. Float64 leaves about 1e-15 times the condition
of the products that make up the Hessian; a network with one smooth activation instead of ReLUs is at 1e-3 and more."""
