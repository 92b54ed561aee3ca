"""Whether trials fit: on the nodes that are up, and on those that the autoscaler may add."""

from pathlib import Path

import pytest

from study.tuning.cluster import Capacity, ClusterError, _autoscaler, check_data, check_fit
from tests.cluster.files import LAUNCHER, launcher
from tests.cluster.scripts import run_script
from tests.cluster.test_autoscaling import AutoscaledCluster

HEAD = {"CPU": 0.0}
WORKER = {"CPU": 4.0, "GPU": 1.0, "object_store_memory": 1e9}


def test_a_trial_that_fits_a_live_node_needs_no_word() -> None:
    assert check_fit(Capacity((WORKER,)), 4, 0.5) == ""
    assert check_fit(Capacity(({"CPU": 8.0},)), 1, None) == ""


@pytest.mark.parametrize(("cpus", "gpus"), [(5, 0.0), (1, 2.0), (6, None)])
def test_a_trial_larger_than_any_node_is_refused_in_one_line(cpus: int, gpus: float | None) -> None:
    with pytest.raises(ClusterError, match="4 CPUs and 1 GPUs") as refused:
        check_fit(Capacity((HEAD, WORKER), (WORKER,), grows=True), cpus, gpus)
    assert "lower --cpus-per-trial or --gpus-per-trial" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_cpus_and_gpus_must_be_on_the_same_node() -> None:
    with pytest.raises(ClusterError):
        check_fit(Capacity(({"CPU": 16.0}, {"CPU": 2.0, "GPU": 1.0})), 8, 0.25)


@pytest.mark.parametrize("gpus", [0.25, None])
def test_what_the_autoscaler_may_add_is_waited_for(gpus: float | None) -> None:
    waiting = check_fit(Capacity((HEAD,), (WORKER,), grows=True), 4, gpus)
    assert "waiting for the autoscaler to start one" in waiting


def test_an_autoscaler_that_cannot_be_asked_is_waited_for_with_a_warning() -> None:
    unknown = Capacity((HEAD,), (), grows=True)
    assert "cannot be read from here" in check_fit(unknown, 4, 0.25)
    on_cpus = check_fit(Capacity(({"CPU": 4.0},), (), grows=True), 4, None)
    assert "trials run on CPUs" in on_cpus
    assert "--gpus-per-trial" in on_cpus


def test_a_cluster_without_autoscaler_is_what_is_up() -> None:
    with pytest.raises(ClusterError, match=r"0\.25 GPUs"):
        check_fit(Capacity(({"CPU": 4.0},)), 1, 0.25)


def test_trials_beside_a_gpu_are_bounded_by_its_cpus() -> None:
    assert Capacity((HEAD, WORKER)).trials_per_gpu(1) == 4
    assert Capacity((HEAD, {"CPU": 8.0, "GPU": 2.0})).trials_per_gpu(2) == 2
    assert Capacity((HEAD,), (WORKER,)).trials_per_gpu(3) == 1
    assert Capacity((HEAD,)).trials_per_gpu(1) == 1


def test_data_must_fit_the_object_store_of_the_smallest_node() -> None:
    nodes = Capacity((WORKER, WORKER | {"object_store_memory": 5e8}))
    assert check_data(nodes, {"mnist": 10**8, "cifar10": 2 * 10**8}) == ""
    assert "0.60 GB" in check_data(nodes, {"mnist": 3 * 10**8, "cifar10": 3 * 10**8})
    with pytest.raises(ClusterError, match=r"images of cifar10 take 0\.60 GB but .* 0\.50 GB: .*--object-store-memory"):
        check_data(nodes, {"mnist": 1, "cifar10": 6 * 10**8})
    assert check_data(Capacity((HEAD,)), {"mnist": 10**12}) == ""


GCS = "10.0.0.1:6379"
MONITOR = ["python", "/x/ray/autoscaler/_private/monitor.py", f"--gcs-address={GCS}"]


def test_node_types_are_read_where_the_autoscaler_reads_them(monkeypatch: pytest.MonkeyPatch) -> None:
    command = [*MONITOR, f"--autoscaling-config={LAUNCHER['aws']}"]
    monkeypatch.setattr("study.tuning.cluster._command", lambda pid: command if pid == 7 else [])
    declared, grows = _autoscaler({"monitor_pid": 7}, GCS)
    assert grows
    types = launcher("aws")["available_node_types"]
    assert list(declared) == [types["gpu_spot"]["resources"], types["gpu_on_demand"]["resources"]]
    assert Capacity((HEAD,), declared, grows).has_gpus


def test_a_monitor_without_a_configuration_is_no_autoscaler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("study.tuning.cluster._command", lambda pid: MONITOR)
    assert _autoscaler({"monitor_pid": 7, "autoscaler_report": {"active_nodes": {"gpu": 1}}}, GCS) == ((), False)


@pytest.mark.parametrize("command", [[], ["vim", f"--gcs-address={GCS}"], [*MONITOR[:2], "--gcs-address=other:1"]])
def test_from_another_machine_the_names_of_node_types_tell(monkeypatch: pytest.MonkeyPatch, command: list[str]) -> None:
    """Ray's monitor makes up a type for each node of a cluster that has no autoscaler."""
    monkeypatch.setattr("study.tuning.cluster._command", lambda pid: command)
    assert _autoscaler({"monitor_pid": 7, "autoscaler_report": {"active_nodes": {"gpu": 1}}}, GCS) == ((), True)
    starting = {"active_nodes": {}, "node_type_mapping": {"ff": "ray.head.default"}}
    assert _autoscaler({"monitor_pid": 7, "autoscaler_report": starting}, GCS) == ((), True)
    assert _autoscaler({"autoscaler_report": {"active_nodes": {"node_ab12": 1}}}, GCS) == ((), False)
    assert _autoscaler({}, GCS) == ((), False)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes in /proc")
def test_on_rays_own_autoscaler(tmp_path: Path) -> None:
    with AutoscaledCluster(tmp_path, most=1, least=0) as cluster:  # none comes before it is asked for
        done = run_script(SCRIPT, cluster.address, seconds=300)
    assert "({'CPU': 1, 'GPU': 1},) True" in done.stdout
    assert "waiting for the autoscaler to start one" in done.stdout
    assert "refused: each trial asks for 3 CPUs and 0.5 GPUs, but" in done.stdout
    assert "ran on a GPU node: [0]" in done.stdout


SCRIPT = """
import sys, time
import ray
from study.tuning import cluster as capacity, tuner
from study.tuning.resources import Resources

tuner.connect(sys.argv[1])
deadline = time.monotonic() + 60
while not capacity.survey().grows and time.monotonic() < deadline:  # its monitor has only just started
    time.sleep(.5)
nodes = capacity.survey()
print(nodes.declared, nodes.grows)
tuner.check_fit(Resources(gpus_per_trial=.5))
try:
    tuner.check_fit(Resources(cpus_per_trial=3, gpus_per_trial=.5))
except capacity.ClusterError as error:
    print("refused:", error)
print("ran on a GPU node:", ray.get(ray.remote(num_cpus=1, num_gpus=.5)(ray.get_gpu_ids).remote(), timeout=200))
"""
