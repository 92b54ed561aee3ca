"""One command at a time on a results folder: two would train the same trials twice."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
import uuid
from typing import Any

from study.results.folder import RecordsError, Results

BEAT_SECONDS = 30.0
"""How often a running command says that it is alive."""

STALE_SECONDS = 150.0
"""Silence after which a command on another machine counts as dead: five beats, and clocks that differ by a little."""


class Claim:
    """A context manager: this command is the one that runs on the folder.

    The claim is a small file, `run.json`, that a thread renews. A dead command's claim is ignored: at once where its
    process can be looked for, else when it is stale. It is a courtesy, not a lock: of two commands started within the
    same second both begin, and the one that wrote first ends at its next beat. That wastes work and harms no row, as
    every row is written whole.

    A command that stood still for longer than STALE_SECONDS (a laptop that slept, SIGSTOP) may find on waking that
    another has taken the folder, or has done so and is finished: it ends, as by Ctrl-C.

    Raises:
        RecordsError: another command runs on the folder, or has taken it over.
    """

    def __init__(self, results: Results) -> None:
        self._results, self._end = results, threading.Event()
        self._mine = {"host": socket.gethostname(), "pid": os.getpid(), "token": uuid.uuid4().hex}
        self._thread = threading.Thread(target=self._keep, daemon=True)
        self._taken_over, self._last = "", 0.0

    def __enter__(self) -> Claim:
        other = self._results.read_claim()
        if other and _alive(other):
            wait = max(1.0, STALE_SECONDS - (time.time() - other["at"]))
            raise RecordsError(
                f"another command runs on {self._results.location} (process {other['pid']} on {other.get('host')}): "
                f"wait for it, or give another --results. If it is dead, this is accepted in {wait:.0f} s"
            )
        self._beat()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *unused: object) -> None:
        self._end.set()
        self._thread.join(BEAT_SECONDS)
        if self._taken_over and kind is KeyboardInterrupt:
            raise RecordsError(self._taken_over) from None
        try:
            if (self._results.read_claim() or {}).get("token") == self._mine["token"]:
                self._results.delete_claim()
        except OSError:
            return  # it will be stale soon

    def _keep(self) -> None:
        while not self._end.wait(BEAT_SECONDS):
            try:
                if self._lost():
                    self._give_way()
                    return
                self._beat()
            except Exception as error:  # whatever it is, the next beat may succeed
                print(f"cannot renew {self._results.location}/run.json: {error}", file=sys.stderr)

    def _beat(self) -> None:
        self._results.write_claim({**self._mine, "at": time.time()})
        self._last = time.time()

    def _lost(self) -> bool:
        """Whether another command has the folder, or had it while this one stood still."""
        found = self._results.read_claim()
        if found and found.get("token") == self._mine["token"]:
            return False
        return bool(found and _alive(found)) or time.time() - self._last > STALE_SECONDS

    def _give_way(self) -> None:
        """End this command.

        It planned its work before the other did and would train the same trials again, so going on with a warning
        helps nobody. A thread cannot raise in the main one; the signal of Ctrl-C can, also while that waits in C, and
        every part of a run ends well on it: rows are safe, trials and Ray's processes are ended. It is sent again where
        it was lost, as Python loses one that arrives in a destructor. A shell's background job without job control
        ignores that signal: there a warning has to do.
        """
        self._taken_over = (
            f"another command has taken over {self._results.location}: this one ends, finished trials are stored"
        )
        if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
            print(f"{self._taken_over}. It cannot: it ignores SIGINT. End process {os.getpid()}", file=sys.stderr)
            return
        while not self._end.is_set():
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            self._end.wait(STALE_SECONDS)


def _alive(claim: dict[str, Any]) -> bool:
    if abs(time.time() - claim["at"]) > STALE_SECONDS:
        return False
    if claim.get("host") != socket.gethostname():
        return True
    try:
        os.kill(claim["pid"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
