"""Ray's own autoscaler with simulated machines, started for trials that wait and ended when they are idle."""

from __future__ import annotations

import json
import os
import signal
import socket
from pathlib import Path
from typing import Any

import pytest
import ray
from ray._private.services import get_node_ip_address

from benchmarks.simulated_cluster import SHORT_TIMEOUTS, SimulatedCluster
from tests.cluster.multinode import Study, assert_complete, wait_for


class AutoscaledCluster(SimulatedCluster):
    """A head without CPUs and `least` machines of one GPU; the autoscaler adds more of these, up to `most`."""

    def __init__(self, folder: Path, most: int, least: int = 1) -> None:
        fake = {
            "RAY_FAKE_CLUSTER": "1",
            "AUTOSCALER_UPDATE_INTERVAL_S": "1",
            "RAY_NODE_TYPE_NAME": "ray.head.default",  # as `ray up` and KubeRay set it
        }
        super().__init__(0, environment={**SHORT_TIMEOUTS, **fake})
        with socket.socket() as free:
            free.bind(("", 0))
            self._port = free.getsockname()[1]
        worker = {"resources": {"CPU": 1, "GPU": 1}, "node_config": {}, "min_workers": least, "max_workers": most}
        head = {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0}
        self._configuration = folder / "fake.json"
        config = {
            "cluster_name": "fake_multinode",
            "max_workers": most,
            "idle_timeout_minutes": 0.1,
            "upscaling_speed": 1.0,
            "provider": {
                "type": "fake_multinode",
                "gcs_address": f"{get_node_ip_address()}:{self._port}",
                "use_node_id_as_ip": True,  # they share one address
                "disable_node_updaters": True,  # and nothing is installed on them
                "disable_launch_config_check": True,
            },
            "auth": {},
            "available_node_types": {"ray.head.default": head, "gpu": worker},
            "head_node_type": "ray.head.default",
            "docker": {},
            "initialization_commands": [],
            "setup_commands": [],
            "head_setup_commands": [],
            "worker_setup_commands": [],
            "head_start_ray_commands": [],
            "worker_start_ray_commands": [],
            "file_mounts": {},
            "cluster_synced_files": [],
            "file_mounts_sync_continuously": False,
            "rsync_exclude": [],
            "rsync_filter": [],
        }
        self._configuration.write_text(json.dumps(config))

    def _head_options(self) -> dict[str, Any]:
        return {"gcs_server_port": self._port, "autoscaling_config": str(self._configuration)}

    def __exit__(self, *unused: object) -> None:
        raylets = self.raylets()  # the autoscaler starts them, but does not end them
        super().__exit__(*unused)
        for process in raylets:
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                continue

    def raylets(self) -> list[int]:
        """The raylets of the machines that the autoscaler has added."""
        if self._cluster.head_node is None:
            return []
        found = []
        for entry in Path("/proc").iterdir():
            try:
                line = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
            except OSError:
                continue
            if line and line[0].endswith(b"/raylet") and f"--gcs-address={self.address}".encode() in line:
                found.append(int(entry.name))
        return [process for process in found if process != self.process(self._cluster.head_node)]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes in /proc")
def test_machines_are_started_for_waiting_trials_and_ended_when_idle(tmp_path: Path) -> None:
    with AutoscaledCluster(tmp_path, most=2) as cluster:
        wait_for(lambda: len(cluster.raylets()) == 1)
        study = Study(cluster.address, tmp_path / "results")
        wait_for(lambda: len(cluster.raylets()) == 2)
        assert study.finish() == 0, study.printed
        wait_for(lambda: len(cluster.raylets()) == 1)
    assert not ray.is_initialized()
    assert_complete(tmp_path / "results")
