"""A training step recorded once and replayed: on a GPU one launch in place of a hundred, as a CUDA graph."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

Work = Callable[[], Tensor]
Step = Callable[[Tensor, Tensor], Tensor]
"""Images and labels of a minibatch to its loss, or losses, before the step."""

WARM_UP = 3
"""Steps before the recording: they make the optimizer's moments and let the libraries choose their kernels."""

AGREEMENT = 1e-2
"""By how much of its own length a replayed step may differ from the step itself; rounding is orders below."""


class Recorder(Protocol):
    """What can record work on fixed tensors."""

    def warm_up(self, work: Work) -> Tensor:
        """Do the work as it is, where it is going to be recorded."""

    def record(self, work: Work, generators: Sequence[torch.Generator]) -> tuple[Callable[[], None], Tensor]:
        """What does the work again, and the tensor that then holds its result; nothing is computed now."""


class CudaGraphs:
    """Records as CUDA graphs, in a stream of its own: https://docs.pytorch.org/docs/stable/notes/cuda.html."""

    def __init__(self) -> None:
        self._stream = torch.cuda.Stream()

    def warm_up(self, work: Work) -> Tensor:
        """In the stream of the recording, so that workspaces and gradient buffers belong to it."""
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            result = work()
        torch.cuda.current_stream().wait_stream(self._stream)
        return result

    def record(self, work: Work, generators: Sequence[torch.Generator]) -> tuple[Callable[[], None], Tensor]:
        """Each replay draws on from where its generators are then, as the work itself would."""
        graph = torch.cuda.CUDAGraph()
        for generator in generators:
            graph.register_generator_state(generator)
        with torch.cuda.graph(graph, stream=self._stream):
            result = work()
        return graph.replay, result


@dataclass(frozen=True)
class Touched:
    """The tensors that a step changes, and what it draws from.

    Attributes:
        weights: what it trains.
        others: the other tensors that it changes, such as moments and running statistics.
        generators: the same objects at every call.
    """

    weights: Sequence[Tensor]
    others: Sequence[Tensor]
    generators: Sequence[torch.Generator]


class RecordedStep:
    """A step that is recorded on its first minibatch after WARM_UP, and replayed on every other of that shape.

    The first replay is compared with the step itself, from the same weights and draws. If the recording fails or they
    differ, one warning says so and every step is done as given: recording can cost speed, never a result. It is made
    anew when `constants()`, what the step takes from Python (the learning rate), has changed. `count(images)` is called
    after every step, replayed or not: the step itself must leave Python as it was.
    """

    def __init__(
        self,
        step: Step,
        touched: Callable[[], Touched],
        constants: Callable[[], object],
        recorder: Recorder,
        count: Callable[[int], object],
    ) -> None:
        self._step, self._touched, self._constants, self._recorder = step, touched, constants, recorder
        self._count = count
        self._steps = 0
        self._shape: torch.Size | None = None
        self._recording: _Recording | None = None
        self._proved = self._gave_up = False

    @property
    def replays(self) -> bool:
        """Whether steps are being replayed, and were found to do what the step does."""
        return self._proved and not self._gave_up

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """The step on this minibatch, y (B,) or (R, B); the next call may overwrite the result."""
        result = self._do(x, y)
        self._count(y.shape[-1])
        return result

    def _do(self, x: Tensor, y: Tensor) -> Tensor:
        self._shape = self._shape or x.shape
        if self._gave_up or x.shape != self._shape:
            return self._step(x, y)
        self._steps += 1
        if self._steps <= WARM_UP:
            return self._recorder.warm_up(lambda: self._step(x, y))
        if self._recording is None or self._recording.constants != self._constants():
            self._recording = None  # its memory is free for the next
            try:
                self._recording = self._record(x, y)
            except RuntimeError as error:
                self._give_up(f"it cannot be recorded: {str(error).splitlines()[0]}")
                return self._step(x, y)
        return self._recording.replay(x, y) if self._proved else self._prove(self._recording, x, y)

    def _record(self, x: Tensor, y: Tensor) -> _Recording:
        images, labels = x.clone(), y.clone()
        recorded = self._recorder.record(lambda: self._step(images, labels), self._touched().generators)
        return _Recording(self._constants(), images, labels, *recorded)

    def _prove(self, recording: _Recording, x: Tensor, y: Tensor) -> Tensor:
        """The step itself, after a replay of it from the same state, which it is compared with."""
        touched = self._touched()
        changed = [tensor.detach() for tensor in (*touched.weights, *touched.others)]
        before, drawn = [tensor.clone() for tensor in changed], [g.get_state() for g in touched.generators]
        recording.replay(x, y)
        replayed = [tensor.clone() for tensor in touched.weights]
        for tensor, value in zip(changed, before, strict=True):
            tensor.copy_(value)
        for generator, state in zip(touched.generators, drawn, strict=True):
            generator.set_state(state)
        result = self._step(x, y)
        off, moved = _distance(replayed, touched.weights), _distance(before[: len(replayed)], touched.weights)
        self._proved = bool(off <= AGREEMENT * moved) or not bool(moved.isfinite())
        if not self._proved:
            self._give_up(f"a replay went {float(off):.1e} beside the step, whose length is {float(moved):.1e}")
        return result

    def _give_up(self, why: str) -> None:
        self._gave_up, self._recording = True, None
        warnings.warn(f"steps are not recorded, training is slower: {why}", RuntimeWarning, stacklevel=4)


@dataclass(frozen=True)
class _Recording:
    """A recorded step: its minibatch, what does it again, and where its result then is."""

    constants: object
    images: Tensor
    labels: Tensor
    again: Callable[[], None]
    result: Tensor

    def replay(self, x: Tensor, y: Tensor) -> Tensor:
        self.images.copy_(x)
        self.labels.copy_(y)
        self.again()
        return self.result


def _distance(some: Sequence[Tensor], others: Sequence[Tensor]) -> Tensor:
    """Euclidean, over all tensors together."""
    squares = [(a.detach().double() - b.detach().double()).square().sum() for a, b in zip(some, others, strict=True)]
    return torch.stack(squares).sum().sqrt()
