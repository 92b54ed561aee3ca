"""Several networks of one architecture computed as one program: their weights are slices of common tensors."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.functional import cross_entropy


class Replicas:
    """R networks of one architecture, forward and backward in one pass.

    The parameters and buffers of all are copied into common tensors (R, ...), and each network's own become views of
    its slice, with the strides they had: what changes one changes the other, so every network can still be evaluated,
    stored and updated by its own optimizer. `torch.vmap` turns each layer into one call over all of them (linear layers
    into batched products, convolutions into grouped ones), so a step launches as many kernels as that of one network.
    The values are those of each network alone, within rounding.

    `network`, a copy of the first, is what computes, with the weights of each in place of its own.
    """

    def __init__(self, models: Sequence[nn.Module]) -> None:
        """`models`: at least one, on one device, in training mode.

        Raises:
            ValueError: they differ in a parameter's or buffer's name or shape.
        """
        self.models = tuple(models)
        named = [dict(model.named_parameters()) | dict(model.named_buffers()) for model in self.models]
        shapes = [{name: tensor.shape for name, tensor in own.items()} for own in named]
        if any(own != shapes[0] for own in shapes):
            raise ValueError("only networks of one architecture can be computed as one")
        self.network = copy.deepcopy(self.models[0])
        self._shared = {name: _share([own[name] for own in named]) for name in named[0]}
        trained = [name for name, parameter in self.models[0].named_parameters() if parameter.requires_grad]
        self._trained = {name: self._shared[name].requires_grad_() for name in trained}
        self._own = {name: [own[name] for own in named] for name in trained}

    def __len__(self) -> int:
        return len(self.models)

    def logits(self, x: Tensor) -> Tensor:
        """Images (R, B, C, H, W) in [0, 1], each network's own, to logits (R, B, classes)."""
        found: Tensor = vmap(lambda shared, images: functional_call(self.network, shared, (images,)))(self._shared, x)
        return found

    def differentiate(self, x: Tensor, y: Tensor) -> Tensor:
        """Leave in each network's parameters the gradient of its minibatch's mean cross-entropy.

        Args:
            x: images (R, B, C, H, W) in [0, 1].
            y: labels (R, B).

        Returns:
            The mean losses (R,), without a graph.
        """
        for shared in self._trained.values():
            shared.grad = None
        losses = cross_entropy(self.logits(x).flatten(0, 1), y.flatten(), reduction="none").view(y.shape).mean(1)
        losses.sum().backward()
        for name, shared in self._trained.items():
            gradients = [None] * len(self) if shared.grad is None else shared.grad.unbind()
            for parameter, gradient in zip(self._own[name], gradients, strict=True):
                parameter.grad = gradient
        return losses.detach()


@torch.no_grad()
def own_weights(model: nn.Module) -> None:
    """Give a network that was one of several tensors of its own again; those that it shared are no longer held."""
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.grad = None
        tensor.data = tensor.data.clone()


@torch.no_grad()
def _share(tensors: Sequence[Tensor]) -> Tensor:
    """One tensor (R, ...) with the values of all, of which each becomes a view; every slice has the first's strides."""
    first = tensors[0]
    shared = torch.empty_strided(
        (len(tensors), *first.shape), (first.numel(), *first.stride()), dtype=first.dtype, device=first.device
    )
    for tensor, place in zip(tensors, shared.unbind(), strict=True):
        place.copy_(tensor)
        tensor.data = place
    return shared
