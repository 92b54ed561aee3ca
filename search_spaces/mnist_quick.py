"""A first study of real data, of a few minutes: two of paper A's regimes on a tenth of MNIST with a small network.

Its settings are ours, fixed on the seeds 100 to 102, before those of the study were run, as in `search_spaces.smoke`.
"""

from __future__ import annotations

from search_spaces.probe import Probe
from search_spaces.regimes import fixed_rate, fixed_ratio
from search_spaces.smoke import PGD_STEPS
from search_spaces.space import Space, attack_probes, curve, lambda1_probes
from search_spaces.trial import Trial

BATCH_SIZES = (16, 32, 64, 128, 256)
LEARNING_RATE = 0.05
PIVOT = 64
"""The batch size at which fixed rate and fixed ratio are the same run."""

EPSILON = 0.1
"""A third of paper A's, at which hardly an image stays correctly classified after so short a training."""

MNIST = Trial(
    dataset="mnist",
    model="m1_8",
    learning_rate=LEARNING_RATE,
    batch_size=PIVOT,
    epochs=8,
    train_size=6_144,  # a multiple of every batch size
    val_size=1_000,
    test_size=1_000,
)


def _probes(trial: Trial) -> frozenset[Probe]:
    return attack_probes(("fgsm", "pgd"), (EPSILON,), steps=PGD_STEPS) | lambda1_probes(trial)


MNIST_QUICK = Space(
    name="mnist_quick",
    citation="Paper A's first two regimes (section 2.1) on a part of MNIST: an illustration, not a replication",
    curves=(
        curve(fixed_rate(LEARNING_RATE), MNIST, BATCH_SIZES, 0.0),
        curve(fixed_ratio(LEARNING_RATE / PIVOT), MNIST, BATCH_SIZES, 0.0),
    ),
    seeds=(0, 1, 2),
    probes=_probes,
)
