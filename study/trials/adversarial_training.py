"""Adversarial training: the attack that replaces a trial's minibatches."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from search_spaces import Trial
from study.attacks import ATTACKS
from study.attacks.losses import LOSSES
from study.training.loop import Perturb


def adversary(trial: Trial) -> Perturb | None:
    """What makes a minibatch adversarial, on the loss that the papers attacked; None for natural training.

    Source: Yao et al. 2018 (arXiv:1802.08241), section 3.3.

    Raises:
        ValueError: the trial names an attack that does not exist.
    """
    if trial.adversarial_training == "none":
        return None
    if trial.adversarial_training not in ATTACKS:
        raise ValueError(f"unknown attack {trial.adversarial_training!r}; valid: {', '.join(ATTACKS)}")
    run, epsilon, loss = ATTACKS[trial.adversarial_training].run, trial.adversarial_epsilon, LOSSES["ce"]

    def perturb(model: nn.Module, x: Tensor, y: Tensor, starts: torch.Generator) -> Tensor:
        return run(model, x, y, epsilon=epsilon, loss=loss, generator=starts)

    return perturb
