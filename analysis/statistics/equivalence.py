"""EQ: is a measure flat, that is, shown to vary by less than delta? A difference that is not significant is
not enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from analysis.statistics.estimates import ALONG_BATCH_SIZES, LinearContrast, Reach, Sample, cell_means
from analysis.statistics.finding import SIGNIFICANCE, Decision, Finding
from analysis.statistics.inference import holm


@dataclass(frozen=True)
class Flatness(Finding):
    """An equivalence test; effect and 90 % interval are those of the largest difference.

    `smallest_delta` is the least bound at which it would pass; `between` names the two batch sizes of the
    largest difference (or one, where arms are compared at each batch size).
    """

    smallest_delta: float = float("nan")
    between: tuple[float, ...] = ()


def flat(sample: Sample, *, delta: float) -> Flatness:
    """Decide whether `sample` is the same within +-`delta` at every two batch sizes.

    Each two are compared by Welch's t: a variance pooled over the curve would call the step to a noisy cell flat.
    """
    short = sample.shortfall()
    if short:
        return Flatness(short.verdict, short.reason)
    kept = sample.decidable()
    cells = cell_means(kept.batch_size, kept.value)
    pairs = list(combinations(range(len(cells.size)), 2))
    means = [cells.at(k) for k in range(len(cells.size))]
    differences = [means[j].less(means[i]) for i, j in pairs]
    return all_within(differences, [(float(cells.size[i]), float(cells.size[j])) for i, j in pairs], delta=delta)


def no_difference(difference: Sample, *, delta: float, reach: Reach = ALONG_BATCH_SIZES) -> Flatness:
    """Decide whether a paired difference is within +-`delta` at every batch size."""
    short = difference.shortfall(reach)
    if short:
        return Flatness(short.verdict, short.reason)
    kept = difference.decidable()
    cells = cell_means(kept.batch_size, kept.value)
    estimates = [cells.at(k) for k in range(len(cells.size))]
    return all_within(estimates, [(float(size),) for size in cells.size], delta=delta)


def all_within(differences: Sequence[LinearContrast], names: Sequence[tuple[float, ...]], *, delta: float) -> Flatness:
    """TOST on every difference: supported when all 90 % intervals lie within +-`delta`.

    Refuted when one, Holm-adjusted over all of them, lies wholly outside.
    """
    intervals = [d.interval(1 - 2 * SIGNIFICANCE) for d in differences]
    p_within = max(d.p_within(delta) for d in differences)
    p_beyond = float(np.min(holm([d.p_beyond(delta) for d in differences])))
    smallest = max(max(abs(low), abs(high)) for low, high in intervals)
    worst = int(np.argmax([abs(d.value) for d in differences]))
    verdict: Decision = "inconclusive"
    reason = f"flat only within +-{smallest:.2g}, not within +-{delta:g}"
    if p_within <= SIGNIFICANCE:
        verdict, reason = "supported", f"flat within +-{smallest:.2g}, so within +-{delta:g}"
    elif p_beyond <= SIGNIFICANCE:
        verdict, reason = "refuted", f"at least one difference exceeds {delta:g}"
    return Flatness(
        verdict,
        reason,
        effect=differences[worst].value,
        low=intervals[worst][0],
        high=intervals[worst][1],
        p_supported=p_within,
        p_refuted=p_beyond,
        confidence=1 - 2 * SIGNIFICANCE,
        smallest_delta=smallest,
        between=tuple(names[worst]),
    )
