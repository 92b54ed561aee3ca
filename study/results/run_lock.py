"""The run lock of a results folder: two commands at once would train the same trials twice."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
import uuid
from contextlib import suppress
from typing import Any

from study.results.folder import RecordsError, Results

HEARTBEAT_SECONDS = 30.0
"""How often a running command renews its lock."""

STALE_SECONDS = 150.0
"""Without a heartbeat for so long, a command on another machine counts as dead: five heartbeats, as clocks differ."""

ASK_SECONDS = 2.0
"""How often a command that waits for another machine's heartbeat looks for it."""

SIGNAL_SECONDS = 10.0
"""How often a command that has lost its lock is told to end, until it does."""

_held: list[RunLock] = []


class ResultsInUseError(RecordsError):
    """Another command runs on the results folder."""


class RunLock:
    """A context manager: only one command runs on the folder at a time.

    The lock is a small file, `run.json`, which a thread renews at every heartbeat. The lock of a dead command is
    ignored: at once if it ran on this machine, else STALE_SECONDS after its last heartbeat, which is waited for. So is
    that of a command with this one's host and process id: the dead predecessor in a container that was started again,
    or a command in another container of the same name. The lock is advisory: two commands started within the same
    second both begin, and the one that wrote first ends at its next heartbeat. That wastes work but harms no row, as
    every row is written whole.

    A command that was suspended for longer than STALE_SECONDS (a sleeping laptop, SIGSTOP) may find on waking that
    another command has taken the lock, and perhaps has finished since: it then ends as by Ctrl-C.

    Raises:
        ResultsInUseError: another command runs on the folder, or has taken the lock over.
    """

    def __init__(self, results: Results) -> None:
        self._results, self._end = results, threading.Event()
        self._mine = {"host": socket.gethostname(), "pid": os.getpid(), "token": uuid.uuid4().hex}
        self._thread = threading.Thread(target=self._renew, daemon=True)
        self._taken_over, self._last_heartbeat = "", 0.0

    def __enter__(self) -> RunLock:
        other = running_command(self._results)
        if other and (other.get("host") != socket.gethostname() or _is_namesake(other)):
            other = self._next_heartbeat(other)
        if other:
            raise ResultsInUseError(
                f"another command runs on {self._results.location} ({_name(other)}): wait for it, or give another "
                f"--results. If that command is dead, start this one again in {_seconds_left(other):.0f} s"
            )
        self._write_heartbeat()
        self._thread.start()
        _held.append(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, *unused: object) -> None:
        _held.remove(self)
        self.delete()
        if self._taken_over and kind is KeyboardInterrupt:
            raise ResultsInUseError(self._taken_over) from None

    def delete(self) -> None:
        """Stop the heartbeats, and delete the lock if it is still this command's."""
        self._end.set()
        self._thread.join(HEARTBEAT_SECONDS)
        with suppress(OSError):  # it is stale after STALE_SECONDS
            if self.is_mine(self._results.read_run_lock()):
                self._results.delete_run_lock()

    def is_mine(self, lock: dict[str, Any] | None) -> bool:
        """Whether a lock that was read is this one."""
        return bool((lock or {}).get("token") == self._mine["token"])

    def _next_heartbeat(self, lock: dict[str, Any]) -> dict[str, Any] | None:
        """Wait until a lock of another machine is renewed, which is returned, or counts as dead (None)."""
        ago = max(0.0, time.time() - lock["at"])
        print(
            f"another command used {self._results.location} {ago:.0f} s ago ({_name(lock)}): checking whether it still "
            f"runs, at most {_seconds_left(lock):.0f} s",
            flush=True,
        )
        while (found := running_command(self._results)) == lock:
            time.sleep(ASK_SECONDS)
        return found

    def _renew(self) -> None:
        while not self._end.wait(HEARTBEAT_SECONDS):
            try:
                if self._lost():
                    self._end_command()
                    return
                self._write_heartbeat()
            except Exception as error:  # of any kind: the next heartbeat may succeed
                print(f"cannot renew {self._results.location}/run.json: {error}", file=sys.stderr)

    def _write_heartbeat(self) -> None:
        self._results.write_run_lock({**self._mine, "at": time.time()})
        self._last_heartbeat = time.time()

    def _lost(self) -> bool:
        """Whether another command has the lock, or had it while this one was suspended."""
        found = self._results.read_run_lock()
        if self.is_mine(found):
            return False
        return bool(found and _alive(found)) or time.time() - self._last_heartbeat > STALE_SECONDS

    def _end_command(self) -> None:
        """End this command, which would train the same trials as the other one.

        A thread cannot raise an exception in the main thread, but it can send it the signal of Ctrl-C, which also
        interrupts waiting in C and which every part of a run handles: rows are kept, trials and Ray's processes are
        ended. A background job of a shell without job control ignores this signal, and gets SIGTERM. The signal is
        repeated until the command ends, because Python loses one that arrives in a destructor.
        """
        self._taken_over = (
            f"another command has taken over {self._results.location}: this one ends, finished trials are stored"
        )
        number = signal.SIGTERM if signal.getsignal(signal.SIGINT) == signal.SIG_IGN else signal.SIGINT
        while not self._end.is_set():
            signal.pthread_kill(threading.main_thread().ident or 0, number)
            self._end.wait(SIGNAL_SECONDS)


def delete_held_locks() -> None:
    """Delete the locks that this process holds, before it ends without leaving their context."""
    for lock in _held:
        lock.delete()


def running_command(results: Results) -> dict[str, Any] | None:
    """The lock of the command that runs on the folder; None if none does."""
    lock = results.read_run_lock()
    return lock if lock and _alive(lock) else None


def _name(lock: dict[str, Any]) -> str:
    return f"process {lock['pid']} on {lock.get('host')}"


def _seconds_left(lock: dict[str, Any]) -> float:
    """Until the lock is stale, if it is not renewed."""
    return max(1.0, STALE_SECONDS - (time.time() - float(lock["at"])))


def _is_namesake(lock: dict[str, Any]) -> bool:
    """Whether another process had the lock that has the id of this one."""
    return lock["pid"] == os.getpid() and not any(held.is_mine(lock) for held in _held)


def _alive(lock: dict[str, Any]) -> bool:
    if abs(time.time() - lock["at"]) > STALE_SECONDS:
        return False
    if lock.get("host") != socket.gethostname():
        return True
    try:
        os.kill(lock["pid"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
