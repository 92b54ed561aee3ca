"""Random numbers that a network draws by itself, from the global generators of torch, Python and numpy."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from torch import nn

from study.arithmetic import one_thread
from study.models.dropout import set_dropout_generator


def check_network(model: nn.Module, image_shape: tuple[int, int, int], num_classes: int) -> None:
    """Refuse a network whose passes no seed repeats, or whose outputs are not logits, by a pass in each mode.

    In training mode layers may draw from torch's global generators, which training seeds (`study.training.loop`), but
    not from Python's or numpy's. In eval mode they may draw nothing, because every probe must see the same network.

    Args:
        model: on the CPU; its buffers may change. It is left in training mode.
        image_shape: (channels, height, width).
        num_classes: number of logits.

    Raises:
        ValueError: the network draws such numbers (the message names the layer), cannot take the images, or returns
            something else than logits (B, num_classes).
    """
    set_dropout_generator(model, torch.Generator())
    images = torch.zeros(2, *image_shape)
    for training in (False, True):
        drew = _Draws(model.train(training), seeded=("torch",) if training else ())
        with torch.random.fork_rng(devices=[]), torch.no_grad(), one_thread(), drew:
            try:
                logits = model(images)
            except Exception as error:
                reason = (str(error).splitlines() or [type(error).__name__])[0]
                raise ValueError(f"it cannot take images of shape {image_shape}: {reason}") from error
        if drew.layer:
            when = "in training" if training else "in eval mode"
            remedy = "use study.models.Dropout, or draw with torch" if training else "draw only while self.training"
            raise ValueError(f"{drew.layer} draws from {drew.source}'s global generator {when}: {remedy}")
        shape = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        if shape != (2, num_classes):
            when = "training" if training else "eval"
            raise ValueError(f"it returns {shape} for 2 images in {when} mode, not logits (2, {num_classes})")


class _Draws:
    """Notes, while it is entered, the first layer that draws from a global generator other than the `seeded` ones.

    The innermost layer is meant: a layer is left before those that contain it.
    """

    def __init__(self, model: nn.Module, seeded: tuple[str, ...]) -> None:
        self.layer = self.source = ""
        self._seeded = seeded
        self._names = {module: name for name, module in model.named_modules()}
        self._before: list[dict[str, Any]] = []

    def __enter__(self) -> None:
        self._handles = [module.register_forward_pre_hook(self._enter_layer) for module in self._names]
        self._handles += [module.register_forward_hook(self._leave_layer) for module in self._names]

    def __exit__(self, *error: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _enter_layer(self, module: nn.Module, inputs: object) -> None:
        self._before.append(_states())

    def _leave_layer(self, module: nn.Module, inputs: object, output: object) -> None:
        before, after = self._before.pop(), _states()
        changed = [source for source in after if after[source] != before[source] and source not in self._seeded]
        if changed and not self.layer:
            name = self._names[module]
            self.layer = f"its layer {name} ({type(module).__name__})" if name else f"its {type(module).__name__}"
            self.source = changed[0]


def _states() -> dict[str, Any]:
    """The states of the global generators on the CPU, comparable by `==`."""
    kind, key, *rest = np.random.get_state(legacy=True)
    return {
        "torch": torch.get_rng_state().numpy().tobytes(),
        "Python": random.getstate(),
        "numpy": (kind, np.asarray(key).tobytes(), *rest),
    }
