"""Pairs of cells on one curve: gaps in curvature and robustness, with their errors."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special, stats

from analysis.statistics.groups import Codes, group_codes, pairs_within
from analysis.statistics.intervals import Array
from analysis.tables.cells import FLAGS
from analysis.tables.observations import STRATUM


def pair_up(cells: pd.DataFrame, curvature: str) -> pd.DataFrame:
    """Every pair of measured cells (i, j) of one curve and attack with batch_j > batch_i.

    Columns `i`, `j` (positions in `cells`), `lambda1_gap` (log2), `logit_gap`, `accuracy_gap` (fraction),
    each j - i; `lambda1_sd`, `logit_sd`, `dof` (pooled within the curve's cells, flagged cells excluded);
    `p_sharper`, `p_flatter` for lambda1 and `p_more`, `p_less` for accuracy: one-sided t on seeds with the
    pooled variance, or the two cells' own where that is larger (our choice: where seed noise differs between cells,
    the pooled variance would confirm pairs by chance);
    `p_lambda1_alone`, `p_accuracy_alone`: one-sided p of the gap in its own direction, by the seeds of a single cell;
    `p_ratio_more`, `p_ratio_less`: the same for log(adversarial / clean accuracy), "attack ratio"
    (Choudhary 2020).
    """
    codes = group_codes(cells, STRATUM)
    x = cells[f"log2_{curvature}"].to_numpy(dtype=float)
    measured = np.flatnonzero((cells["n_seeds"].to_numpy() > 0) & np.isfinite(x))
    left, right = pairs_within(codes[measured])
    i, j = measured[left], measured[right]
    batch = cells["batch_size"].to_numpy()
    swap = batch[i] > batch[j]
    i, j = np.where(swap, j, i), np.where(swap, i, j)
    accuracy = cells["accuracy"].to_numpy(dtype=float)
    sharper = _gap(cells, f"log2_{curvature}_seeds", codes, i, j)
    more = _gap(cells, "logit_seeds", codes, i, j)
    ratio = _gap(cells.assign(ratio_seeds=_attack_ratios(cells)), "ratio_seeds", codes, i, j)
    return pd.DataFrame(
        {
            "i": i,
            "j": j,
            "lambda1_gap": sharper.gap,
            "logit_gap": more.gap,
            "accuracy_gap": accuracy[j] - accuracy[i],
            "lambda1_sd": sharper.sd,
            "logit_sd": more.sd,
            "dof": more.dof,
            "p_sharper": sharper.p,
            "p_flatter": 1.0 - sharper.p,
            "p_more": more.p,
            "p_less": 1.0 - more.p,
            "p_lambda1_alone": sharper.alone,
            "p_accuracy_alone": more.alone,
            "p_ratio_more": ratio.p,
            "p_ratio_less": 1.0 - ratio.p,
        }
    )


class _Gap(NamedTuple):
    """Gap j - i of the seeds' means, the curve's pooled sd, its dof, p of "j is larger" by one-sided t, and `alone`:
    of each cell tested by its own seeds against the other's mean, the larger p.
    """

    gap: Array
    sd: Array
    dof: Array
    p: Array
    alone: Array


def _gap(cells: pd.DataFrame, name: str, codes: Codes, i: Codes, j: Codes) -> _Gap:
    mean, squares, size = seed_moments(cells[name])
    # a cell at its floor hardly varies: it would lower the pooled variance of cells that do
    pooled = (size > 1) & ~cells[list(FLAGS)].to_numpy(dtype=bool).any(axis=1)
    count = int(codes.max()) + 1 if codes.size else 0
    total = np.bincount(codes, weights=np.where(pooled, squares, 0.0), minlength=count)
    dof = np.bincount(codes, weights=np.where(pooled, size - 1, 0), minlength=count).astype(float)
    sd = np.sqrt(np.divide(total, dof, out=np.full(count, np.nan), where=dof > 0))[codes[i]]
    gap = mean[j] - mean[i]
    with np.errstate(divide="ignore", invalid="ignore"):
        own = squares / (size - 1) / size
        t_alone = -np.abs(gap) / np.sqrt(own)[np.stack([i, j])]
        # for cells noisier than their curve, the pooled variance would give false positives
        t = gap / np.sqrt(np.fmax(sd**2 * (1.0 / size[i] + 1.0 / size[j]), own[i] + own[j]))
    p = stats.t.sf(t, np.where(dof > 0, dof, np.nan)[codes[i]])
    alone = np.maximum.reduce(special.stdtr(size[np.stack([i, j])] - 1, t_alone))
    return _Gap(gap, sd, dof[codes[i]], np.asarray(p, dtype=float), alone)


def seed_moments(seeds: pd.Series) -> tuple[Array, Array, Array]:
    """Per cell: mean, sum of squared deviations and count of the finite seed values."""
    lengths = np.array([len(s) for s in seeds], dtype=np.intp)
    values = np.concatenate(seeds.to_list()).astype(float) if len(seeds) else np.empty(0)
    owner = np.repeat(np.arange(len(seeds)), lengths)
    finite = np.isfinite(values)
    values, owner = values[finite], owner[finite]
    size = np.bincount(owner, minlength=len(seeds)).astype(float)
    total = np.bincount(owner, weights=values, minlength=len(seeds)).astype(float)
    mean = np.divide(total, size, out=np.full(len(seeds), np.nan), where=size > 0)
    squares = np.bincount(owner, weights=(values - mean[owner]) ** 2, minlength=len(seeds)).astype(float)
    return mean, squares, size


def _attack_ratios(cells: pd.DataFrame) -> NDArray[np.object_]:
    """Per cell, log(adversarial / clean accuracy) by seed; half an image is added to both, so that 0 stays finite."""
    ratios = np.empty(len(cells), dtype=object)
    half = 0.5 / np.maximum(cells["n"].to_numpy() / np.maximum(cells["n_seeds"].to_numpy(), 1), 1)
    columns = zip(cells["accuracy_seeds"], cells["test_acc_seeds"], strict=True)
    for row, (adversarial, clean) in enumerate(columns):
        ratios[row] = np.log((adversarial + half[row]) / (clean.astype(float) + half[row]))
    return ratios


def paired_errors(cells: pd.DataFrame, pairs: pd.DataFrame, attacks: pd.DataFrame) -> Array:
    """Standard error of each pair's accuracy gap, paired over the images of the test set.

    Per image the share of seeds that are right is compared between the two cells; with one seed each this
    is McNemar's standard error, sqrt(b + c - (b - c)^2 / n) / n for b and c discordant images. Pairs whose
    correctness bits are missing or of unequal length get the unpaired binomial error of the mean over seeds
    (not smaller).
    """
    bits, images = attacks["correct_bits"].to_numpy(), attacks["n"].to_numpy()
    answers = cells["attack_rows"].to_numpy(dtype=object)
    errors = np.full(len(pairs), np.nan)
    of = group_codes(cells, STRATUM)[pairs["i"].to_numpy()]
    i, j = pairs["i"].to_numpy(), pairs["j"].to_numpy()
    for stratum in np.unique(of):
        members = np.flatnonzero(of == stratum)
        used = np.unique(np.concatenate([i[members], j[members]]))
        rows = [np.asarray(answers[cell], dtype=np.intp) for cell in used]
        shares = [_shares(bits[of_cell], images[of_cell]) for of_cell in rows]
        lengths = {share.size for share in shares}
        n = lengths.pop()
        if lengths or n == 0:
            errors[members] = _unpaired(cells, i[members], j[members])
            continue
        right = np.stack(shares)
        gram = right @ right.T / n
        mean = right.mean(axis=1)
        a, b = np.searchsorted(used, i[members]), np.searchsorted(used, j[members])
        variance = gram[a, a] + gram[b, b] - 2 * gram[a, b] - (mean[b] - mean[a]) ** 2
        errors[members] = np.sqrt(np.maximum(variance, 0.0) / n)
    return errors


def _shares(bits: NDArray[np.object_], images: NDArray[np.int_]) -> Array:
    """Per image, the share of a cell's seeds that are right; empty if bits are missing or test sets differ in size."""
    known = [raw for raw in bits if isinstance(raw, bytes)]
    if len(known) < len(bits) or np.unique(images).size != 1:
        return np.empty(0)
    packed = np.frombuffer(b"".join(known), dtype=np.uint8).reshape(len(known), -1)
    return np.asarray(np.unpackbits(packed, axis=1, count=int(images[0])).mean(axis=0), dtype=float)


def _unpaired(cells: pd.DataFrame, i: Codes, j: Codes) -> Array:
    p = cells["accuracy"].to_numpy(dtype=float)
    images = cells["n"].to_numpy(dtype=float) / np.maximum(cells["n_seeds"].to_numpy(dtype=float), 1.0)
    variance = p * (1 - p) / images
    return np.asarray(np.sqrt(variance[i] + variance[j]), dtype=float)
