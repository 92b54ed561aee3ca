"""A training step recorded once and replayed: on a GPU one launch in place of a hundred, as a CUDA graph."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Protocol

import torch
from torch import Tensor

from study.training.gpu_memory import out_of_gpu_memory

Work = Callable[[], Tensor]
Step = Callable[[Tensor, Tensor], Tensor]
"""Images and labels of a minibatch to its loss, or losses, before the step."""

WARM_UP = 3
"""Steps before the recording: they make the optimizer's moments and let the libraries choose their kernels."""

AGREEMENT = 1e-2
"""By how much of its own size what a replay changes may differ from what the step does; rounding is orders below."""


class Recorder(Protocol):
    """What can record work on fixed tensors."""

    def warm_up(self, work: Work) -> Tensor:
        """Do the work as it is, where it is going to be recorded."""

    def record(self, work: Work, generators: Sequence[torch.Generator]) -> tuple[Callable[[], None], Tensor]:
        """What does the work again, and the tensor that then holds its result; nothing is computed now."""


@cache
def _recording_stream() -> torch.cuda.Stream:
    """One for all recordings of this process: the libraries keep a workspace for each stream."""
    return torch.cuda.Stream()


class CudaGraphs:
    """Records as CUDA graphs, in a stream of its own: https://docs.pytorch.org/docs/stable/notes/cuda.html."""

    def __init__(self) -> None:
        self._stream = _recording_stream()

    def warm_up(self, work: Work) -> Tensor:
        """In the stream of the recording, so that workspaces and gradient buffers belong to it."""
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            result = work()
        torch.cuda.current_stream().wait_stream(self._stream)
        return result

    def record(self, work: Work, generators: Sequence[torch.Generator]) -> tuple[Callable[[], None], Tensor]:
        """Each replay draws on from where its generators are then, as the work itself would."""
        graph, stream = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
        register = getattr(graph, "register_generator_state", None)  # newer torch finds them by itself
        drawn = [generator.get_state() for generator in generators]
        if register is not None:
            for generator in generators:
                register(generator)
        try:
            with torch.cuda.graph(graph, stream=self._stream):
                result = work()
        except Exception:
            torch.cuda.set_stream(stream)
            for generator, state in zip(generators, drawn, strict=True):
                # Older torch leaves a generator whose recording failed in a state in which it cannot draw.
                generator.graphsafe_set_state(torch.Generator(generator.device).graphsafe_get_state())
                generator.set_state(state)
            raise
        return graph.replay, result


@dataclass(frozen=True)
class Touched:
    """The tensors that a step changes, and what it draws from.

    Attributes:
        networks: of each network that it trains, what it changes of it: its weights, its buffers, its moments.
        generators: the same objects at every call.
    """

    networks: Sequence[Sequence[Sequence[Tensor]]]
    generators: Sequence[torch.Generator]

    @property
    def tensors(self) -> list[Tensor]:
        """All tensors, in a fixed order."""
        return [tensor.detach() for network in self.networks for kind in network for tensor in kind]


class RecordedStep:
    """A step that is recorded on its first minibatch after WARM_UP, and replayed on every other of that shape.

    The first replay is compared with the step itself, from the same weights and draws: the losses, and network by
    network what it makes of weights, buffers and moments. If the recording fails or they differ, one warning says so
    (`gave_up` says why) and every step is done as given. Where a step is not finite nothing is proved, and the next one
    is compared. The recording is made anew when `constants()`, what the step takes from Python (the learning rate),
    has changed. `count(images)` is called after every step, replayed or not: the step itself must leave Python as it
    was.
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
        self._proved = False
        self.gave_up = ""

    @property
    def replays(self) -> bool:
        """Whether steps are being replayed, and were found to do what the step does."""
        return self._proved and not self.gave_up

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """The step on this minibatch, y (B,) or (R, B); the next call may overwrite the result."""
        result = self._do(x, y)
        self._count(y.shape[-1])
        return result

    def _do(self, x: Tensor, y: Tensor) -> Tensor:
        self._shape = self._shape or x.shape
        if self.gave_up or x.shape != self._shape:
            return self._step(x, y)
        self._steps += 1
        if self._steps <= WARM_UP:
            return self._recorder.warm_up(lambda: self._step(x, y))
        if self._recording is None or self._recording.constants != self._constants():
            self._recording = None  # its memory is free for the next
            try:
                self._recording = self._record(x, y)
            except Exception as error:  # torch has many kinds
                if out_of_gpu_memory(error):
                    raise
                self._give_up(f"it cannot be recorded: {(str(error).splitlines() or [type(error).__name__])[0]}")
                return self._step(x, y)
        return self._recording.replay(x, y) if self._proved else self._prove(self._recording, x, y)

    def _record(self, x: Tensor, y: Tensor) -> _Recording:
        images, labels = x.clone(), y.clone()
        recorded = self._recorder.record(lambda: self._step(images, labels), self._touched().generators)
        return _Recording(self._constants(), images, labels, *recorded)

    def _prove(self, recording: _Recording, x: Tensor, y: Tensor) -> Tensor:
        """The step itself, after a replay of it from the same state, which it is compared with."""
        touched = self._touched()
        before, drawn = [tensor.clone() for tensor in touched.tensors], [g.get_state() for g in touched.generators]
        losses = recording.replay(x, y).clone()
        replayed = [tensor.clone() for tensor in touched.tensors]
        for tensor, value in zip(touched.tensors, before, strict=True):
            tensor.copy_(value)
        for generator, state in zip(touched.generators, drawn, strict=True):
            generator.set_state(state)
        result = self._step(x, y)
        if not all(bool(tensor.isfinite().all()) for tensor in (result, *touched.tensors)):
            return result
        apart = max([_apart(losses, result), *_apart_by_kind(touched, before, replayed)])
        self._proved = apart <= AGREEMENT
        if not self._proved:
            self._give_up(f"a replay differed from its step by {apart:.0e} of what the step does")
        return result

    def _give_up(self, why: str) -> None:
        self.gave_up, self._recording = why, None
        warnings.warn(f"steps are not recorded, training is slower: {why}", RuntimeWarning, stacklevel=5)


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


def _apart(one: Tensor, other: Tensor, start: Tensor | None = None) -> float:
    """How far `one` is from `other`, relative to how far that is from `start` (default: 0)."""
    other = other.double()
    length = float((other if start is None else other - start.double()).norm())
    off = float((one.double() - other).norm())
    return 0.0 if off == 0 else off / max(length, torch.finfo(torch.float64).tiny)


def _apart_by_kind(touched: Touched, before: Sequence[Tensor], replayed: Sequence[Tensor]) -> Iterator[float]:
    """`_apart` for every network's weights, buffers and moments, where it has any that are no counters."""
    values = zip(before, replayed, touched.tensors, strict=True)
    for network in touched.networks:
        for kind in network:
            own = [next(values) for _ in kind]
            numbers = [[value.flatten() for value in triple] for triple in own if triple[0].is_floating_point()]
            if numbers:
                start, one, other = (torch.cat(parts) for parts in zip(*numbers, strict=True))
                yield _apart(one, other, start)
