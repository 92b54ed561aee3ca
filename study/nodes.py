"""How much of each node's GPUs the running trials hold."""

from __future__ import annotations

from typing import Any

import ray
from ray._private import state

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
