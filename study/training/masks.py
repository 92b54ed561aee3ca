"""Dropout masks drawn before the steps that use them, so that a step launches no kernel for them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from study.models import Dropout

DRAWN = 2**19
"""Numbers drawn in one call for a network on a GPU."""


class DropoutMasks:
    """The masks of R networks of one architecture, minibatch by minibatch.

    On a CPU each minibatch's masks are drawn by themselves, so they are, to the bit, those that the layers would draw.
    On a GPU those of many minibatches are drawn in one call. What a network gets depends on its own generator and on
    the batch size, but not on the other networks.

    Attributes:
        calls: the dropout layers in the order in which a forward pass calls them.
    """

    def __init__(
        self, model: nn.Module, image_shape: Sequence[int], batch_size: int, generators: Sequence[torch.Generator]
    ) -> None:
        """Find the layers by a forward pass in eval mode.

        Args:
            model: one of the networks.
            image_shape: (C, H, W).
            batch_size: largest number of images in a minibatch.
            generators: one for each network, on the device of the model.
        """
        self.calls: list[Dropout] = []
        self._inputs: list[Tensor] = []
        self._find_calls(model, image_shape)
        self._batch_size, self._generators = batch_size, generators
        self._minibatches = 1  # that are drawn together
        if self.calls and generators[0].device.type == "cuda":
            largest = max(each.numel() for each in self._inputs)
            self._minibatches = max(1, DRAWN // (batch_size * largest))
        self._drawn: list[Tensor] = []
        self._used = self._minibatches

    def _find_calls(self, model: nn.Module, image_shape: Sequence[int]) -> None:
        def note(layer: nn.Module, inputs: tuple[Tensor]) -> None:
            assert isinstance(layer, Dropout)
            self.calls.append(layer)
            self._inputs.append(inputs[0][0])

        handles = [m.register_forward_pre_hook(note) for m in model.modules() if isinstance(m, Dropout)]
        if not handles:
            return
        was_training, like = model.training, next(model.parameters())
        with torch.no_grad():
            model.eval()(torch.zeros(1, *image_shape, dtype=like.dtype, device=like.device))
        model.train(was_training)
        for handle in handles:
            handle.remove()

    def restart(self) -> None:
        """Forget what was drawn in advance: the generators are at the beginning of an epoch."""
        self._used = self._minibatches

    def next(self, images: int) -> list[Tensor]:
        """The masks of the next minibatch of so many images: for each call a tensor (R, images, ...)."""
        if self._used == self._minibatches:
            count = images if self._minibatches == 1 else self._batch_size
            self._drawn = [self._draw(count, *call) for call in zip(self.calls, self._inputs, strict=True)]
            self._used = 0
        masks = [drawn[:, self._used, :images] for drawn in self._drawn]
        self._used += 1
        return masks

    def _draw(self, count: int, layer: Dropout, like: Tensor) -> Tensor:
        """Masks (R, minibatches, count, ...): 1 / keep with probability keep, else 0."""
        keep = 1 - layer.p
        masks = like.new_empty((len(self._generators), self._minibatches, count, *like.shape))
        for own, generator in zip(masks, self._generators, strict=True):
            own.bernoulli_(keep, generator=generator)
        return masks.div_(keep)
