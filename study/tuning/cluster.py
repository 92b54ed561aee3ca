"""What the nodes of a cluster hold, now and once its autoscaler has added all that it may: do the trials fit?"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import yaml
from ray._private import ray_constants, state
from ray.experimental import internal_kv

Node = Mapping[str, float]
"""Resource -> amount, as Ray counts them; `object_store_memory` in bytes."""

READ_ONLY = "node_"
"""Ray's monitor makes up a type of this prefix for each node of a cluster that has no autoscaler."""


class ClusterError(Exception):
    """Ray cannot be started or reached, or the trials fit on no node."""


@dataclass(frozen=True)
class Capacity:
    """The nodes that run trials.

    Attributes:
        live: nodes that are up.
        declared: node types that the autoscaler may still start; none where they cannot be read from here.
        grows: whether the cluster has an autoscaler.
    """

    live: tuple[Node, ...]
    declared: tuple[Node, ...] = ()
    grows: bool = False

    def fits(self, cpus: float, gpus: float, *, now: bool = False) -> bool:
        """Whether one node, up or declared (`now`: up), has this much of both."""
        nodes = self.live if now else (*self.live, *self.declared)
        return any(node.get("CPU", 0) >= cpus and node.get("GPU", 0) >= gpus for node in nodes)

    @property
    def has_gpus(self) -> bool:
        """Whether a node has a GPU, up or declared."""
        return any(node.get("GPU", 0) > 0 for node in (*self.live, *self.declared))

    def trials_per_gpu(self, cpus: int) -> int:
        """How many trials of so many CPUs the CPUs beside one GPU carry, on the node where they carry most."""
        nodes = [node for node in (*self.live, *self.declared) if node.get("GPU", 0) > 0]
        return max((int(node.get("CPU", 0) // (cpus * max(1, node["GPU"]))) for node in nodes), default=1)


def survey() -> Capacity:
    """The capacity of the cluster that this process has joined."""
    live = tuple(node["Resources"] for node in ray.nodes() if node["Alive"])
    declared, grows = _declared()
    return Capacity(live, declared, grows)


def check_fit(capacity: Capacity, cpus: int, gpus: float | None) -> str:
    """Refuse trials that no node can ever run; returns a line to show where a node must come up first, else "".

    `gpus` is the fraction that each trial asks for; None: whatever suits the cluster.

    Raises:
        ClusterError: a trial asks for more than any node has, up or declared.
    """
    asked = f"{cpus} CPUs" + (f" and {gpus:g} GPUs" if gpus else "")
    if not capacity.fits(cpus, gpus or 0.0):
        if capacity.grows and not capacity.declared:
            return (
                f"no node that is up has {asked}: waiting for the autoscaler, whose node types cannot be read from "
                "here; if none of them has that much, interrupt and ask for less"
            )
        raise ClusterError(
            f"each trial asks for {asked}, but {_largest(capacity)}; lower --cpus-per-trial or --gpus-per-trial"
        )
    if gpus is None and capacity.grows and not capacity.declared and not capacity.has_gpus:
        return (
            "no GPU is up and the autoscaler's node types cannot be read from here: trials run on CPUs; "
            "interrupt and give --gpus-per-trial to wait for GPUs"
        )
    wanted = gpus if gpus is not None else float(capacity.has_gpus)
    if not capacity.fits(cpus, wanted, now=True) and capacity.fits(cpus, wanted):
        return f"no node that is up has {cpus} CPUs and {wanted:g} GPUs yet: waiting for the autoscaler to start one"
    return ""


def check_precision(capacity: Capacity, precisions: Collection[str], gpus: float | None) -> None:
    """Refuse what a cluster without GPUs cannot compute.

    Raises:
        ClusterError: training in TF32 is asked for, and no trial will have a GPU.
    """
    without = gpus == 0 or (gpus is None and not capacity.has_gpus and not capacity.grows)
    if "tf32" in precisions and without:
        raise ClusterError("--precision tf32 is of NVIDIA GPUs, and these trials get none; leave it out, or take bf16")


def check_data(capacity: Capacity, sizes: Mapping[str, int]) -> str:
    """Refuse data that no node can share among its trials; returns a line where they fit one at a time only, else "".

    `sizes` are the bytes of each data set's arrays, of which a node keeps one copy in Ray's object store.

    Raises:
        ClusterError: one of them alone is larger than the object store of some node.
    """
    stores = [node["object_store_memory"] for node in capacity.live if node.get("object_store_memory")]
    if not stores or not sizes:
        return ""
    store = min(stores)
    name, largest = max(sizes.items(), key=lambda item: item[1])
    remedy = "give its nodes more (ray start --object-store-memory BYTES) or its trials less (--train-size N)"
    if largest > store:
        raise ClusterError(
            f"the images of {name} take {_gb(largest)} but Ray's object store on the smallest node is "
            f"{_gb(store)}: {remedy}"
        )
    if sum(sizes.values()) > store:
        return (
            f"all images take {_gb(sum(sizes.values()))} and Ray's object store on the smallest node is {_gb(store)}: "
            f"Ray will move some to its disk and back; to avoid it {remedy}"
        )
    return ""


def _gb(size: float) -> str:
    return f"{size / 1e9:.2f} GB"


def _largest(capacity: Capacity) -> str:
    nodes = {(node.get("CPU", 0), node.get("GPU", 0)) for node in (*capacity.live, *capacity.declared)}
    sizes = [f"{cpus:g} CPUs and {gpus:g} GPUs" for cpus, gpus in sorted(nodes, reverse=True)[:4]]
    return f"the nodes of this cluster have {'; '.join(sizes) or 'nothing'}"


def _declared() -> tuple[tuple[Node, ...], bool]:
    """What the autoscaler may start, and whether there is one."""
    try:
        # Ray's own answer where a platform gives it; its autoscaler does not
        reported = state.state.get_cluster_config()
        if reported is not None and reported.node_group_configs:
            groups = [dict(group.resources) for group in reported.node_group_configs if group.max_count]
            return tuple(groups), True
        status = internal_kv._internal_kv_get(ray_constants.DEBUG_AUTOSCALING_STATUS) or b"{}"
        return _autoscaler(json.loads(status), ray.get_runtime_context().gcs_address)
    except Exception:  # private parts of Ray, which may change: then the live nodes are all that is known
        return (), False


def _autoscaler(status: Mapping[str, Any], gcs_address: str) -> tuple[tuple[Node, ...], bool]:
    """From the status that Ray's monitor writes; on its own machine the node types can be read where it reads them."""
    command = _command(int(status.get("monitor_pid") or 0))
    if any("monitor.py" in word for word in command) and f"--gcs-address={gcs_address}" in command:
        option = "--autoscaling-config="
        files = [Path(word.removeprefix(option)).expanduser() for word in command if word.startswith(option)]
        return (_types(files[0]), True) if files else ((), False)
    report = status.get("autoscaler_report") or {}
    names = {*(report.get("active_nodes") or ()), *(report.get("node_type_mapping") or {}).values()}
    return (), any(not name.startswith(READ_ONLY) for name in names)


def _types(configuration: Path) -> tuple[Node, ...]:
    types = yaml.safe_load(configuration.read_text())["available_node_types"].values()
    return tuple(dict(one.get("resources") or {}) for one in types if one.get("max_workers", 1))


def _command(pid: int) -> list[str]:
    """The command line of a process of this machine; empty if it is not there."""
    file = Path(f"/proc/{pid}/cmdline")
    return file.read_bytes().decode().split("\0") if pid and file.exists() else []


GpuUse = dict[str, tuple[float, float]]
"""Node's address -> GPUs held, GPUs there are."""


def gpu_use() -> GpuUse:
    """GPUs held and present on each live node that has any; empty without GPUs.

    The share is Ray's bookkeeping of what trials asked for, not the utilisation that the driver measures.
    """
    nodes: list[dict[str, Any]] = [n for n in ray.nodes() if n["Alive"] and n["Resources"].get("GPU", 0) > 0]
    if not nodes:
        return {}
    free = state.available_resources_per_node()  # ray.available_resources() sums over nodes
    present = {node["NodeID"]: (node["NodeManagerAddress"], node["Resources"]["GPU"]) for node in nodes}
    use: GpuUse = {}
    for node_id, (address, total) in present.items():
        held, there = use.get(address, (0.0, 0.0))
        use[address] = (held + total - free.get(node_id, {}).get("GPU", 0.0), there + total)
    return use
