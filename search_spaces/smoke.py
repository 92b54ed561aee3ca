"""The smoke study: paper A's three regimes on scikit-learn's scans of digits, which need no download, in a minute.

Its settings are ours, fixed on the seeds 100 to 109, before those of the study were run: so that small networks learn
all 1,797 scans well, and that five seeds decide most of paper A's questions about them, whichever way. Its answers are
about these networks and say nothing about the papers'.
"""

from __future__ import annotations

from search_spaces.measures import MEASURES
from search_spaces.probe import HEADLINE_EPSILON, MinimalEpsilonProbe, Probe
from search_spaces.regimes import BENCHMARK_MOMENTUM, benchmark, fixed_rate, fixed_ratio
from search_spaces.space import Space, attack_probes, curve, lambda1_probes
from search_spaces.trial import Trial

BATCH_SIZES = (8, 16, 32, 64, 128)
"""Five sizes spanning a factor of 16: the fewest on which a claim about a trend can be decided."""

LEARNING_RATE = 0.1
"""Ten times the papers' rate: with few scans, an epoch has few steps."""

BENCHMARK_LEARNING_RATE = 0.02
"""Momentum .9 multiplies the effective rate by ten: LEARNING_RATE would be too large for small batches."""

PIVOT = 32
"""The batch size at which fixed rate and fixed ratio are the same run."""

PGD_STEPS = 20
"""Of an eighth of epsilon each, which cross the ball, so that PGD is the stronger attack, as it should be. The
published forty cannot; they stay in the papers' grids."""

CURVE_SEED = 0
"""One seed of each setting has its robust accuracy over epsilon drawn: half a second a network."""

DIGITS = Trial(
    dataset="digits_8x8",
    model="mlp_256",
    learning_rate=LEARNING_RATE,
    batch_size=PIVOT,
    epochs=15,
    train_size=1_024,  # a multiple of every batch size: a small last batch would add noise to the weights
    val_size=174,
    test_size=599,
)


CHEAP = ("adaptive_sharpness", "relative_flatness")
"""Measures that take a tenth of a second a network."""


def _probes(trial: Trial) -> frozenset[Probe]:
    attacks = attack_probes(("fgsm", "pgd"), (HEADLINE_EPSILON[DIGITS.dataset],), steps=PGD_STEPS)
    smallest = frozenset({MinimalEpsilonProbe()}) if trial.seed == CURVE_SEED else frozenset()
    cheap = frozenset(probe for name in CHEAP for probe in MEASURES[name].ask(trial, ()))
    return attacks | lambda1_probes(trial) | smallest | cheap


SMOKE = Space(
    name="smoke",
    citation="Paper A's regimes (section 2.1) on scikit-learn's digits: an illustration, not a replication",
    curves=(
        curve(fixed_rate(LEARNING_RATE), DIGITS, BATCH_SIZES, 0.0),
        curve(fixed_ratio(LEARNING_RATE / PIVOT), DIGITS, BATCH_SIZES, 0.0),
        curve(benchmark(BENCHMARK_LEARNING_RATE), DIGITS, BATCH_SIZES, BENCHMARK_MOMENTUM),
    ),
    seeds=(0, 1, 2, 3, 4),
    probes=_probes,
)
