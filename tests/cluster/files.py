"""The cluster's configurations, as Ray reads them."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).resolve().parent.parent.parent
LAUNCHER = {"aws": ROOT / "cluster.yaml", "gcp": ROOT / "cluster/gcp.yaml", "local": ROOT / "cluster/local.yaml"}
KUBERAY = ROOT / "cluster/kuberay.yaml"
DOCKERFILE = ROOT / "cluster/Dockerfile"
EVERY = (*LAUNCHER.values(), KUBERAY, DOCKERFILE)


def launcher(provider: str) -> dict[str, Any]:
    """A configuration of `ray up` as written; a copy without YAML's shared parts."""
    return copy.deepcopy(yaml.safe_load(LAUNCHER[provider].read_text()))


def prepared(provider: str) -> dict[str, Any]:
    """The same with Ray's defaults, validated as `ray up` does."""
    config: dict[str, Any] = prepare_config(launcher(provider))
    validate_config(config)
    return config


def kuberay() -> dict[str, dict[str, Any]]:
    """The Kubernetes objects by kind."""
    return {one["kind"]: one for one in yaml.safe_load_all(KUBERAY.read_text())}


def unknown(value: Any, known: Any, path: str = "") -> list[str]:
    """Paths of keys in `value` that `known`, a nested dict of allowed keys (None: anything below), does not have."""
    if known is None:
        return []
    if isinstance(value, list):
        return [found for i, item in enumerate(value) for found in unknown(item, known, f"{path}[{i}]")]
    if not isinstance(value, dict):
        return []
    wrong = [f"{path}.{key}" for key in value if key not in known]
    return wrong + [
        found for key in value if key in known for found in unknown(value[key], known[key], f"{path}.{key}")
    ]
