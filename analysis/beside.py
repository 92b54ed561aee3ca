"""Work on a second core: a copy of this process does it, which shares the memory of this one."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any, TypeVar

T = TypeVar("T")


@contextmanager
def beside(work: Callable[[], T], *, apart: bool) -> Iterator[Callable[[], T]]:
    """Gives what returns the answer of `work`; with `apart` a copy of this process works on it from now on.

    What keeps the copy from an answer is met again, and raised, where the answer is asked for: the work is then done
    here, as it is without `apart` or a second core. A process with threads of its own should not be copied.
    """
    if not (apart and _has_second_core()):
        yield work
        return
    copy, pipe = _copy_at(work)
    try:
        yield lambda: _answer(copy, pipe, work)
    finally:
        pipe.close()
        copy.end()


def _has_second_core() -> bool:
    """Only Linux says which cores are ours, and can be relied on to copy a process that has loaded libraries."""
    return sys.platform == "linux" and len(os.sched_getaffinity(0)) > 1


class _Copy:
    """A copied process, to be waited for once."""

    def __init__(self, pid: int) -> None:
        self._pid: int | None = pid

    def succeeded(self) -> bool:
        """Whether it came to its end; waits for it."""
        if self._pid is None:
            return False
        _, status = os.waitpid(self._pid, 0)
        self._pid = None
        return status == 0

    def end(self) -> None:
        """Stop it if nobody has waited for it."""
        if self._pid is not None:
            os.kill(self._pid, signal.SIGKILL)
            self.succeeded()


def _give_free_memory_back() -> None:
    """What is free in both processes would count twice as soon as they write into it."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's
    if trim is not None:
        trim(0)


def _copy_at(work: Callable[[], object]) -> tuple[_Copy, Connection[Any, Any]]:
    _give_free_memory_back()
    reading, writing = Pipe(duplex=False)
    pid = os.fork()
    if pid:
        writing.close()
        return _Copy(pid), reading
    status = 1
    try:
        reading.close()
        writing.send(work())
        status = 0
    finally:  # nothing of the copied process may go on here, its handlers of errors and its clean-up included
        os._exit(status)


def _answer(copy: _Copy, pipe: Connection[Any, Any], work: Callable[[], T]) -> T:
    try:
        answer: T = pipe.recv()
    except EOFError:
        return work()
    return answer if copy.succeeded() else work()
