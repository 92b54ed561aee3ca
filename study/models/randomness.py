"""What a network must do to be trained here: return logits, have a gradient, and draw only what a seed repeats."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.lazy import LazyModuleMixin

from study.arithmetic import one_thread
from study.models.dropout import set_dropout_generator


def check_network(model: nn.Module, image_shape: tuple[int, int, int], num_classes: int, *, images: int = 2) -> None:
    """Refuse a network that cannot be trained, or whose passes no seed repeats, by a pass in each mode.

    In training mode layers may draw from torch's global generators, which training seeds (`study.training.loop`), but
    not from Python's or numpy's. In eval mode they may draw nothing, because every probe must see the same network.

    Args:
        model: on the CPU; its buffers may change. It is left in training mode.
        image_shape: (channels, height, width).
        num_classes: number of logits.
        images: size of the minibatch that it is tried on.

    Raises:
        ValueError: the network draws such numbers, has a lazy layer (`nn.LazyLinear`), cannot take the images,
            returns something else than finite logits (B, num_classes), or has no gradient.
    """
    lazy = [type(layer).__name__ for layer in model.modules() if isinstance(layer, LazyModuleMixin)]
    if lazy:
        raise ValueError(f"it uses {lazy[0]}, whose weights cannot be seeded; use a layer with an explicit input size")
    set_dropout_generator(model, torch.Generator())
    pixels = torch.rand(images, *image_shape, generator=torch.Generator().manual_seed(0))
    for training in (False, True):
        model.train(training)
        with torch.random.fork_rng(devices=[]), torch.set_grad_enabled(training), one_thread():
            before = _states()
            try:
                logits = model(pixels)
            except Exception as error:
                reason = (str(error).splitlines() or [type(error).__name__])[0]
                raise ValueError(f"it cannot take images of shape {image_shape}: {reason}") from error
            drew = [name for name, state in _states().items() if state != before[name]]
        if training:
            drew = [name for name in drew if name != "torch"]
        if drew:
            when = "in training" if training else "in eval mode"
            remedy = "study.models.Dropout or torch's random numbers" if training else "them only while self.training"
            raise ValueError(f"it uses random numbers of {drew[0]}'s global generator {when}; use {remedy}")
        shape = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        if shape != (images, num_classes):
            when = "training" if training else "eval"
            raise ValueError(
                f"it returns {shape} for {images} images in {when} mode, not logits ({images}, {num_classes})"
            )
        if not logits.isfinite().all():
            raise ValueError(
                f"it returns NaN or infinity before training, in {'training' if training else 'eval'} mode"
            )
        if training:
            _check_gradient(model, logits)


def _check_gradient(model: nn.Module, logits: Tensor) -> None:
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    gradients: tuple[Tensor | None, ...] = ()
    if logits.requires_grad and weights:
        loss = F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long))
        try:
            with one_thread():
                gradients = torch.autograd.grad(loss, weights, allow_unused=True)
        except RuntimeError as error:
            raise ValueError(f"its gradient cannot be computed: {str(error).splitlines()[0]}") from error
    if all(gradient is None for gradient in gradients):
        raise ValueError("no gradient reaches its weights: is there a detach(), or a no_grad(), on the way?")


def _states() -> dict[str, Any]:
    """The states of the global generators on the CPU, comparable by `==`."""
    kind, key, *rest = np.random.get_state(legacy=True)
    return {
        "torch": torch.get_rng_state().numpy().tobytes(),
        "Python": random.getstate(),
        "numpy": (kind, np.asarray(key).tobytes(), *rest),
    }
