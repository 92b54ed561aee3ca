"""Sign-error of "sharper means less robust", environment by environment (Dziugaite et al. 2020)."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.statistics.correlations import mean_sign_error, sign_error
from analysis.statistics.groups import Codes, group_codes
from analysis.statistics.thresholds import MIN_SEEDS
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
    robustness, .5 is chance. Interval and p-value are those of `mean_sign_error`. A run on two curves does not form a
    pair with itself.

    Columns: `study`, `stratum` (of axis batch_size; -1 otherwise), `ALONGSIDE`, and those of
    `analysis.output.columns.CORRELATIONS` (`n` counts pairs); `regime` is "all" and `momentum` NaN where they vary.
    """
    return pd.concat([_along(seen.trials, axis) for axis in VARIED], ignore_index=True)


def _along(trials: pd.DataFrame, axis: str) -> pd.DataFrame:
    fixed = ["study", *ALONGSIDE, *VARIED[axis]]
    kept = keep_decidable(trials["decidable"].to_numpy(dtype=bool), group_codes(trials, fixed))
    trials = trials[kept].reset_index(drop=True)
    env = group_codes(trials, fixed)
    if not len(trials):
        return pd.DataFrame()
    replicate = group_codes(trials.assign(env=env), ["env", "seed"])
    found = sign_error(
        trials["x"].to_numpy(dtype=float), 1.0 - trials["accuracy"].to_numpy(dtype=float), replicate, trials["trial"]
    )
    owner = np.zeros(int(replicate.max()) + 1, dtype=np.intp)
    owner[replicate] = env
    first = trials.iloc[np.unique(env, return_index=True)[1]].reset_index(drop=True)
    mean = mean_sign_error(found, owner)
    rows = pd.DataFrame({"estimate": mean.estimate, "low": mean.low, "high": mean.high, "p": mean.p, "n": mean.pairs})
    rows["study"] = first["study"]
    rows["stratum"] = first["stratum"] if axis == "batch_size" else -1
    rows["axis"] = axis
    rows[list(ALONGSIDE)] = first[list(ALONGSIDE)]
    rows["regime"] = first["regime"] if axis != "regime" else "all"
    rows["momentum"] = first["momentum"] if axis != "momentum" else np.nan
    rows["batch_sizes"] = _sizes(trials, env)
    decidable = (mean.replicates >= MIN_SEEDS) & trials["decidable"].groupby(env).any().to_numpy(dtype=bool)
    rows["note"] = np.where(decidable, "", TOO_FEW_SEEDS)
    rows.loc[~decidable, ["low", "high", "p"]] = np.nan
    return rows[rows["n"] > 0]


def _sizes(trials: pd.DataFrame, env: Codes) -> list[str]:
    seen = pd.DataFrame({"env": env, "size": trials["batch_size"].to_numpy(dtype=int)}).drop_duplicates()
    members, sizes = by_code(seen["env"].to_numpy(), int(env.max()) + 1), seen["size"].to_numpy()
    return [batch_list(sizes[rows]) for rows in members]
