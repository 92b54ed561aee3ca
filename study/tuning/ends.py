"""How a run ends before its work is done: by a signal, or because a process of Ray died."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable
from types import FrameType

from study.results.run_lock import delete_held_locks

LOST_RAY = 3
"""Exit status when a process of Ray that every trial needs has died."""

TERMINATED = 143
"""Exit status after SIGTERM: 128 and the signal's number, as shells say it."""

BROKEN_PIPE = 141
"""Exit status when nobody reads the output any more: 128 and the number of SIGPIPE, as shells say it."""

DELETE_SECONDS = 5.0
"""How long an ending command tries to delete its lock."""

ASK_SECONDS = 1.0
"""How often a watched server is asked."""

_interrupted, _terminated = threading.Event(), threading.Event()


def _interrupt(number: int, frame: FrameType | None) -> None:
    _interrupted.set()
    if number == signal.SIGTERM:
        _terminated.set()
    raise KeyboardInterrupt


def handle_sigterm() -> None:
    """Handle SIGTERM, which batch systems send before they kill, as Ctrl-C is handled: by a KeyboardInterrupt.

    Ctrl-C gets the same handler, unless it is ignored, as in a background job: see `raise_if_interrupted`.
    """
    _interrupted.clear()
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _interrupt)
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, _interrupt)


def raise_if_interrupted() -> None:
    """Raise the KeyboardInterrupt of a signal that came, in case Python has ignored it.

    It does so where the signal meets a handler of a fork, which libraries have and Ray's start runs.
    """
    if _interrupted.is_set():
        raise KeyboardInterrupt


def restore_sigterm() -> None:
    """Give SIGTERM the handler that Python has for it, which code in C has replaced."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))


def watch_for_sigterm() -> None:
    """Delete this process's locks as soon as SIGTERM comes, in a thread; call it once, in the main thread.

    Batch systems send SIGTERM to all processes of a job at once. Ray's end within milliseconds, and then Ray's library
    may end this process before its main thread comes to handle the signal.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)

    def watch() -> None:
        while number := os.read(reader, 1):
            if number[0] == signal.SIGTERM:
                _terminated.set()
                delete_held_locks()

    threading.Thread(target=watch, daemon=True).start()


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


def watch_server(address: str, patience: float, lost: Callable[[str], None]) -> Callable[[], None]:
    """Call `lost` with the address when nothing listens there any more, until the returned function is called.

    Args:
        address: host:port.
        patience: seconds without a connection after which it counts as lost: it may be started again.
        lost: is called in a thread.
    """
    stopped = threading.Event()
    host, _, port = address.rpartition(":")

    def watch() -> None:
        failing_since = None
        while not stopped.wait(ASK_SECONDS):
            try:
                socket.create_connection((host.strip("[]"), int(port)), timeout=patience).close()
                failing_since = None
            except OSError:
                now = time.monotonic()
                failing_since = failing_since or now
                if now - failing_since > patience and not stopped.is_set():
                    lost(address)
                    return

    threading.Thread(target=watch, daemon=True).start()
    return stopped.set


def exit_without_ray(what: str) -> None:
    """End this process with LOST_RAY and a line. Ray cannot be shut down any more; what is left of it ends with us.

    If SIGTERM comes too, the status is TERMINATED: batch systems send it to all processes of a job, Ray's as well.

    Args:
        what: a sentence's beginning that says what has happened.
    """
    show_cursor = "\x1b[?25h" if sys.stderr.isatty() else ""
    status, what = (TERMINATED, "interrupted") if terminated() else (LOST_RAY, what)
    sys.stdout.flush()
    print(
        f"{show_cursor}\nstudy.run: {what}; finished trials are stored. Give the same command again to continue.",
        file=sys.stderr,
        flush=True,
    )
    deleting = threading.Thread(target=delete_held_locks, daemon=True)  # storage may not answer
    deleting.start()
    deleting.join(DELETE_SECONDS)
    os._exit(status)
