"""Trial rows with planted truths: what a study would have stored had the world been like this."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from search_spaces import HEADLINE_EPSILON, Planned, Trial
from study.results.schema import SCHEMA_VERSION, Row, empty_row

Curve = Callable[[float], float]
"""A planted mean as a function of log2(batch size / 16)."""


def flat(level: float) -> Curve:
    return lambda doublings: level


CLEAN, FGSM, PGD, LOG2_LAMBDA1 = flat(0.99), flat(0.4), flat(0.2), flat(3.0)


def line(start: float, slope: float) -> Curve:
    """`start` at batch 16, changing by `slope` per doubling."""
    return lambda doublings: start + slope * doublings


def row(
    trial: Trial,
    *,
    clean: float,
    attacks: dict[tuple[str, str], float],
    log2_lambda1: float,
    regimes: tuple[str, ...] = ("lr",),
    spaces: tuple[str, ...] = ("natural_training",),
    status: str = "ok",
) -> Row:
    """One trial's row; `attacks` maps (attack, loss) to adversarial accuracy at the data set's headline epsilon."""
    base = empty_row() | trial.to_dict()
    base |= {
        "schema_version": SCHEMA_VERSION,
        "trial_id": trial.trial_id,
        "cell_id": trial.cell_id,
        "spaces": list(spaces),
        "regimes": list(regimes),
        "status": status,
        "lr_bs_ratio": trial.lr_bs_ratio,
        "versions": '{"torch": "2.15.0"}',
        "device": "cpu",
    }
    if status != "ok":
        return base | {"status_reason": "planted", "epochs_done": 3}
    epsilon = HEADLINE_EPSILON.get(trial.dataset, 0.3)
    lambda1 = float(2.0**log2_lambda1)
    base |= {
        "epochs_done": trial.epochs,
        "train_loss": 0.05,
        "train_acc": min(1.0, clean + 0.005),
        "val_acc": clean,
        "test_loss": 0.07,
        "test_acc": round(clean * trial.test_size) / trial.test_size,
        "weight_norm": 10.0,
        "n_params": 506_050,
        "lambda1_train": lambda1,
        "lambda1_test": lambda1 * 1.05,
    }
    base["attacks"] = [_attack(name, loss, epsilon, accuracy, trial) for (name, loss), accuracy in attacks.items()]
    for (name, loss), _ in attacks.items():
        found = next(a for a in base["attacks"] if (a["attack"], a["loss"]) == (name, loss))
        base[f"{name}_acc" + ("_stable" if loss == "stable" else "")] = found["accuracy"]
    base["spectra"] = [
        _spectrum("train", trial.train_size, lambda1),
        _spectrum("test", trial.test_size, lambda1 * 1.05),
    ]
    return base


def _attack(name: str, loss: str, epsilon: float, accuracy: float, trial: Trial) -> Row:
    n = trial.test_size
    correct = round(min(max(accuracy, 0.0), 1.0) * n)
    kept = np.zeros(n, dtype=bool)
    kept[:correct] = True
    np.random.default_rng(trial.seed + 7 * trial.batch_size).shuffle(kept)
    pgd = name == "pgd"
    return {
        "attack": name,
        "loss": loss,
        "split": "test",
        "source": "self",
        "epsilon": epsilon,
        "norm": "linf",
        "steps": 40 if pgd else 1,
        "step_size": epsilon / 30 if pgd else epsilon,
        "random_start": pgd,
        "n": n,
        "correct": correct,
        "accuracy": correct / n,
        "zero_grad_fraction": 0.0,
        "saturated_fraction": 0.0,
        "seconds": 1.0,
        "correct_bits": np.packbits(kept).tobytes(),
    }


def _spectrum(split: str, size: int, lambda1: float) -> Row:
    return {
        "split": split,
        "subset_size": size,
        "draw": 0,
        "eigenvalues": [lambda1],
        "residuals": [1e-3],
        "method": "lanczos",
        "tolerance": 3e-3,
        "matvecs": 9,
        "converged": True,
        "converged_each": [True],
        "seconds": 2.0,
    }


def trial(
    *,
    dataset: str = "mnist",
    model: str = "m1_20",
    batch_size: int = 64,
    regime: str = "lr",
    momentum: float = 0.0,
    seed: int = 0,
    epochs: int = 100,
    test_size: int = 10_000,
) -> Trial:
    """A trial of the natural-training study under `regime`."""
    return Trial(
        dataset=dataset,
        model=model,
        learning_rate=0.00015625 * batch_size if regime == "lr_bs" else 0.01,
        batch_size=batch_size,
        epochs=epochs,
        train_size=55_000,
        val_size=5_000,
        test_size=test_size,
        seed=seed,
        momentum=0.9 if regime == "benchmark" else momentum,
        schedule="halve_every_5" if regime == "benchmark" else "constant",
    )


def curve_rows(
    *,
    regime: str = "lr",
    dataset: str = "mnist",
    model: str = "m1_20",
    momentum: float = 0.0,
    batch_sizes: tuple[int, ...] = (16, 32, 64, 128, 256, 512, 1024),
    seeds: tuple[int, ...] = (0, 1, 2),
    clean: Curve = CLEAN,
    fgsm: Curve = FGSM,
    pgd: Curve = PGD,
    log2_lambda1: Curve = LOG2_LAMBDA1,
    noise: float = 0.003,
    lambda_noise: float = 0.05,
    rng: np.random.Generator | None = None,
    diverged: tuple[int, ...] = (),
    epochs: int = 100,
    test_size: int = 10_000,
) -> list[Row]:
    """The rows of one curve: planted means along the batch size plus independent seed noise.

    `noise` is the standard deviation of accuracies (fraction), `lambda_noise` that of log2(lambda1).
    The stable loss sees the same adversarial accuracy as `ce`. Batch sizes in `diverged` diverged for every seed.
    """
    rng = rng or np.random.default_rng(0)
    rows = []
    for batch_size in batch_sizes:
        doublings = float(np.log2(batch_size / 16))
        for seed in seeds:
            one = trial(
                dataset=dataset, model=model, batch_size=batch_size, regime=regime, momentum=momentum, seed=seed,
                epochs=epochs, test_size=test_size,
            )  # fmt: skip
            draws = {
                "fgsm": fgsm(doublings) + noise * rng.normal(),
                "pgd": pgd(doublings) + noise * rng.normal(),
            }
            rows.append(
                row(
                    one,
                    clean=min(1.0, clean(doublings) + noise / 3 * rng.normal()),
                    attacks={(name, loss): draws[name] for name in draws for loss in ("ce", "stable")},
                    log2_lambda1=log2_lambda1(doublings) + lambda_noise * rng.normal(),
                    regimes=("lr", "lr_bs") if batch_size == 64 and regime in ("lr", "lr_bs") else (regime,),
                    status="diverged" if batch_size in diverged else "ok",
                )
            )
    return rows


def planned(rows: list[Row], trials: list[Trial]) -> dict[str, Planned]:
    """A grid in which `trials` were planned with the labels that `rows` carry (missing ones get `lr`)."""
    labels = {r["trial_id"]: tuple(r["regimes"]) for r in rows}
    return {t.trial_id: Planned(t, frozenset(), ("natural_training",), labels.get(t.trial_id, ("lr",))) for t in trials}
