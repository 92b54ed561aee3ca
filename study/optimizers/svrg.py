"""SVRG: stochastic gradients with a variance reduced by a snapshot of the weights and its full gradient."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from study.autograd import call_with
from study.optimizers.optimizer import Batches
from study.optimizers.torch_optimizers import SGD


class SVRG(SGD):
    """SGD on v = g_B(theta) - g_B(snapshot) + g(snapshot), where g is the gradient over the whole epoch.

    The snapshot is taken at the beginning of every epoch. Momentum and weight decay act on v as in SGD on the gradient.

    Augmentation and dropout are fixed within an epoch (Defazio and Bottou 2019, arXiv:1812.04529): images and masks are
    the same in g(snapshot) and in both gradients of a step. So the mean of v over the epoch's batches, weighted by
    their sizes, is the full gradient at theta, also with batch normalization. The passes at the snapshot do not change
    the model's buffers (batch normalization's running statistics).

    In g(snapshot) every image has the same weight, whatever the size of the last batch. A step does not weight v by the
    size of its batch: at every position of the epoch each image is equally likely, so a smaller last batch is as
    unbiased as the others.

    Source: Johnson and Zhang 2013; Choudhary (2020), eq. 3, which prints theta_mT for theta_mT+t on its right side.
    """

    _snapshot: dict[str, Tensor]
    _full_gradient: list[Tensor]

    def __init__(
        self, model: nn.Module, *, learning_rate: float, momentum: float = 0.0, weight_decay: float = 0.0
    ) -> None:
        super().__init__(model, learning_rate=learning_rate, momentum=momentum, weight_decay=weight_decay)
        self._trained = {name: p for name, p in model.named_parameters() if p.requires_grad}

    def begin_epoch(self, batches: Batches, generator: torch.Generator) -> None:
        """Take the snapshot and compute its gradient over the epoch: one gradient of every training image."""
        self._snapshot = {name: p.detach().clone().requires_grad_() for name, p in self._trained.items()}
        total, images = [torch.zeros_like(p) for p in self._trained.values()], 0
        for x, y in batches():
            for summed, gradient in zip(total, self._snapshot_gradient(x, y), strict=True):
                summed.add_(gradient, alpha=len(y))
            images += len(y)
        self._full_gradient = [summed.div_(images) for summed in total]
        self.gradient_equivalents += images

    def step(self, x: Tensor, y: Tensor) -> Tensor:
        """One update with v, by two gradients of the minibatch; returns its mean loss."""
        before = [(generator, generator.get_state()) for generator in _generators(self.model)]
        at_snapshot = self._snapshot_gradient(x, y)
        for generator, state in before:
            generator.set_state(state)
        loss = F.cross_entropy(self.model(x), y)
        self._differentiate(loss)
        for p, gradient, full in zip(self._trained.values(), at_snapshot, self._full_gradient, strict=True):
            if p.grad is not None:
                p.grad.sub_(gradient).add_(full)
        self.apply_gradients()
        self.count(2 * len(y))
        return loss.detach()

    def _snapshot_gradient(self, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        """The gradient of the minibatch's mean loss at the snapshot, parameter by parameter."""
        buffers = {name: buffer.clone() for name, buffer in self.model.named_buffers()}
        loss = F.cross_entropy(call_with(self.model, {**self._snapshot, **buffers}, x), y)
        return torch.autograd.grad(loss, list(self._snapshot.values()), allow_unused=True, materialize_grads=True)


def _generators(model: nn.Module) -> set[torch.Generator]:
    """All that the model's modules may draw from: their attribute `generator`, as in this study's dropout, and torch's
    global generators, as in torch's own.
    """
    found = [getattr(module, "generator", None) for module in model.modules()]
    devices = {p.device.index for p in model.parameters() if p.device.type == "cuda"}
    found += [torch.default_generator, *(torch.cuda.default_generators[index] for index in devices)]
    return {generator for generator in found if isinstance(generator, torch.Generator)}
