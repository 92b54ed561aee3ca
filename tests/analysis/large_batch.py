"""Rows of a large-batch study (Yao et al. 2018) with planted truths: networks trained to a loss, and robust ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from search_spaces.large_batch import (
    ADVERSARIAL_EPSILON,
    BATCH_SIZES,
    COUNT,
    EPSILONS,
    LARGE_BATCH,
    METHODS,
    NATURAL,
    SUBSET,
)
from search_spaces.trial import Trial
from study.results.schema import Row
from tests.analysis.synthetic import Curve, flat, line, row

Accuracy = Callable[[str, float], float]
"""(attack, doublings of the batch size from 16) -> planted accuracy at the data set's middle epsilon."""


CLEAN, RISING, FOURFOLD = flat(0.985), line(1.0, 0.8), flat(2.0)


def falling(attack: str, doublings: float) -> float:
    return 0.8 - 0.04 * doublings


def level(attack: str, doublings: float) -> float:
    return 0.6


def to_the_loss(
    *,
    dataset: str = "mnist",
    model: str = "m1",
    batch_sizes: tuple[int, ...] = (),
    seeds: tuple[int, ...] = (0, 1, 2),
    clean: Curve = CLEAN,
    accuracy: Accuracy = falling,
    log2_lambda1: Curve = RISING,
    log2_ratio: Curve = FOURFOLD,
    noise: float = 0.003,
    diverged: tuple[int, ...] = (),
    unreached: tuple[int, ...] = (),
    train_size: int | None = None,
    rng: np.random.Generator | None = None,
) -> list[Row]:
    """Section 3.1: one curve of networks trained to a loss, at the paper's batch sizes unless told otherwise."""
    rng = rng or np.random.default_rng(5)
    base = next(t for t in NATURAL if (t.dataset, t.model) == (dataset, model))
    rows, shift = [], (0.1, 0.0, -0.1)
    for batch_size in batch_sizes or BATCH_SIZES[model]:
        doublings = float(np.log2(batch_size / 16))
        inputs = float(rng.normal())
        for seed in seeds:
            one = replace(base, batch_size=batch_size, seed=seed, train_size=train_size or base.train_size)
            log2 = log2_lambda1(doublings) + 0.05 * rng.normal()
            status = "diverged" if batch_size in diverged else "ok"
            made = row(
                one,
                clean=min(1.0, clean(doublings) + noise / 3 * rng.normal()),
                attacks={},
                log2_lambda1=log2,
                spaces=("large_batch",),
                status=status,
            )
            rows.append(made)
            if status != "ok":
                continue
            lambda1 = 2.0**log2
            test = lambda1 * 2.0 ** (log2_ratio(doublings) + 0.05 * rng.normal())
            made |= {
                "reached_target": batch_size not in unreached,
                "epochs_done": 30,
                "train_acc": 1.0,
                "lambda1_test": test,
                "lambda1_x_test": 2.0 ** (inputs + 0.02 * rng.normal()),
                "grad_x_norm_test": 2.0 ** (inputs - 3 + 0.02 * rng.normal()),
                "lambda1_x_train": 0.1,
                "grad_x_norm_train": 0.01,
                "psd_violation": 1e-15,
                "rank_max": 9,
            }
            made["spectra"] = [
                spectrum("train", one.train_size, decaying(lambda1)),
                spectrum("test", one.test_size, decaying(test)),
            ]
            made["attacks"] = [
                attack(name, loss, split, epsilon, accuracy(name, doublings) + shift[k] + noise * rng.normal(), one)
                for name in ("fgsm", "fgsm10")
                for loss in ("ce", "stable")
                for split in ("train", "test")
                for k, epsilon in enumerate(EPSILONS[dataset])
            ]
    return rows


def decaying(lambda1: float) -> list[float]:
    return [lambda1 * 0.85**k for k in range(COUNT)]


def spectrum(split: str, size: int, eigenvalues: list[float], *, draw: int = 0) -> Row:
    return {
        "split": split,
        "subset_size": size,
        "draw": draw,
        "eigenvalues": eigenvalues,
        "residuals": [1e-5] * len(eigenvalues),
        "method": "lanczos",
        "tolerance": 1e-4,
        "matvecs": 90,
        "converged": True,
        "converged_each": [True] * len(eigenvalues),
        "seconds": 9.0,
    }


def attack(
    name: str, loss: str, split: str, epsilon: float, accuracy: float, trial: Trial, *, source: str = "self"
) -> Row:
    n = trial.test_size if split == "test" else trial.train_size
    correct = round(min(max(accuracy, 0.0), 1.0) * n)
    newton = name in ("fhsm", "l2hess")
    return {
        "attack": name,
        "loss": loss,
        "split": split,
        "source": source,
        "epsilon": epsilon,
        "norm": "l2" if name.startswith("l2") else "linf",
        "steps": 10 if name == "fgsm10" else 1,
        "newton_steps": 10 if newton else None,
        "newton_tolerance": 0.1 if newton else None,
        "n": n,
        "correct": correct,
        "accuracy": correct / n,
        "zero_grad_fraction": 0.0,
        "saturated_fraction": 0.0,
        "seconds": 1.0,
    }


def robust(
    *,
    dataset: str = "mnist",
    model: str = "m1",
    seeds: tuple[int, ...] = (0, 1, 2),
    methods: Iterable[str] = METHODS,
    original: Mapping[str, float] | None = None,
    transferred: Mapping[str, float] | None = None,
    white_box: Mapping[str, float] | None = None,
    clean: tuple[float, float] = (0.99, 0.97),
    log2_lambda1: tuple[float, float] = (6.0, 2.0),
    single: tuple[float, ...] = (),
    whole: tuple[float, ...] = (),
    noise: float = 0.003,
    status: str = "ok",
    rng: np.random.Generator | None = None,
) -> list[Row]:
    """Section 3.3: M_ORI and its adversarially trained children. Pairs are (M_ORI, child).

    Accuracies by attack default to .3 (M_ORI), .8 (children, transfer) and .6 (children, white-box). `single`,
    `whole`: eigenvalues of the Hessian on one sample and on the whole training set (defaults: both signs; positive).
    """
    rng = rng or np.random.default_rng(6)
    cells = [c for curve in LARGE_BATCH.curves for c in curve.cells if c.target_loss is None]
    cells = [c for c in cells if (c.dataset, c.model) == (dataset, model)]
    rows = []
    for cell in cells:
        child = cell.parent is not None
        if child and cell.adversarial_training not in methods:
            continue
        for seed in seeds:
            one = cell.with_seed(seed)
            log2 = log2_lambda1[child] + 0.05 * rng.normal()
            made = row(
                one,
                clean=min(1.0, clean[child] + noise / 3 * rng.normal()),
                attacks={},
                log2_lambda1=log2,
                regimes=("adversarial",) if child else ("benchmark",),
                spaces=("large_batch",),
                status=status if child else "ok",
            )
            rows.append(made)
            if made["status"] != "ok":
                continue
            own = (white_box if child else original) or {}
            answers = [("self", own, 0.6 if child else 0.3)]
            answers += [("parent", transferred or {}, 0.8)] if child else []
            made["attacks"] = [
                attack(name, loss, "test", ADVERSARIAL_EPSILON[dataset],
                       planted.get(name, usual) + noise * rng.normal(), one, source=source)
                for source, planted, usual in answers
                for name in METHODS
                for loss in ("ce", "stable")
            ]  # fmt: skip
            lambda1 = 2.0**log2
            ordered = list(single) or [lambda1 * 0.7**k * (-1) ** k for k in range(COUNT)]
            made["spectra"] = [
                spectrum("train", one.train_size, list(whole) or decaying(lambda1)),
                spectrum("test", one.test_size, decaying(4 * lambda1)),
                spectrum("train", SUBSET, decaying(1.2 * lambda1)),
                *(spectrum("train", 1, ordered, draw=draw) for draw in (0, 1)),
            ]
            made |= {"psd_violation": 1e-15, "rank_max": 9}
    return rows


def changed(rows: Iterable[Row], **columns: Any) -> list[Row]:
    """The rows with columns overwritten."""
    return [one | columns for one in rows]


def with_landscapes(rows: Iterable[Row], *, points: int = 21) -> tuple[list[Row], dict[str, dict[str, Any]]]:
    """The rows with bowls around their weights (curvature lambda1), and the arrays that go beside them, by trial."""
    out, stored = [], {}
    for one in rows:
        lambda1 = one["lambda1_train"]
        if lambda1 is None:
            out.append(one)
            continue
        child, arrays, entries = one["parent"] is not None, {}, []
        far = np.linspace(-1.0, 1.0, points)
        surfaces = (("train", one["train_size"], 1.0), ("test", one["test_size"], 4.0), ("train", SUBSET, 1.3))
        kinds = ["line", *(["interpolation"] if child else []), *(["plane"] if one["target_loss"] is not None else [])]
        for kind in kinds:
            for split, size, scale in surfaces:
                if kind != "line" and size == SUBSET:
                    continue
                offsets = np.linspace(0.0, 1.0, points) if kind == "interpolation" else far
                away = offsets - (1.0 if kind == "interpolation" else 0.0)
                bowl = 0.001 * scale + 0.5 * scale * lambda1 * away**2
                losses = bowl[:, None] + 0.4 * bowl[None, :] if kind == "plane" else bowl
                name = f"{kind}_{split}_{size}"
                arrays |= {f"{name}_offsets": offsets, f"{name}_losses": losses}
                whole = 0 if kind == "interpolation" else (SUBSET if one["target_loss"] is None else one["train_size"])
                entries.append(
                    {
                        "kind": kind, "split": split, "subset_size": size, "hessian_size": whole,
                        "offsets": f"{name}_offsets", "losses": f"{name}_losses", "seconds": 1.0,
                    }
                )  # fmt: skip
        stored[one["trial_id"]] = arrays
        out.append(one | {"landscapes": entries})
    return out, stored
