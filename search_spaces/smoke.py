"""The smoke study: paper A's three regimes on a small scale, on digits that need no download, in about a minute.

Its settings are ours, chosen so that small networks learn 500 scans well and differ from each other. It exercises every
step of the real studies and says nothing about the papers.
"""

from __future__ import annotations

from search_spaces.probe import HEADLINE_EPSILON, Probe
from search_spaces.regimes import BENCHMARK_MOMENTUM, benchmark, fixed_rate, fixed_ratio
from search_spaces.space import Space, attack_probes, curve, lambda1_probes
from search_spaces.trial import Trial

BATCH_SIZES = (8, 16, 32, 64, 128)
"""Five sizes spanning a factor of 16: the fewest on which a claim about a trend can be decided."""

LEARNING_RATE = 0.05
"""Five times the papers' rate: with few scans, an epoch has few steps."""

BENCHMARK_LEARNING_RATE = 0.02
"""Momentum .9 multiplies the effective rate by ten: LEARNING_RATE would be too large for small batches."""

PIVOT = 32
"""The batch size at which fixed rate and fixed ratio are the same run."""

DIGITS = Trial(
    dataset="digits",
    model="m1_8",
    learning_rate=LEARNING_RATE,
    batch_size=PIVOT,
    epochs=12,
    train_size=500,
    val_size=240,
    test_size=200,
)


def _probes(trial: Trial) -> frozenset[Probe]:
    return attack_probes(("fgsm", "pgd"), (HEADLINE_EPSILON["digits"],)) | lambda1_probes(trial)


SMOKE = Space(
    name="smoke",
    citation="Paper A's regimes (section 2.1) on scikit-learn's digits: a rehearsal, not a replication",
    curves=(
        curve(fixed_rate(LEARNING_RATE), DIGITS, BATCH_SIZES, 0.0),
        curve(fixed_ratio(LEARNING_RATE / PIVOT), DIGITS, BATCH_SIZES, 0.0),
        curve(benchmark(BENCHMARK_LEARNING_RATE), DIGITS, BATCH_SIZES, BENCHMARK_MOMENTUM),
    ),
    seeds=(0, 1, 2),
    probes=_probes,
)
