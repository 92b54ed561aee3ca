"""The Ray cluster that trials run on: joining it, whether the trials fit, and how its GPUs are used."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray
from ray._common.utils import get_default_ray_temp_dir
from ray._private import ray_constants, utils
from ray.autoscaler.v2.schema import NodeInfo
from ray.autoscaler.v2.sdk import get_cluster_status
from ray.exceptions import RayError

from study.tuning.cpus import usable_cpus
from study.tuning.ends import (
    exit_without_ray,
    ignore_interrupts,
    raise_if_interrupted,
    restore_sigterm,
    watch_children,
    watch_server,
)
from study.tuning.settings import ClusterError, RayStartError, RunSettings

Node = Mapping[str, float]
"""Resource -> amount, as Ray counts them."""

GPU_NODE_SECONDS = 900.0
"""How long to wait for an autoscaler's first node with a GPU. Our choice: machines boot and pull images in minutes."""


RECONNECT, RECONNECT_SECONDS = "RAY_gcs_rpc_server_reconnect_timeout_s", 60.0
"""Ray's setting and its default: without the cluster's head for so long, Ray ends this process."""

SMALLEST_SHARE = 1e-4
"""Of a GPU: Ray's resolution."""


@contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Start a Ray on this machine, or join the cluster at `address` or `$RAY_ADDRESS`; leave at the end.

    A Ray that runs on this machine already is another's, or another study's, and is not joined without an address.

    Raises:
        ClusterError: the cluster cannot be reached, Ray cannot use its temporary folder, or this process uses a Ray.
        RayStartError: Ray's processes did not start here in time.
    """
    if ray.is_initialized():
        raise ClusterError("cannot start Ray: this process uses one already; end that one with ray.shutdown()")
    others, of_ray = _children(), frozenset[Any]()
    try:
        try:
            with _own_sigterm_handler():
                _start_or_join(address)
        finally:
            of_ray = _children() - others
        restore_sigterm()  # Ray's C++ code has replaced it too
        raise_if_interrupted()
        stop_watching = _watch_ray()
        try:
            yield
        finally:
            stop_watching()
    except KeyboardInterrupt:
        ignore_interrupts()
        raise
    finally:
        _shut_down(of_ray)


def _children() -> frozenset[Any]:
    """The processes that this one has started, as psutil's, of which Ray brings its own copy."""
    return frozenset(utils.psutil.Process().children())


def _shut_down(of_ray: Iterable[Any]) -> None:
    """Shut Ray down, and end what its processes have started; other children of this process may still be needed."""
    started = []
    for process in of_ray:
        with suppress(utils.psutil.NoSuchProcess):
            started += [process, *process.children(recursive=True)]
    node = ray._private.worker._global_node
    if node is not None:
        end_processes = node.kill_all_processes

        def end_with_handler(**options: bool) -> None:
            restore_sigterm()  # Ray's C++ code has just removed the handler, and this takes seconds
            end_processes(**options)

        node.kill_all_processes = end_with_handler
    ray.shutdown()
    restore_sigterm()
    for process in started:  # agents that were still starting do not notice that Ray has ended
        with suppress(utils.psutil.NoSuchProcess):
            process.kill()


@contextmanager
def _own_sigterm_handler() -> Iterator[None]:
    """Keep this program's handler of SIGTERM while Ray starts: Ray's have another exit status and may wait 30 s."""
    before, utils.set_sigterm_handler = utils.set_sigterm_handler, lambda handler: None
    try:
        yield
    finally:
        utils.set_sigterm_handler = before


@contextmanager
def _on_loopback() -> Iterator[None]:
    """Let a Ray that starts here listen on 127.0.0.1 only, and its token be readable by its user only.

    Ray listens on all interfaces unless its node's address is the loopback, which it chooses only where it supports no
    clusters. It ignores `_node_ip_address="127.0.0.1"`, so for the start it is told that this is such a machine.
    """
    folder = Path.home() / ".ray"
    with suppress(OSError):
        folder.mkdir(mode=0o700, exist_ok=True)
    if not os.access(folder, os.W_OK):  # Ray could not store a token: it and its workers get one that is not stored
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    before, ray_constants.ENABLE_RAY_CLUSTER = ray_constants.ENABLE_RAY_CLUSTER, False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before
        with suppress(OSError):
            (folder / "auth_token").chmod(0o600)  # Ray writes it for everyone to read


def _watch_ray() -> Callable[[], None]:
    """End this process when Ray is lost, with a line: Ray itself would end it without. Returns what stops the watch."""
    own = _ray_processes()
    if own:
        return watch_children(own, lambda name: exit_without_ray(f"Ray's {name} has died (killed, or out of memory)"))
    patience = 0.8 * float(os.environ.get(RECONNECT, RECONNECT_SECONDS))
    return watch_server(
        ray.get_runtime_context().gcs_address,
        patience,
        lambda address: exit_without_ray(
            f"the head of the Ray cluster at {address} has not answered for {patience:.0f} s"
        ),
    )


def _ray_processes() -> list[tuple[str, int]]:
    """Name and process id of Ray's processes that this one has started and that every trial needs."""
    node = ray._private.worker._global_node
    started = node.all_processes if node is not None else {}
    return [(name, info.process.pid) for name in ("gcs_server", "raylet") for info in started.get(name, ())]


def _start_or_join(address: str | None) -> None:
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address is None and (address := os.environ.get("RAY_ADDRESS")):
        print(f"joining the Ray cluster at {address}, which RAY_ADDRESS names", flush=True)
    local = not address or address == "local"
    try:
        if local:
            with _on_loopback():
                ray.init(address="local", num_cpus=usable_cpus(), include_dashboard=False, **options)
        else:
            ray.init(address=address, **options)
    except (RayError, ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        if local:
            raise ClusterError(f"cannot start Ray: {error}") from error
        raise ClusterError(
            f"cannot reach the Ray cluster at {address}: {error}. Check the address, and that RAY_AUTH_MODE and the "
            "token are the cluster's"
        ) from error
    except OSError as error:  # Ray's folder is somebody else's, its path is too long for a socket, or the disk is full
        raise ClusterError(
            f"Ray cannot use its temporary folder {get_default_ray_temp_dir()}: {error}. Set RAY_TMPDIR to a folder of "
            "your own with a short path"
        ) from error
    except Exception as error:  # Ray raises bare ones, as when its processes are not up in time
        if not local:
            raise
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise RayStartError(
            f"cannot start Ray: {reason}; the machine may be overloaded; give the same command again"
        ) from error


@dataclass(frozen=True)
class Capacity:
    """The resources of the nodes that are up, and whether an autoscaler may add more.

    Ray does not publish which types of node its autoscaler may start, so what does not fit on a node that is up may
    fit on one that comes later.
    """

    nodes: tuple[Node, ...]
    autoscales: bool = False

    def fits(self, cpus: float, gpus: float) -> bool:
        """Whether one node has this much of both."""
        return any(node.get("CPU", 0) >= cpus and node.get("GPU", 0) >= gpus for node in self.nodes)

    @property
    def gpus(self) -> float:
        """The number of GPUs."""
        return sum(node.get("GPU", 0) for node in self.nodes)


def read_capacity() -> Capacity:
    """The capacity of the cluster that this process has joined."""
    nodes = _nodes()
    resources = tuple({one.resource_name: one.total for one in node.resource_usage.usage} for node in nodes)
    # `ray up` and KubeRay give each node the name of its type; to others Ray gives one made of the node's id.
    return Capacity(resources, any(node.ray_node_type_name != f"node_{node.node_id}" for node in nodes))


def _nodes() -> list[NodeInfo]:
    """The nodes that are up."""
    status = get_cluster_status(ray.get_runtime_context().gcs_address)
    return [*status.active_nodes, *status.idle_nodes]


def decide_gpus(settings: RunSettings) -> RunSettings:
    """Settings in which `gpus_per_trial` is 0 if it was left open and the cluster has no GPU.

    An autoscaler is given GPU_NODE_SECONDS to start a node with a GPU.
    """
    if settings.gpus_per_trial is not None:
        return settings
    capacity = read_capacity()
    if capacity.gpus or (capacity.autoscales and _wait_for_gpu(settings.cpus_per_trial)):
        return settings
    return replace(settings, gpus_per_trial=0.0)


def _wait_for_gpu(cpus: int) -> bool:
    minutes = f"{GPU_NODE_SECONDS / 60:.3g} minutes"
    print(
        f"no GPU is up: waiting up to {minutes} for the autoscaler to start a node with {cpus} CPUs and a GPU "
        "(--gpus-per-trial 0 runs on CPUs at once)",
        flush=True,
    )
    group = ray.util.placement_group([{"CPU": cpus, "GPU": 1}])
    try:
        if group.wait(GPU_NODE_SECONDS):
            return True
    finally:
        ray.util.remove_placement_group(group)
    print(f"no GPU came up within {minutes}: trials run on CPUs", flush=True)
    return False


def check_capacity(settings: RunSettings, precisions: Collection[str]) -> None:
    """Refuse trials that the cluster cannot run; print a line where they have to wait.

    Raises:
        ClusterError: a trial needs more than any node has, or arithmetic that none has.
    """
    check_precision(settings, precisions)
    waiting = check_trials(read_capacity(), settings.cpus_per_trial, settings.gpus_per_trial)
    if waiting:
        print(waiting, flush=True)


def check_trials(capacity: Capacity, cpus: int, gpus: float | None) -> str:
    """Refuse trials that no node can run; returns a line to print where a node must start first, else "".

    Args:
        capacity: the nodes.
        cpus: CPUs of each trial.
        gpus: GPUs of each trial; None: some part of one.

    Raises:
        ClusterError: a trial needs more than any node has, and no autoscaler can add another.
    """
    if capacity.fits(cpus, SMALLEST_SHARE if gpus is None else gpus):
        return ""
    needed = f"{cpus} CPUs" + (" and part of a GPU" if gpus is None else f" and {gpus:g} GPUs" if gpus else "")
    if capacity.autoscales:
        return (
            f"no node that is up has {needed}: waiting for the autoscaler to start one; if none of its node types has "
            "that much, interrupt and lower --cpus-per-trial or --gpus-per-trial"
        )
    found = sorted({(node.get("CPU", 0), node.get("GPU", 0)) for node in capacity.nodes}, reverse=True)
    sizes = "; ".join(f"{cpus:g} CPUs and {gpus:g} GPUs" for cpus, gpus in found[:4]) or "nothing"
    raise ClusterError(
        f"each trial needs {needed}, but the nodes of this cluster have {sizes}; "
        "lower --cpus-per-trial or --gpus-per-trial"
    )


def check_precision(settings: RunSettings, precisions: Collection[str]) -> None:
    """Refuse what trials without a GPU cannot compute.

    Raises:
        ClusterError: training in TF32, and no trial gets a GPU.
    """
    if "tf32" in precisions and settings.gpus_per_trial == 0:
        raise ClusterError("--precision tf32 needs NVIDIA GPUs, and these trials get none; leave it out, or take bf16")


GpuUse = dict[str, tuple[float, float]]
"""Node's address -> GPUs that trials hold, GPUs there are."""


def gpu_use() -> GpuUse:
    """GPUs held and present on each node that has any; empty without GPUs.

    What is held is Ray's bookkeeping of the trials' shares, not the utilisation that the driver measures.
    """
    use: GpuUse = {}
    for node in _nodes():
        for resource in node.resource_usage.usage:
            if resource.resource_name == "GPU":
                held, present = use.get(node.ip_address, (0.0, 0.0))
                use[node.ip_address] = (held + resource.used, present + resource.total)
    return use
