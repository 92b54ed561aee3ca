"""Tests on networks before and after adversarial training: Yao et al. 2018, sections 3.3 and 3.4."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from analysis.claims.claim import Test
from analysis.claims.evidence import Evidence
from analysis.claims.measures import CLEAN_DELTA
from analysis.claims.sweeps import LEFT_OUT, Scope, Setting
from analysis.claims.verdict import StratumResult
from analysis.statistics.estimates import Finding
from analysis.statistics.intervals import clopper_pearson, logit_accuracy
from analysis.statistics.sample_tests import difference_by_seed
from analysis.statistics.thresholds import FLOOR, UNTRAINED, ZERO_GRADIENT
from analysis.tables.robust_networks import ORIGINAL, Network, answers, networks
from search_spaces.large_batch import METHODS, SUBSET

Answer = Mapping[Any, Any] | None
Pair = tuple[float, float]
"""A measurement in the unit of the effect, and on the linear scale."""

NOT_MEASURED: Pair = (float("nan"), float("nan"))
ROBUST_DELTA = 3.0
SECOND_ORDER = {"fhsm": "fgsm", "l2hess": "l2grad"}
"""Second-order attack -> the first-order one in the same norm (Table 5)."""


@dataclass(frozen=True)
class Section33(Scope):
    """The curves of M_ORI and of the networks that adversarial training made of it."""

    def holds(self, curve: Mapping[str, object]) -> bool:
        """Whether the curve of these keys is one of them."""
        named = self.study(curve["dataset"], curve["model"]) is not None and curve["target_loss"] is None
        plain = {"optimizer": "sgd", "weight_decay": 0.0}.items() <= curve.items()
        return named and plain and Setting.of(curve) in self.settings


def helps_against_every_attack(*, part: str) -> Test:
    """DF: on the images that each attack made of M_ORI (Tables 3 and 4), is the child right more often than M_ORI?

    The same attacks on the child's own weights stand beside it, not counted: the tables transfer.
    """

    def strata(evidence: Evidence, scope: Scope, loss: str | None) -> list[StratumResult]:
        own = answers(evidence.table, "attacks", loss=loss)
        transferred = answers(evidence.table, "transfers", loss=loss)
        results = []
        for network in _children(evidence):
            for attack in METHODS:
                keys = _keys(network) | {"measure": f"against {attack}", "part": part}
                results.append(_attacked(network, keys, attack, transferred, own))
                beside = _attacked(network, keys | {"images": "white-box"}, attack, own, own)
                note = f"{beside.note}; not counted: white-box, Tables 3 and 4 transfer"
                results.append(replace(beside, counted=False, note=note))
        return results

    return strata


def _attacked(
    network: Network,
    keys: Mapping[str, object],
    attack: str,
    after: Mapping[tuple[str, str], Answer],
    before: Mapping[tuple[str, str], Answer],
) -> StratumResult:
    def pair(run: Mapping[Any, Any], parent: Mapping[Any, Any]) -> tuple[Answer, Answer]:
        return after.get((run["trial_id"], attack)), before.get((parent["trial_id"], attack))

    return _compare(network, keys, pair, claimed=1, delta=ROBUST_DELTA)


def costs_clean_accuracy(*, part: str) -> Test:
    """DF: is the child right less often than M_ORI on the clean test set?"""

    def strata(evidence: Evidence, scope: Scope, loss: str | None) -> list[StratumResult]:
        results = []
        for network in _children(evidence):
            delta = CLEAN_DELTA.get(network.dataset, 1.0)
            keys = _keys(network) | {"measure": "clean", "part": part}
            values = {seed: (_clean(run), _clean(network.parents.get(seed))) for seed, run in network.runs.items()}
            results.append(_result(network, keys, values, claimed=-1, delta=delta, unit="points", flags=()))
        return results

    return strata


def _clean(run: Mapping[Any, Any] | None) -> Pair | None:
    if run is None or (run["status"] == "ok" and not np.isfinite(float(run["test_acc"]))):
        return None
    if run["status"] != "ok":
        return NOT_MEASURED
    n = float(run["test_size"])
    return 100 * float(run["test_acc"]), float(logit_accuracy(round(float(run["test_acc"]) * n), n))


def flattens(*sizes: str) -> Test:
    """DF of log2 lambda1: is the training Hessian's top eigenvalue lower than M_ORI's, on each of these samples?

    `whole` is the whole training set, `subset` the 320 images of B_H = 320 (the same ones for both networks).
    """

    def strata(evidence: Evidence, scope: Scope, loss: str | None) -> list[StratumResult]:
        tops = _top_eigenvalues(evidence)
        results = []
        for network in _children(evidence):
            for size in sizes:
                values = {
                    seed: (_log2(run, tops, size), _log2(network.parents.get(seed), tops, size))
                    for seed, run in network.runs.items()
                }
                loose = any(
                    not tops[one["trial_id"], size][1]
                    for one in (*network.runs.values(), *network.parents.values())
                    if (one["trial_id"], size) in tops
                )
                keys = _keys(network) | {"measure": "lambda1" if size == "whole" else f"lambda1 of {SUBSET} images"}
                flags = ("eigenvalue not converged",) if loose else ()
                results.append(_result(network, keys, values, claimed=-1, delta=1.0, unit="doublings", flags=flags))
        return results

    return strata


def _top_eigenvalues(evidence: Evidence) -> dict[tuple[str, str], tuple[float, bool]]:
    """(trial id, sample) -> largest eigenvalue of the training Hessian there, and whether it converged."""
    spectra = evidence.table.spectra
    found: dict[tuple[str, str], tuple[float, bool]] = {}
    columns = ["trial_id", "train_size", "subset_size", "eigenvalues", "converged", "converged_each"]
    for entry in spectra.loc[spectra["split"] == "train", columns].to_dict("records"):
        size = {int(entry["train_size"]): "whole", SUBSET: "subset"}.get(int(entry["subset_size"]))
        if size and len(entry["eigenvalues"]):
            key = (str(entry["trial_id"]), size)
            each = entry["converged_each"]
            sure = bool(entry["converged"]) or (each is not None and len(each) > 0 and bool(each[0]))
            found[key] = (float(max(entry["eigenvalues"])), sure or found.get(key, (0.0, False))[1])
    return found


def _log2(run: Mapping[Any, Any] | None, tops: Mapping[tuple[str, str], tuple[float, bool]], size: str) -> Pair | None:
    if run is not None and run["status"] != "ok":
        return NOT_MEASURED
    if run is None or (run["trial_id"], size) not in tops:
        return None
    value, _ = tops[run["trial_id"], size]
    return (float(np.log2(value)),) * 2 if value > 0 else NOT_MEASURED


def second_order_is_weaker() -> Test:
    """DF: on one network of CIFAR-10, does it stay right more often under the second-order attack of a norm?

    Table 4: of children on the images made of M_ORI, of M_ORI on its own. "Weaker" is a direction and decides alone
    (delta 0): the table's own gaps go down to 1.1 points. White-box attacks on the children stand beside, not counted.
    """

    def strata(evidence: Evidence, scope: Scope, loss: str | None) -> list[StratumResult]:
        own = answers(evidence.table, "attacks", loss=loss)
        transferred = answers(evidence.table, "transfers", loss=loss)
        results = []
        for network in networks(evidence.table):
            if network.dataset != "cifar10":
                continue
            for second, first in SECOND_ORDER.items():
                keys = _keys(network) | {"measure": f"{second} against {first}"}
                of_table = own if network.method == ORIGINAL else transferred
                results.append(_orders(network, keys, of_table, second, first))
                if network.method != ORIGINAL:
                    beside = _orders(network, keys | {"images": "white-box"}, own, second, first)
                    results.append(replace(beside, counted=False, note=f"{beside.note}; not counted: white-box"))
        return results

    return strata


def _orders(
    network: Network, keys: Mapping[str, object], of: Mapping[tuple[str, str], Answer], second: str, first: str
) -> StratumResult:
    def pair(run: Mapping[Any, Any], parent: Mapping[Any, Any]) -> tuple[Answer, Answer]:
        return of.get((run["trial_id"], second)), of.get((run["trial_id"], first))

    return _compare(network, keys, pair, claimed=1, delta=0.0)


def _children(evidence: Evidence) -> list[Network]:
    return [network for network in networks(evidence.table) if network.method != ORIGINAL]


def _keys(network: Network) -> dict[str, object]:
    return {"dataset": network.dataset, "model": network.model, "network": network.name}


def _compare(
    network: Network,
    keys: Mapping[str, object],
    pair: Callable[[Mapping[Any, Any], Mapping[Any, Any]], tuple[Answer, Answer]],
    *,
    claimed: int,
    delta: float,
) -> StratumResult:
    """Two attack answers a seed, the first less the second."""
    values: dict[int, tuple[Pair | None, Pair | None]] = {}
    firsts, seconds = [], []
    for seed, run in network.runs.items():
        parent = network.parents.get(seed)
        if parent is None:
            continue
        if run["status"] != "ok" or parent["status"] != "ok":
            values[seed] = NOT_MEASURED, NOT_MEASURED
            continue
        first, second = pair(run, parent)
        values[seed] = _accuracy(first), _accuracy(second)
        firsts += [first] if first else []
        seconds += [second] if second else []
    flags = list(_flags(firsts, seconds))
    return _result(network, keys, values, claimed=claimed, delta=delta, unit="points", flags=flags)


def _accuracy(answer: Answer) -> Pair | None:
    if answer is None:
        return None
    correct, n = float(answer["correct"]), float(answer["n"])
    return 100 * correct / n, float(logit_accuracy(correct, n))


def _flags(firsts: Sequence[Mapping[Any, Any]], seconds: Sequence[Mapping[Any, Any]]) -> Iterable[str]:
    if firsts and seconds and all(_at_floor(arm) for arm in (firsts, seconds)):
        yield "floor"  # two accuracies of nothing do not differ, whatever the networks learned
    shares = [float(a["zero_grad_fraction"]) for a in (*firsts, *seconds) if a["zero_grad_fraction"] is not None]
    if any(share > ZERO_GRADIENT for share in shares):
        yield "suspect"


def _at_floor(arm: Sequence[Mapping[Any, Any]]) -> bool:
    correct, n = (sum(float(a[name]) for a in arm) for name in ("correct", "n"))
    return bool(clopper_pearson(correct, n).high < FLOOR)


def _result(
    network: Network,
    keys: Mapping[str, object],
    values: Mapping[int, tuple[Pair | None, Pair | None]],
    *,
    claimed: int,
    delta: float,
    unit: str,
    flags: Sequence[str],
) -> StratumResult:
    pairs = [(a, b) for a, b in values.values() if a is not None and b is not None]
    differences = np.array([[a[k] - b[k] for k in (0, 1)] for a, b in pairs], dtype=float).reshape(-1, 2)
    finding = difference_by_seed(differences[:, 0], differences[:, 1], claimed=claimed, delta=delta)
    clean = [float(run["test_acc"]) for run in network.runs.values() if run["status"] == "ok"]
    left_out = [*flags, *(["untrained"] if clean and np.mean(clean) <= UNTRAINED else [])]
    note = finding.reason
    if left_out and finding.verdict != "not run":
        reason = ", ".join(LEFT_OUT.get(flag, flag) for flag in left_out)
        note = f"{reason}; with them: {finding.verdict}"
        finding = replace(finding, verdict="inconclusive", p_supported=float("nan"), p_refuted=float("nan"))
    return StratumResult(
        keys=keys,
        verdict=finding.verdict,
        effect=finding.effect,
        low=finding.low,
        high=finding.high,
        p=finding.p,
        p_refuted=finding.p_refuted,
        unit=unit,
        text=_words(finding, unit),
        note=note,
        protocol=network.protocol,
        closeness=network.closeness,
    )


def _words(finding: Finding, unit: str) -> str:
    if not np.isfinite(finding.effect):
        return "not measured"
    effect, low, high = (
        f"x{2.0**one:.2g}" if unit == "doublings" else f"{one:+.1f} points"
        for one in (finding.effect, finding.low, finding.high)
    )
    return f"mean difference {effect} (95 % interval {low} to {high})"
