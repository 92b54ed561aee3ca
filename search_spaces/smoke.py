"""The smoke study: paper A's three regimes in small, on digits that need no download, in about a minute."""

from __future__ import annotations

from search_spaces.probe import Probe
from search_spaces.regimes import BENCHMARK, BENCHMARK_MOMENTUM, LEARNING_RATE, LR, LR_BS
from search_spaces.space import Space, attack_probes, curve, lambda1_probes
from search_spaces.trial import Trial

BATCH_SIZES = (16, 32, 64, 128, 256)
"""Five sizes spanning 16x: the least on which a trend claim can be decided."""

EPSILONS = (0.1, 0.3)

STUDY = Trial(
    dataset="digits",
    model="m1_20",
    learning_rate=LEARNING_RATE,
    batch_size=64,
    epochs=15,
    train_size=1_197,
    val_size=240,
    test_size=360,
)


def _probes(trial: Trial) -> frozenset[Probe]:
    return attack_probes(("fgsm", "pgd"), EPSILONS) | lambda1_probes(trial)


SMOKE = Space(
    name="smoke",
    citation="Paper A's regimes (section 2.1) on scikit-learn's digits: a rehearsal, not a replication",
    curves=(
        curve(LR, STUDY, BATCH_SIZES, 0.0),
        curve(LR_BS, STUDY, BATCH_SIZES, 0.0),
        curve(BENCHMARK, STUDY, BATCH_SIZES, BENCHMARK_MOMENTUM),
    ),
    seeds=(0, 1, 2),
    probes=_probes,
)
