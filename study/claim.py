"""One command at a time on a results folder: two would train the same trials twice."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
import uuid
from typing import Any

from study.records import RecordsError, Results

BEAT_SECONDS = 30.0
"""How often a running command says that it is alive."""

STALE_SECONDS = 150.0
"""Silence after which a command on another machine counts as dead: five beats, and clocks that differ by a little."""


class Claim:
    """A context manager: this command is the one that runs on the folder.

    The claim is a small file, `run.json`, that a thread renews. A dead command's claim is ignored: at once where its
    process can be looked for, else when it is stale. It is a courtesy, not a lock: of two commands started within the
    same second both may run, which wastes work and harms no row, as every row is written whole.

    Raises:
        RecordsError: another command runs on the folder.
    """

    def __init__(self, results: Results) -> None:
        self._results, self._end = results, threading.Event()
        self._mine = {"host": socket.gethostname(), "pid": os.getpid(), "token": uuid.uuid4().hex}
        self._thread = threading.Thread(target=self._keep, daemon=True)

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

    def __exit__(self, *unused: object) -> None:
        self._end.set()
        self._thread.join(BEAT_SECONDS)
        try:
            if (self._results.read_claim() or {}).get("token") == self._mine["token"]:
                self._results.delete_claim()
        except OSError:
            return  # it will be stale soon

    def _keep(self) -> None:
        while not self._end.wait(BEAT_SECONDS):
            try:
                self._beat()
            except Exception as error:  # whatever it is, the next beat may succeed
                print(f"cannot renew {self._results.location}/run.json: {error}", file=sys.stderr)

    def _beat(self) -> None:
        self._results.write_claim({**self._mine, "at": time.time()})


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
