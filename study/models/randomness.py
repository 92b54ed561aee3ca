"""Random numbers that a network draws by itself, from the global generators of torch, Python and numpy."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.modules.lazy import LazyModuleMixin

from study.arithmetic import one_thread
from study.models.dropout import set_dropout_generator


def check_network(model: nn.Module, image_shape: tuple[int, int, int], num_classes: int, *, images: int = 2) -> None:
    """Refuse a network whose passes no seed repeats, or whose outputs are not logits, by a pass in each mode.

    In training mode layers may draw from torch's global generators, which training seeds (`study.training.loop`), but
    not from Python's or numpy's. In eval mode they may draw nothing, because every probe must see the same network.

    Args:
        model: on the CPU; its buffers may change. It is left in training mode.
        image_shape: (channels, height, width).
        num_classes: number of logits.
        images: size of the minibatch that it is tried on.

    Raises:
        ValueError: the network draws such numbers, has a lazy layer (`nn.LazyLinear`), cannot take the images, or
            returns something else than logits (B, num_classes).
    """
    lazy = [type(layer).__name__ for layer in model.modules() if isinstance(layer, LazyModuleMixin)]
    if lazy:
        raise ValueError(f"it has a {lazy[0]}, whose weights no seed draws: state the size that this layer takes")
    set_dropout_generator(model, torch.Generator())
    pixels = torch.zeros(images, *image_shape)
    for training in (False, True):
        model.train(training)
        with torch.random.fork_rng(devices=[]), torch.no_grad(), one_thread():
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
            remedy = "use study.models.Dropout, or draw with torch" if training else "draw only while self.training"
            raise ValueError(f"it draws from {drew[0]}'s global generator {when}: {remedy}")
        shape = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        if shape != (images, num_classes):
            when = "training" if training else "eval"
            raise ValueError(
                f"it returns {shape} for {images} images in {when} mode, not logits ({images}, {num_classes})"
            )


def _states() -> dict[str, Any]:
    """The states of the global generators on the CPU, comparable by `==`."""
    kind, key, *rest = np.random.get_state(legacy=True)
    return {
        "torch": torch.get_rng_state().numpy().tobytes(),
        "Python": random.getstate(),
        "numpy": (kind, np.asarray(key).tobytes(), *rest),
    }
