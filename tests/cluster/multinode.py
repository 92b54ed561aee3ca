"""A study on a simulated cluster, and what its results must be whatever failed meanwhile."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from search_spaces import Request, plan
from study.data import load, split
from study.results.folder import Results
from study.trials.device_data import DeviceData
from study.trials.execute import execute
from tests.trials.small import timeless

TRAIN, TEST, EPOCHS, BATCH = 64, 20, 120, "8"
REQUEST = Request(
    "smoke",
    select={"batch_size": (BATCH,)},
    seeds=(0, 1),
    epochs=EPOCHS,
    train_size=TRAIN,
    test_size=TEST,
    probes="headline",
)
COMMAND = [
    sys.executable, "-m", "study.run", "--grid", "smoke", "--select", f"batch_size={BATCH}", "--seeds", "0,1",
    "--epochs", str(EPOCHS), "--train-size", str(TRAIN), "--test-size", str(TEST), "--probes", "headline",
    "--checkpoint-seconds", "0", "--gpus-per-trial", "0.5", "--replicas", "1", "--no-report",
]  # fmt: skip


T = TypeVar("T")


class Study:
    """The command on a cluster, started at once; its output in `printed` when it has ended."""

    def __init__(self, address: str, results: Path, *options: str) -> None:
        self.results, self.printed = results, ""
        self._output = tempfile.TemporaryFile("w+")  # noqa: SIM115
        command = [*COMMAND, "--address", address, "--results", str(results), *options]
        self._process = subprocess.Popen(command, stdout=self._output, stderr=subprocess.STDOUT, text=True)

    def finish(self, seconds: float = 400.0) -> int:
        """Wait for its end; returns the exit status."""
        try:
            return self._process.wait(seconds)
        finally:
            self._process.kill()
            self._output.seek(0)
            self.printed = self._output.read()

    def wait_for_checkpoints(self, number: int = 1) -> None:
        """Until that many trials are half-trained."""
        checkpoints = self.results / "checkpoints"
        wait_for(lambda: self._process.poll() is not None or len(list(checkpoints.glob("*.pt"))) >= number)
        assert self._process.poll() is None, (self.finish(), self.printed)


def run(address: str, results: Path, *options: str) -> str:
    """The command from start to success; what it printed."""
    study = Study(address, results, *options)
    status = study.finish()
    assert status == 0, study.printed
    return study.printed


def assert_complete(results: Path) -> None:
    """Every trial has its one row, bit-identical to that of a run in one process, and nothing else is left."""
    rows, unreadable = Results(results).read_rows()
    assert unreadable == []
    assert Counter(row["trial_id"] for row in rows) == Counter(undisturbed().keys())
    for row in rows:
        found, expected = timeless(row), undisturbed()[row["trial_id"]]
        assert {name: (found[name], expected[name]) for name in found if found[name] != expected[name]} == {}
    assert list((results / "checkpoints").iterdir()) == []


@cache
def undisturbed() -> dict[str, dict[str, object]]:
    """The same trials one after the other in this process, without Ray."""
    return in_this_process(REQUEST)


def in_this_process(request: Request) -> dict[str, dict[str, object]]:
    """The rows of a request's trials, which names its sizes, run one after the other in this process."""
    assert request.train_size and request.test_size
    whole = load("digits_8x8", "unused")
    splits = split(whole, train_size=request.train_size, val_size=174, test_size=request.test_size)
    data = DeviceData.of(splits, whole.sha256)
    with tempfile.TemporaryDirectory() as folder:
        results = Results(folder)
        results.create()
        for planned in plan(request).values():
            execute(planned, data, results)
        return {row["trial_id"]: timeless(row) for row in results.read_rows()[0]}


def wait_for(condition: Callable[[], T], process: subprocess.Popen[Any] | None = None, *, seconds: float = 200.0) -> T:
    """Until the condition holds, and no longer than the process runs; returns what the condition gave."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert process is None or process.poll() is None, (process.returncode, *process.communicate())
        assert time.monotonic() < deadline, "the condition did not become true"
        time.sleep(0.05)
    return found


def gone(process: int) -> bool:
    """Whether a process has ended."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def freeze(process: int, seconds: float) -> None:
    """Stop a process for a while."""
    import signal

    try:
        os.kill(process, signal.SIGSTOP)
        time.sleep(seconds)
        os.kill(process, signal.SIGCONT)
    except ProcessLookupError:
        return
