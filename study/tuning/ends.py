"""How a run ends before its work is done: by a signal, or because a process of Ray died."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from types import FrameType

LOST_RAY = 3
"""Exit status when a process of Ray that every trial needs has died."""


_terminated = threading.Event()


def _interrupt(number: int, frame: FrameType | None) -> None:
    _terminated.set()
    raise KeyboardInterrupt


def handle_sigterm() -> None:
    """Handle SIGTERM, which batch systems send before they kill, as Ctrl-C is handled: by a KeyboardInterrupt."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _interrupt)


def terminated() -> bool:
    """Whether SIGTERM came. The exception cannot say it: Ray raises another KeyboardInterrupt in its place."""
    return _terminated.is_set()


def ignore_interrupts() -> None:
    """Ignore Ctrl-C and SIGTERM: this process ends already, and an impatient second one would leave Ray running."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


def watch_children(children: Iterable[tuple[str, int]], lost: Callable[[str], None]) -> Callable[[], None]:
    """Call `lost` with a child's name as soon as it has ended, until the returned function is called.

    Args:
        children: name and process id of each.
        lost: is called in a thread.
    """
    stopped = threading.Event()

    def watch(name: str, process: int) -> None:
        try:
            os.waitid(os.P_PID, process, os.WEXITED | os.WNOWAIT)  # it stays a zombie, for whoever started it
        except ChildProcessError:
            return
        if not stopped.is_set():
            lost(name)

    if hasattr(os, "waitid"):
        for name, process in children:
            threading.Thread(target=watch, args=(name, process), daemon=True).start()
    return stopped.set


def exit_without_ray(name: str) -> None:
    """End this process with LOST_RAY and a line. Ray cannot be shut down any more; what is left of it ends with us."""
    show_cursor = "\x1b[?25h" if sys.stderr.isatty() else ""
    sys.stdout.flush()
    print(
        f"{show_cursor}\nstudy.run: Ray's {name} has died (killed, or out of memory); finished trials are stored. "
        "Give the same command again to continue.",
        file=sys.stderr,
        flush=True,
    )
    os._exit(LOST_RAY)
