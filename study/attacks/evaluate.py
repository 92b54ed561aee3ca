"""Accuracy of a model on a whole split under one attack."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from study.arithmetic import full_precision
from study.attacks import ATTACKS
from study.attacks.inputs import PROBE_SIZE, check_epsilon, check_split
from study.attacks.losses import LOSSES, forward_backward
from study.attacks.spec import AttackSpec
from study.autograd import graph_bytes
from study.pixels import as_pixels, batches, scaled_count


@dataclass(frozen=True)
class BatchLimits:
    """How many images to attack at a time: as many as have a graph of `graph_bytes`, from `least` to `most`.

    Of images larger than CIFAR-10's `least` is smaller (`study.pixels.scaled_count`).
    """

    least: int
    most: int
    graph_bytes: int

    def images(self, bytes_per_image: int, x: Tensor) -> int:
        """The number of images like x (n, ...) whose graphs have so many bytes each."""
        return min(self.most, max(scaled_count(self.least, x), self.graph_bytes // bytes_per_image))


ON_CPU = BatchLimits(least=16, most=256, graph_bytes=2**23)
"""Activations of 8 MiB stay in a core's cache, and the allocator keeps their memory. With 512 images of stdcnn every
step returns its memory to the system and faults it in again: a PGD step takes 1.5 to 1.9 times as long."""

ON_GPU = BatchLimits(least=512, most=4096, graph_bytes=2**30)
"""There every pass costs kernel launches."""

Entry = TypeVar("Entry")


@dataclass(frozen=True)
class CleanGradient:
    """The loss's input gradient on the images before any attack, which shows how far attacks with it can be trusted.

    Attributes:
        zero_fraction: share of images whose input gradient is exactly 0 in every pixel, so that FGSM cannot move them.
        saturated_fraction: share of images whose softmax probability of the true class rounds to 1 in float32, where
            the gradient of the float32 cross-entropy is rounding noise or 0.
    """

    zero_fraction: float
    saturated_fraction: float


@dataclass(frozen=True)
class AttackResult:
    """One attack on one split, with the settings it ran with.

    Attributes:
        attack, loss: names in ATTACKS and LOSSES.
        epsilon: radius of the max-norm ball, or root mean square of the pixels of an L2 perturbation.
        radius: radius of the ball in its norm, in pixel units: epsilon for linf, epsilon sqrt(pixels) for l2.
        norm, steps, step_size, random_start: as in `AttackSpec`, step_size at this epsilon.
        newton_steps, newton_tolerance: settings of the second-order attacks; None for the others.
        n: number of images attacked.
        correct: number of images still classified correctly.
        accuracy: correct / n, 0 to 1.
        zero_grad_fraction, saturated_fraction: see `CleanGradient`, measured on the network that was attacked.
        seconds: wall-clock time of the attack and of scoring it, without the checks and the clean gradient.
        correct_bits: one bit an image in data order, 1 for correct, most significant bit first, padded with 0
            to whole bytes: `numpy.unpackbits(numpy.frombuffer(correct_bits, "uint8"), count=n)`.
    """

    attack: str
    loss: str
    epsilon: float
    radius: float
    norm: str
    steps: int
    step_size: float
    random_start: bool
    newton_steps: int | None
    newton_tolerance: float | None
    n: int
    correct: int
    accuracy: float
    zero_grad_fraction: float
    saturated_fraction: float
    seconds: float
    correct_bits: bytes


@full_precision()
def attack_split(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    attack: str,
    loss: str,
    epsilon: float,
    generator: torch.Generator,
    batch_size: int | None = None,
    clean_gradient: CleanGradient | None = None,
    source: nn.Module | None = None,
    settings: Mapping[str, float] | None = None,
) -> AttackResult:
    """Attack every image of a split with the true label and score the model on the result.

    With a `source` it is a transfer attack: the images are made to fool the source and the model is scored on them, as
    in Yao et al. 2018 (arXiv:1802.08241), Tables 3 and 4.

    Args:
        model: in eval mode, maps pixels in [0, 1] to logits (n, classes). Batches are moved to its device and dtype.
        x: images (n, ...), uint8 in 0..255 or floating point in [0, 1].
        y: true classes (n,), int64.
        attack: a name in ATTACKS.
        loss: a name in LOSSES.
        epsilon: radius of the ball in pixel units, in (0, 1].
        generator: draws random starts in data order. With a CPU generator the draws do not depend on `batch_size`.
        batch_size: images attacked at a time; default: `images_at_once`.
        clean_gradient: the result of `measure_clean_gradient` for the attacked network, split and loss. It is the same
            for every attack and epsilon, so measure it once if there are several; None measures it here, with one
            gradient for each image.
        source: the network that is attacked, in eval mode; None for the model itself.
        settings: keywords of this attack that differ from their defaults in `AttackSpec.settings`.

    Raises:
        ValueError: unknown attack, loss or setting, or an attack that follows another loss; batch_size below 1;
            epsilon, images, labels, model or source refused by `study.attacks.inputs`; logits that are not finite on
            some adversarial image.
    """
    spec, used = _resolved(attack, loss, settings or {})
    run = partial(spec.run, **used, epsilon=epsilon, loss=LOSSES[loss], generator=generator)
    check_epsilon(epsilon)
    check_split(model, x, y)
    attacked = model
    if source is not None:
        check_split(source, x, y)
        attacked = source
    if batch_size is None:
        batch_size = images_at_once(attacked, x, y)
    if clean_gradient is None:
        clean_gradient = measure_clean_gradient(attacked, x, y, loss=loss, batch_size=batch_size)

    started = time.perf_counter()
    correct_batches, finite_batches = [], []
    for pixels, labels in batches(attacked, x, y, batch_size):
        adversarial = run(attacked, pixels, labels)
        with torch.no_grad():
            logits = model(as_pixels(model, adversarial))
        correct_batches.append(logits.argmax(dim=1) == labels.to(logits.device))
        finite_batches.append(logits.isfinite().all())
    correct = torch.cat(correct_batches).cpu()
    seconds = time.perf_counter() - started

    if not bool(torch.stack(finite_batches).all()):
        raise ValueError(f"{attack} met logits that are not finite: the weights have diverged, there is no accuracy")
    n_correct = int(correct.sum())
    steps = used.get("steps", spec.steps)
    return AttackResult(
        attack=attack,
        loss=loss,
        epsilon=epsilon,
        radius=spec.radius(epsilon, x[0].numel()),
        norm=spec.norm,
        steps=steps,
        step_size=spec.step_size(epsilon, steps),
        random_start=spec.random_start,
        newton_steps=used.get("newton_steps"),
        newton_tolerance=used.get("newton_tolerance"),
        n=len(y),
        correct=n_correct,
        accuracy=n_correct / len(y),
        zero_grad_fraction=clean_gradient.zero_fraction,
        saturated_fraction=clean_gradient.saturated_fraction,
        seconds=seconds,
        correct_bits=np.packbits(correct.numpy()).tobytes(),
    )


def _resolved(attack: str, loss: str, settings: Mapping[str, float]) -> tuple[AttackSpec, dict[str, Any]]:
    """An attack with all its settings; ValueError for names, settings or a loss that it does not have."""
    spec = _named(ATTACKS, "attack", attack)
    used: dict[str, Any] = {**spec.settings, **settings}
    if unknown := [name for name in used if name not in spec.settings]:
        taken = f"only {', '.join(spec.settings)}" if spec.settings else "no settings"
        raise ValueError(f"{attack} takes {taken}, not {', '.join(unknown)}: leave out what it does not take")
    _named(LOSSES, "loss", loss)
    if spec.loss and loss != spec.loss:
        raise ValueError(f"{attack} follows a loss of its own: pass loss={spec.loss!r}, not {loss!r}")
    return spec, used


def images_at_once(model: nn.Module, x: Tensor, y: Tensor) -> int:
    """Images in a batch on the model's device, see `ON_CPU` and `ON_GPU`: images (n, ...), labels (n,)."""
    few = as_pixels(model, x[:PROBE_SIZE])
    limits = ON_CPU if few.device.type == "cpu" else ON_GPU
    return limits.images(bytes_per_image(model, few, y[:PROBE_SIZE]), x)


def bytes_per_image(model: nn.Module, pixels: Tensor, y: Tensor) -> int:
    """Bytes of the autograd graph of one image's loss, averaged over a few images: pixels (n, ...), labels (n,)."""
    few = pixels.detach().clone().requires_grad_()  # a slice of many images would count with all of their storage
    with torch.enable_grad():
        value = LOSSES["ce"](model(few), y.to(pixels.device)).sum()
    return max(1, graph_bytes([value], besides=[*model.parameters(), *model.buffers()]) // len(pixels))


@full_precision()
def measure_clean_gradient(
    model: nn.Module, x: Tensor, y: Tensor, *, loss: str, batch_size: int | None = None
) -> CleanGradient:
    """Shares of zero gradients and saturated images of a split before any attack, by one gradient for each image.

    Arguments and errors as in `attack_split`.
    """
    loss_function = _named(LOSSES, "loss", loss)
    check_split(model, x, y)
    if batch_size is None:
        batch_size = images_at_once(model, x, y)
    zero, saturated = [], []
    for pixels, labels in batches(model, x, y, batch_size):
        logits, _, gradient = forward_backward(model, pixels, labels, loss_function)
        zero.append((gradient == 0).flatten(1).all(dim=1))
        p_true = logits.float().softmax(dim=1).gather(1, labels.unsqueeze(1)).squeeze(1)
        saturated.append(p_true == 1)
    return CleanGradient(
        zero_fraction=int(torch.cat(zero).sum()) / len(y),
        saturated_fraction=int(torch.cat(saturated).sum()) / len(y),
    )


def _named(table: Mapping[str, Entry], kind: str, name: str) -> Entry:
    if name not in table:
        raise ValueError(f"unknown {kind} {name!r}; valid: {', '.join(table)}")
    return table[name]
