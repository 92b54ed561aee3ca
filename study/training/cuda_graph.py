"""Training steps as CUDA graphs: a step is captured once and replayed, one launch in place of a hundred."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from study.optimizers import SGD
from study.training.gpu_memory import out_of_gpu_memory
from study.training.masks import DropoutMasks

Work = Callable[[], Tensor]
Step = Callable[[Tensor, Tensor], Tensor]
"""From a minibatch's images and labels to its loss (or losses) before the step."""

Descend = Callable[..., Tensor]
"""A step without its counts: from images, labels and the masks of `DropoutMasks.next` to the loss before it."""

WARM_UP_STEPS = 3
"""Eager steps before the capture: they create the optimizer's moments and let the libraries choose their kernels."""

TOLERANCE = 1e-2
"""Largest accepted relative difference between the change that a replayed step and the eager step make. Rounding is
orders of magnitude smaller."""


@cache
def _capture_stream() -> torch.cuda.Stream:
    """One stream for all captures of this process: the libraries keep a workspace for each stream."""
    return torch.cuda.Stream()


class CudaGraphs:
    """CUDA graphs, captured in a side stream: https://docs.pytorch.org/docs/stable/notes/cuda.html."""

    def warm_up(self, work: Work) -> Tensor:
        """Do the work eagerly, but in the capture stream, so that workspaces and gradient buffers belong to it."""
        stream = _capture_stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            result = work()
        torch.cuda.current_stream().wait_stream(stream)
        return result

    def capture(self, work: Work) -> tuple[Callable[[], None], Tensor]:
        """Capture work on fixed tensors, without executing it. It must draw no random numbers.

        Returns:
            A function that replays the work, and the tensor that holds its result after each replay.
        """
        graph, stream, pool = torch.cuda.CUDAGraph(), torch.cuda.current_stream(), torch.cuda.graph_pool_handle()
        try:
            with torch.cuda.graph(graph, pool, stream=_capture_stream()):
                result = work()
        except Exception:
            torch.cuda.set_stream(stream)
            _end_failed_capture(pool)
            raise
        return graph.replay, result


def _end_failed_capture(pool: tuple[int, int]) -> None:
    """Tell torch's allocator and generator that a capture is over.

    Up to 2.12 torch does not when it fails (https://github.com/pytorch/pytorch/pull/180395), and then the next
    `empty_cache` raises, and the next draw from that generator. Nothing public ends a capture's use of its pool. Where
    torch has ended it, the first call raises, and nothing is left to do.
    """
    device = torch.cuda.current_device()
    with suppress(AttributeError, RuntimeError):
        torch._C._cuda_endAllocateToPool(device, pool)
        torch._C._cuda_releasePool(device, pool)
        generator = torch.cuda.default_generators[device]
        generator.graphsafe_set_state(generator.clone_state())


class GraphedStep:
    """A training step that is captured as a graph after WARM_UP_STEPS and replayed on every minibatch of that shape.

    The first replay is verified: from the same weights and masks, its losses and its changes to the weights, buffers
    and moments of each network must agree with the eager step's. If the capture fails or they disagree, one warning
    says why (and `not_replayed` holds it), and all steps run eagerly. A network whose step is not finite shows nothing:
    the others are compared, and without any the next step is.
    """

    def __init__(
        self,
        descend: Descend,
        graphs: CudaGraphs | None,
        optimizers: Sequence[SGD],
        masks: DropoutMasks,
        *,
        fixed_rates: bool = True,
    ) -> None:
        """Wrap a step.

        Args:
            descend: forward pass, backward pass and update, without the optimizer's counters, which are Python numbers
                that a replayed graph does not change.
            graphs: what captures it; None runs every step eagerly.
            optimizers: those of the networks that it trains, whose `count` is called after every step.
            masks: the dropout masks of these networks.
            fixed_rates: a capture holds the learning rates as numbers, so a change needs another capture. False if
                `descend` reads them from a tensor.
        """
        self._descend, self._graphs, self._optimizers, self.masks = descend, graphs, optimizers, masks
        self._fixed_rates = fixed_rates
        self._shape: torch.Size | None = None
        self._steps = 0
        self._captured: _CapturedStep | None = None
        self._verified = False
        self.not_replayed = ""

    @property
    def replayed(self) -> bool:
        """Whether steps are replayed, after a replay was verified."""
        return self._verified and not self.not_replayed

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Train on a minibatch, y (B,) or (R, B); the next call may overwrite the result."""
        images = y.shape[-1]
        loss = self._replay_or_run(x, y, *self.masks.next(images))
        for optimizer in self._optimizers:
            optimizer.count(images)
        return loss

    def _replay_or_run(self, x: Tensor, *others: Tensor) -> Tensor:
        self._shape = self._shape or x.shape
        if self._graphs is None or self.not_replayed or x.shape != self._shape:
            return self._descend(x, *others)
        self._steps += 1
        if self._steps <= WARM_UP_STEPS:
            states = _global_states(x.device)
            loss = self._graphs.warm_up(lambda: self._descend(x, *others))
            if any(not torch.equal(*pair) for pair in zip(states, _global_states(x.device), strict=True)):
                self._run_eagerly("layers draw from torch's global generators")
            return loss
        if self._captured is None or self._captured.learning_rates != self._learning_rates():
            self._captured = None  # free its memory before the next capture
            try:
                self._captured = self._capture(self._graphs, x, *others)
            except Exception as error:  # torch raises many kinds
                if out_of_gpu_memory(error):
                    raise
                reason = (str(error).splitlines() or [type(error).__name__])[0]
                self._run_eagerly(f"the step cannot be captured: {reason}")
                return self._descend(x, *others)
        return self._captured.replay(x, *others) if self._verified else self._verify(self._captured, x, *others)

    def _learning_rates(self) -> list[float]:
        return [optimizer.learning_rate for optimizer in self._optimizers] if self._fixed_rates else []

    def _capture(self, graphs: CudaGraphs, *inputs: Tensor) -> _CapturedStep:
        own = [tensor.clone() for tensor in inputs]
        replay, loss = graphs.capture(lambda: self._descend(*own))
        return _CapturedStep(self._learning_rates(), own, replay, loss)

    def _verify(self, captured: _CapturedStep, *inputs: Tensor) -> Tensor:
        """Replay the step, restore the state, run the step eagerly and compare."""
        state = self._state()
        before = _copy(state)
        replayed_loss, replayed = captured.replay(*inputs).clone(), _copy(state)
        for network, values in zip(state, before, strict=True):
            for kind, own in zip(network, values, strict=True):
                for tensor, value in zip(kind, own, strict=True):
                    tensor.copy_(value)
        loss = self._descend(*inputs)
        changes = [list(map(_changes, *network)) for network in zip(replayed, state, before, strict=True)]
        finite = [
            place
            for place, (own_loss, kinds) in enumerate(zip(loss.view(-1), changes, strict=True))
            if own_loss.isfinite() and all(eager.isfinite().all() for kind in kinds for _, eager, _ in kind)
        ]
        if not finite:
            return loss
        losses = (replayed_loss.view(-1)[finite], loss.view(-1)[finite], torch.zeros_like(loss.view(-1)[finite]))
        differences = [_difference([losses]), *(_difference(kind) for place in finite for kind in changes[place])]
        self._verified = all(difference <= TOLERANCE for difference in differences)
        if not self._verified:
            self._run_eagerly(f"a replay differed from the eager step by {max(differences):.0e} of the step's size")
        return loss

    def _state(self) -> list[list[list[Tensor]]]:
        """The tensors that a step changes: of each network its weights, its buffers and its moments."""
        return [
            [
                [tensor.detach() for tensor in kind]
                for kind in (optimizer.model.parameters(), optimizer.model.buffers(), optimizer.moments())
            ]
            for optimizer in self._optimizers
        ]

    def _run_eagerly(self, reason: str) -> None:
        self.not_replayed, self._captured = reason, None
        warnings.warn(f"training without CUDA graphs, which is slower: {reason}", RuntimeWarning, stacklevel=5)


@dataclass(frozen=True)
class _CapturedStep:
    """A captured step, with the tensors that it reads the minibatch and masks from and writes the loss to."""

    learning_rates: list[float]
    inputs: list[Tensor]
    graph_replay: Callable[[], None]
    loss: Tensor

    def replay(self, *inputs: Tensor) -> Tensor:
        for own, given in zip(self.inputs, inputs, strict=True):
            own.copy_(given)
        self.graph_replay()
        return self.loss


def _global_states(device: torch.device) -> list[Tensor]:
    on_gpu = [torch.cuda.get_rng_state(device)] if device.type == "cuda" else []
    return [torch.get_rng_state(), *on_gpu]


def _copy(state: Sequence[Sequence[Sequence[Tensor]]]) -> list[list[list[Tensor]]]:
    return [[[tensor.clone() for tensor in kind] for kind in network] for network in state]


Change = tuple[Tensor, Tensor, Tensor]
"""A tensor after the replay, after the eager step, and before."""


def _changes(replayed: Sequence[Tensor], eager: Sequence[Tensor], before: Sequence[Tensor]) -> list[Change]:
    """Of one kind. A tensor that was not finite before, such as a mask of -inf in a buffer, shows nothing."""
    return [change for change in zip(replayed, eager, before, strict=True) if change[2].isfinite().all()]


def _difference(changes: Sequence[Change]) -> float:
    """Norm of replayed - eager relative to that of eager - before, over all floating-point tensors, given in threes."""
    off = size = torch.zeros((), dtype=torch.float64)
    for one, other, start in changes:
        if other.is_floating_point():
            off = off.to(other.device) + (one.double() - other.double()).square().sum()
            size = size.to(other.device) + (other.double() - start.double()).square().sum()
    return 0.0 if off == 0 else float(off / size.clamp(min=torch.finfo(torch.float64).tiny)) ** 0.5
