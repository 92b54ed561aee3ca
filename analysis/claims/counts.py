"""Claims that are counts over trained networks: the signs of spectra, and the shape of the input Hessian."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from analysis.claims.claim import Test
from analysis.claims.evidence import Evidence
from analysis.claims.large_batch_measures import converged
from analysis.claims.sweeps import Scope
from analysis.claims.verdict import StratumResult
from analysis.statistics.estimates import Decision
from analysis.statistics.intervals import wilson
from analysis.statistics.thresholds import MIN_FINITE_SHARE, MIN_SEEDS, SIGNIFICANCE
from analysis.tables.lookup import of_trials
from analysis.tables.robust_networks import Network, networks
from search_spaces.large_batch import COUNT

PSD_TOLERANCE = 1e-8
"""Largest -lambda_min / lambda_max that is rounding. Float64 leaves about 1e-15 times the condition of the products
that make up the Hessian; a network with one smooth activation instead of ReLUs is at 1e-3 and more."""

CLASSES = {"cifar100": 100}
"""Data set -> classes, where they are not ten."""

RELU_ONLY = ("m1", "m1_lenet", "c3")
"""Networks of convolutions, fully connected layers and ReLUs (Assumption 1; pooling is linear almost everywhere).
The others have batch normalisation, which the paper excludes (section 1, "Limitations")."""


def positive_spectrum(*, part: str) -> Test:
    """Are the top 20 eigenvalues of the whole training set's Hessian positive, of every network of section 3.3?

    One eigenvalue below zero by more than its residual refutes it.
    """

    def strata(evidence: Evidence, scope: Scope, loss: str | None) -> list[StratumResult]:
        results = []
        for network in networks(evidence.table):
            spectra = [s for s in _spectra(evidence, network) if s["subset_size"] == s["train_size"]]
            negative = sum(_has_negative(s) for s in spectra)
            sure = sum(_all_positive(s) for s in spectra)
            verdict: Decision = "inconclusive"
            if negative:
                verdict = "refuted"
            elif sure == len(spectra):
                verdict = "supported"
            text = f"{sure} of {len(spectra)} full-data spectra positive, {negative} with a negative eigenvalue"
            p = (0.0 if negative else 1.0) if verdict != "inconclusive" else float("nan")
            results.append(_counted(network, part, spectra, verdict, text, sure, 1.0 - p, p))
        return results

    return strata


def negative_samples(*, part: str) -> Test:
    """Do most spectra of single samples have negative eigenvalues beside positive ones?

    One stratum a data set and model, over its networks, seeds and draws: "most" is an exact binomial test of their
    share against one half, with the Wilson interval beside it.
    """

    def strata(evidence: Evidence, scope: Scope, loss: str | None) -> list[StratumResult]:
        places: dict[tuple[str, str], list[Network]] = {}
        for network in networks(evidence.table):
            places.setdefault((network.dataset, network.model), []).append(network)
        return [_single_samples(evidence, members, part) for members in places.values()]

    return strata


def _single_samples(evidence: Evidence, members: list[Network], part: str) -> StratumResult:
    run = [network for network in members if network.runs]
    spectra = [s for network in run for s in _spectra(evidence, network) if s["subset_size"] == 1]
    both = sum(_has_negative(s) and max(s["eigenvalues"]) > 0 for s in spectra)
    low, high = wilson(both, max(len(spectra), 1))
    p_for = p_against = 1.0
    if spectra:
        p_for, p_against = (
            float(stats.binomtest(both, len(spectra), 0.5, alternative=side).pvalue) for side in ("greater", "less")
        )
    verdict: Decision = "inconclusive"
    if min(p_for, p_against) <= SIGNIFICANCE / 2:
        verdict = "supported" if p_for < p_against else "refuted"
    share = f"interval {low:.2f} to {high:.2f}"
    text = f"{both} of {len(spectra)} single-sample spectra of {len(run)} networks have negative values ({share})"
    first = max(run or members, key=lambda network: len(network.runs))
    p = p_against if verdict == "refuted" else p_for
    result = _counted(first, part, spectra, verdict, text, both, min(1.0, 2 * p), min(1.0, 2 * p_against))
    return replace(result, keys={k: v for k, v in result.keys.items() if k != "network"})


def _spectra(evidence: Evidence, network: Network) -> list[dict[Any, Any]]:
    """Its spectra of 20 eigenvalues (fewer where the sample has no more) on training images."""
    if not network.runs:
        return []
    trials = (str(run["trial_id"]) for run in network.runs.values())
    found = of_trials(evidence.table, "spectra", *trials, columns=_READ)
    draws = found[found["split"] == "train"].assign(draw=found["draw"].fillna(0))
    records = [s for s in draws.to_dict("records") if len(s["eigenvalues"]) >= COUNT]
    return list({(s["trial_id"], s["subset_size"], s["draw"]): s for s in records}.values())


_READ = (
    *("trial_id", "split", "subset_size", "train_size", "draw"),
    *("eigenvalues", "residuals", "tolerance", "converged", "converged_each"),
)


def _signed(spectrum: Mapping[Any, Any]) -> Iterable[tuple[float, float, bool]]:
    """(eigenvalue, its error, whether it converged), largest first."""
    values = np.asarray(spectrum["eigenvalues"], dtype=float)
    residuals = spectrum["residuals"]
    known = isinstance(residuals, list | np.ndarray) and len(residuals) == len(values)
    error = np.abs(np.asarray(residuals, dtype=float) if known else np.full(len(values), float(spectrum["tolerance"])))
    order = np.argsort(-values, kind="stable")
    scale = float(np.abs(values).max())
    for rank, k in enumerate(order):
        yield float(values[k]), float(error[k]) * scale, converged(spectrum, rank)


def _has_negative(spectrum: Mapping[Any, Any]) -> bool:
    return any(value < -error and sure for value, error, sure in _signed(spectrum))


def _all_positive(spectrum: Mapping[Any, Any]) -> bool:
    return all(value > error and sure for value, error, sure in _signed(spectrum))


def _counted(
    network: Network, part: str, spectra: list[Any], verdict: Decision, text: str, count: int, p: float, p_no: float
) -> StratumResult:
    keys = {"dataset": network.dataset, "model": network.model, "network": network.name, "part": part}
    finished = [run for run in network.runs.values() if run["status"] == "ok"]
    seeds = {s["trial_id"] for s in spectra}
    short = ""
    if len(network.runs) < MIN_SEEDS or (len(finished) == len(network.runs) and len(seeds) < MIN_SEEDS):
        verdict, short = "not run", f"spectra of {len(seeds)} seeds; needs {MIN_SEEDS}"
    elif len(finished) < MIN_FINITE_SHARE * len(network.runs) - 1e-12 or len(seeds) < MIN_FINITE_SHARE * len(finished):
        verdict, short = "inconclusive", f"{len(network.runs) - len(finished)} of {len(network.runs)} seeds diverged"
    return StratumResult(
        keys=keys,
        verdict=verdict,
        effect=float(count) if spectra else float("nan"),
        p=float("nan") if short else p,
        p_refuted=float("nan") if short else p_no,
        unit="spectra",
        text=text,
        note=short or text,
        protocol=network.protocol,
        closeness=network.closeness,
    )


def input_hessians() -> Test:
    """Is every input Hessian positive semidefinite to rounding, and its rank at most the number of classes?

    A numeric check of a theorem: each network is one, so a single seed counts; one failure refutes it.
    """

    def strata(evidence: Evidence, scope: Scope, loss: str | None) -> list[StratumResult]:
        trials = evidence.table.trials
        results = []
        for study in scope.studies:
            asked = (trials["dataset"] == study.dataset) & (trials["model"] == study.model)
            results.append(_input_hessian(study.dataset, study.model, trials[asked]))
        return results

    return strata


def _input_hessian(dataset: str, model: str, trials: pd.DataFrame) -> StratumResult:
    classes = CLASSES.get(dataset, 10)
    checked = trials[trials["psd_violation"].notna() & trials["rank_max"].notna()]
    keys = {"dataset": dataset, "model": model}
    relu = model in RELU_ONLY
    if not len(checked):
        return StratumResult(keys, "not run", note="no network's input Hessian was checked", counted=relu)
    worst, rank = float(checked["psd_violation"].max()), int(checked["rank_max"].max())
    failing = int(((checked["psd_violation"] > PSD_TOLERANCE) | (checked["rank_max"] > classes)).sum())
    text = (
        f"{len(checked) - failing} of {len(checked)} networks: largest −λmin / λmax {worst:.1g} "
        f"(at most {PSD_TOLERANCE:g} is rounding), largest rank {rank} of at most {classes}"
    )
    note = text if relu else f"{text}; not counted: batch normalisation is outside Assumption 1"
    protocol = f"{len(checked)} networks, epochs {', '.join(sorted({f'{e:,}' for e in checked['epochs']}))}"
    return StratumResult(
        keys=keys,
        verdict="refuted" if failing else "supported",
        effect=worst,
        p=0.0,
        p_refuted=0.0 if failing else 1.0,
        unit="relative eigenvalue",
        text=text,
        note=note,
        protocol=protocol,
        counted=relu,
    )
