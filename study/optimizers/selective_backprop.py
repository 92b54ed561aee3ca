"""Selective backprop: backward passes only for images whose loss is high, in batches of the usual size."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from study.optimizers.optimizer import Batches
from study.optimizers.torch_optimizers import SGD


class SelectiveBackprop(SGD):
    """SGD on images that are selected with P = (fraction of the last `history` losses below this one)^beta.

    Selected images wait in a queue until they fill a batch of the incoming size, which is then one step on their mean
    loss; the images left at an epoch's end give one smaller step. With beta 0 everything is selected: SGD. As in the
    authors' code, the history already contains the current minibatch's losses when they are ranked; only the newest
    `history` losses are kept. In the first epoch every image is used, which fills the history. The losses for the
    selection are computed in eval mode (our choice: the selection then neither draws dropout masks nor changes batch
    normalization's running statistics).

    Source: Jiang et al. 2019 (arXiv:1910.00762), with beta 3 and 1024 losses (our choices); Choudhary (2020), eq. 8,
    whose CDF differs from the fraction below in ties only: here images whose loss is 0 in float32 are never selected.
    """

    _generator: torch.Generator
    _trains_on_everything: bool
    _batch_size: int
    _queue: list[tuple[Tensor, Tensor]]

    def __init__(
        self,
        model: nn.Module,
        *,
        learning_rate: float,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        beta: float = 3.0,
        history: int = 1024,
    ) -> None:
        if not beta >= 0 or history < 1:
            raise ValueError(f"beta must be at least 0 and history at least 1, not {beta} and {history}")
        super().__init__(model, learning_rate=learning_rate, momentum=momentum, weight_decay=weight_decay)
        self._beta = beta
        self._history_size = history
        self._history: Tensor | None = None

    def begin_epoch(self, batches: Batches, generator: torch.Generator) -> None:
        """Draw the epoch's selection from `generator`; without a history this is the first epoch."""
        self._generator = generator
        self._trains_on_everything = self._history is None
        self._batch_size = 0
        self._queue = []

    def step(self, x: Tensor, y: Tensor) -> Tensor:
        """Select from a minibatch, and update if a batch is full; returns the mean loss of the whole minibatch."""
        self._batch_size = self._batch_size or len(y)  # an epoch's first minibatch is a full one
        if self._trains_on_everything:
            return self._first_epoch_step(x, y)
        losses = self._losses(x, y)
        self._remember(losses)
        draws = torch.rand(len(y), generator=self._generator, device=self._generator.device).to(losses.device)
        selected = draws < self._fraction_below(losses) ** self._beta
        self._queue.append((x[selected], y[selected]))
        if sum(len(labels) for _, labels in self._queue) >= self._batch_size:
            self._train_on_queue(self._batch_size)
        return losses.mean()

    def end_epoch(self) -> None:
        """One smaller step on the images that are still in the queue, if any."""
        if any(len(labels) for _, labels in self._queue):
            self._train_on_queue(self._batch_size)

    def _first_epoch_step(self, x: Tensor, y: Tensor) -> Tensor:
        logits = self.model(x)
        loss = F.cross_entropy(logits, y)
        self._remember(F.cross_entropy(logits.detach(), y, reduction="none"))
        self._differentiate(loss)
        self.apply_gradients()
        self.count(len(y))
        return loss.detach()

    def _losses(self, x: Tensor, y: Tensor) -> Tensor:
        """The loss of each image (B,), by a forward pass in eval mode."""
        self.model.eval()
        with torch.no_grad():
            losses = F.cross_entropy(self.model(x), y, reduction="none")
        self.model.train()
        self.gradient_equivalents += len(y) / 3
        return losses

    def _remember(self, losses: Tensor) -> None:
        known = losses if self._history is None else torch.cat([self._history, losses])
        self._history = known[-self._history_size :]

    def _fraction_below(self, losses: Tensor) -> Tensor:
        """For each loss the fraction of the history that is strictly smaller, in [0, 1)."""
        assert self._history is not None
        return torch.searchsorted(self._history.sort().values, losses) / len(self._history)

    def _train_on_queue(self, count: int) -> None:
        """SGD's step on the first `count` images of the queue."""
        x, y = (torch.cat(tensors) for tensors in zip(*self._queue, strict=True))
        super().step(x[:count], y[:count])
        self._queue = [(x[count:], y[count:])]

    def state_dict(self) -> dict[str, Any]:
        """SGD's state and the history of losses; at an epoch's end the queue is empty."""
        return {**super().state_dict(), "history": self._history}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a stored state."""
        super().load_state_dict(state)
        history, weights = state["history"], next(self.model.parameters())
        self._history = None if history is None else history.to(weights.device)
