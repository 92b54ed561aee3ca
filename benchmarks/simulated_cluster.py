"""A Ray cluster on this machine whose nodes can be killed: each is a raylet with simulated CPUs and GPUs."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import threading
from pathlib import Path
from typing import Any

from ray.cluster_utils import Cluster

SHORT_TIMEOUTS = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_failure_threshold": "5",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "10",
}
"""A node that does not respond counts as dead after 6 s instead of a minute; a driver without its head ends in 10 s."""


class SimulatedCluster:
    """A head without CPUs and `nodes` workers; a context manager that ends its processes and deletes its files.

    Its temporary folder is its own, so that other Ray clusters on this machine are left alone.
    """

    def __init__(
        self, nodes: int, *, cpus: int = 1, gpus: float = 1.0, environment: dict[str, str] = SHORT_TIMEOUTS
    ) -> None:
        self._first, self._cpus, self._gpus = nodes, cpus, gpus
        self._environment = dict(environment)

    def __enter__(self) -> SimulatedCluster:
        self._folder = tempfile.mkdtemp(prefix="ray-")  # short, because sockets are in it
        changed = {**self._environment, "RAY_TMPDIR": self._folder}
        self._before = {name: os.environ.get(name) for name in changed}
        os.environ.update(changed)
        self.nodes: list[Any] = []
        self._cluster = Cluster()
        try:
            self._cluster.add_node(
                num_cpus=0, include_dashboard=False, include_log_monitor=False, **self._head_options()
            )
            for _ in range(self._first):
                self.add()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *unused: object) -> None:
        for node in self.nodes:
            for info in node.all_processes.get("raylet", ()):
                _signal(info.process.pid, signal.SIGCONT)  # a frozen one could not be ended
        try:
            self._cluster.shutdown()
        finally:
            for name, value in self._before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value
            shutil.rmtree(self._folder, ignore_errors=True)

    def _head_options(self) -> dict[str, Any]:
        return {"no_monitor": True}

    @property
    def address(self) -> str:
        """For `--address`."""
        return str(self._cluster.address)

    def add(self, **resources: float) -> Any:
        """One more node."""
        node = self._cluster.add_node(**{"num_cpus": self._cpus, "num_gpus": self._gpus, **resources})
        self.nodes.append(node)
        return node

    def kill(self, node: Any) -> None:
        """Kill a node's raylet; its workers end a second later, as when a machine fails."""
        self._end(node, signal.SIGKILL)

    def notice(self, node: Any) -> None:
        """Send SIGTERM to a node's raylet, which ends its workers and leaves, as after a spot machine's notice."""
        self._end(node, signal.SIGTERM)

    def _end(self, node: Any, number: signal.Signals) -> None:
        self.nodes.remove(node)
        _signal(self.process(node), number)
        reap = node.all_processes["raylet"][0].process.wait  # to its workers, a raylet that was not reaped is alive
        threading.Thread(target=reap, daemon=True).start()

    def freeze(self, node: Any) -> None:
        """Stop a node's raylet and its workers without ending them, as when a machine is cut off."""
        for process in (*self.workers(node), self.process(node)):
            _signal(process, signal.SIGSTOP)

    def kill_head(self) -> None:
        """Kill every process of the head."""
        for processes in self._cluster.head_node.all_processes.values():
            for info in processes:
                _signal(info.process.pid, signal.SIGKILL)

    def process(self, node: Any) -> int:
        """The raylet of a node."""
        return int(node.all_processes["raylet"][0].process.pid)

    def workers(self, node: Any | None = None) -> list[int]:
        """The processes that run a trial, or have just run one, on this cluster or one node."""
        return trial_processes(*(self.process(one) for one in ([node] if node else self.nodes)))


def trial_processes(*ancestors: int) -> list[int]:
    """The workers below these processes that run a trial, or have just run one."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                title = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            process = int(entry.name)
            if b"ray::" in title and b"ImplicitFunc" in title and {*ancestors} & {*_ancestors(process)}:
                found.append(process)
    return found


def _ancestors(process: int) -> list[int]:
    line = []
    while process > 1:
        try:
            stat = Path(f"/proc/{process}/stat").read_text()
        except OSError:
            break
        process = int(stat.rsplit(")", 1)[1].split()[1])
        line.append(process)
    return line


def _signal(process: int, number: signal.Signals) -> None:
    try:
        os.kill(process, number)
    except ProcessLookupError:
        return
