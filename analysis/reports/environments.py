"""Sign-error of "sharper means less robust", environment by environment (Dziugaite et al. 2020)."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from analysis.statistics.correlations import sign_error
from analysis.statistics.groups import Codes, group_codes, numbered
from analysis.statistics.intervals import Array
from analysis.statistics.thresholds import MIN_SEEDS, SIGNIFICANCE
from analysis.tables.observations import ALONGSIDE, Observations, batch_list, by_code, keep_decidable

VARIED = {
    "batch_size": ("regime", "momentum"),
    "regime": ("momentum", "batch_size"),
    "momentum": ("regime", "batch_size"),
}
"""What varies in an environment -> what it fixes in addition to the study and its `ALONGSIDE` settings."""

TOO_FEW_SEEDS = f"undecidable: fewer than {MIN_SEEDS} seeds"


def sign_errors(seen: Observations) -> pd.DataFrame:
    """Per environment, the expected share of pairs in which the sharper network is the more robust one.

    An environment varies one setting (`axis`: batch_size along a curve; regime or momentum at equal batch)
    and fixes the rest. Its sign-error is computed for each seed and averaged; 0 means that curvature always opposes
    robustness, .5 is chance. The 95 % interval is the wider of two: Student's t over the seeds, and the interval under
    random order of that many levels (variance of tau under independence, 2 (2k + 5) / (9 k (k - 1)), a quarter of it
    for the sign-error), since a few seeds may agree by chance. A run on two curves does not form a pair with itself.

    Columns: study, stratum (of axis batch_size; -1 otherwise), axis, `ALONGSIDE`, regime, momentum,
    batch_sizes, estimate, low, high, n (pairs), note; `regime` is "all" and `momentum` NaN where they vary.
    """
    numbers = numbered(seen.trials, ["study", *ALONGSIDE, *VARIED, "seed"])
    parts = [_along(seen.trials, numbers, axis) for axis in VARIED]
    return pd.concat(parts, ignore_index=True)


def _along(trials: pd.DataFrame, numbers: pd.DataFrame, axis: str) -> pd.DataFrame:
    """`numbers`: the keys of `trials`, `numbered`."""
    fixed = ["study", *ALONGSIDE, *VARIED[axis]]
    kept = keep_decidable(trials["decidable"].to_numpy(dtype=bool), group_codes(numbers, fixed))
    trials, numbers = trials[kept].reset_index(drop=True), numbers[kept].reset_index(drop=True)
    env = group_codes(numbers, fixed)
    if not len(trials):
        return pd.DataFrame()
    replicate = group_codes(numbers.assign(env=env), ["env", "seed"])
    found = sign_error(
        trials["x"].to_numpy(dtype=float), 1.0 - trials["accuracy"].to_numpy(dtype=float), replicate, trials["trial"]
    )
    owner = np.zeros(int(replicate.max()) + 1, dtype=np.intp)
    owner[replicate] = env
    count = int(env.max()) + 1
    first = trials.iloc[np.unique(env, return_index=True)[1]].reset_index(drop=True)
    rows = _summarise(found.errors, found.pairs, owner, count)
    rows["study"] = first["study"]
    rows["stratum"] = first["stratum"] if axis == "batch_size" else -1
    rows["axis"] = axis
    rows[list(ALONGSIDE)] = first[list(ALONGSIDE)]
    rows["regime"] = first["regime"] if axis != "regime" else "all"
    rows["momentum"] = first["momentum"] if axis != "momentum" else np.nan
    rows["batch_sizes"] = _sizes(trials, env)
    rows["decidable"] &= trials["decidable"].groupby(env).any().to_numpy(dtype=bool)
    rows["note"] = np.where(rows["decidable"], "", TOO_FEW_SEEDS)
    rows.loc[~rows["decidable"], ["low", "high"]] = np.nan
    return rows[rows["n"] > 0].drop(columns="decidable")


def _summarise(errors: Array, pairs: Codes, owner: Codes, count: int) -> pd.DataFrame:
    """Mean over replicates, with the interval of `sign_errors`."""
    known = pairs > 0
    errors, pairs, owner = errors[known], pairs[known], owner[known]
    seeds = np.bincount(owner, minlength=count)
    safe = np.maximum(seeds, 1)
    mean = np.bincount(owner, weights=errors, minlength=count) / safe
    squares = np.bincount(owner, weights=(errors - mean[owner]) ** 2, minlength=count)
    sd = np.sqrt(squares / np.maximum(seeds - 1, 1))
    total = np.bincount(owner, weights=pairs, minlength=count)
    levels = np.maximum((1 + np.sqrt(1 + 8 * total / safe)) / 2, 2)  # k levels make k (k - 1) / 2 pairs
    chance = np.sqrt((2 * (2 * levels + 5)) / (9 * levels * (levels - 1)) / 4)
    by_seeds = stats.t.ppf(1 - SIGNIFICANCE / 2, np.maximum(seeds - 1, 1)) * sd
    half = np.maximum(by_seeds, float(stats.norm.ppf(1 - SIGNIFICANCE / 2)) * chance) / np.sqrt(safe)
    return pd.DataFrame(
        {
            "estimate": np.where(seeds > 0, mean, np.nan),
            "low": np.clip(mean - half, 0.0, 1.0),
            "high": np.clip(mean + half, 0.0, 1.0),
            "n": total.astype(int),
            "decidable": seeds >= MIN_SEEDS,
        }
    )


def _sizes(trials: pd.DataFrame, env: Codes) -> list[str]:
    seen = pd.DataFrame({"env": env, "size": trials["batch_size"].to_numpy(dtype=int)}).drop_duplicates()
    members, sizes = by_code(seen["env"].to_numpy(), int(env.max()) + 1), seen["size"].to_numpy()
    return [batch_list(sizes[rows]) for rows in members]
