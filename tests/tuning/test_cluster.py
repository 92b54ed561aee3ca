"""Whether trials fit on the nodes that are up, and when an autoscaler's nodes are waited for."""

import errno
from pathlib import Path

import pytest

from study.tuning import cluster
from study.tuning.cluster import Capacity, ClusterError, check_precision, check_trials
from study.tuning.settings import RunSettings
from tests.cluster.scripts import run_script
from tests.cluster.test_autoscaling import AutoscaledCluster

HEAD = {"CPU": 0.0}
WORKER = {"CPU": 4.0, "GPU": 1.0}


def test_nothing_is_printed_of_a_trial_that_fits() -> None:
    assert check_trials(Capacity((HEAD, WORKER)), 4, 0.5) == ""
    assert check_trials(Capacity((HEAD, WORKER)), 4, None) == ""
    assert check_trials(Capacity(({"CPU": 8.0},)), 1, 0.0) == ""


@pytest.mark.parametrize(("cpus", "gpus"), [(5, 0.0), (1, 2.0), (6, None)])
def test_a_trial_larger_than_any_node_is_refused_in_one_line(cpus: int, gpus: float | None) -> None:
    with pytest.raises(ClusterError, match="4 CPUs and 1 GPUs") as refused:
        check_trials(Capacity((HEAD, WORKER)), cpus, gpus)
    assert "lower --cpus-per-trial or --gpus-per-trial" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("gpus", [0.25, None])
def test_cpus_and_gpus_must_be_on_the_same_node(gpus: float | None) -> None:
    with pytest.raises(ClusterError):
        check_trials(Capacity(({"CPU": 16.0}, {"CPU": 2.0, "GPU": 1.0})), 8, gpus)


@pytest.mark.parametrize(("cpus", "gpus"), [(4, 0.25), (4, None), (64, 0.25)])
def test_an_autoscaler_is_waited_for_as_its_node_types_are_not_known(cpus: int, gpus: float | None) -> None:
    waiting = check_trials(Capacity((HEAD,), autoscales=True), cpus, gpus)
    assert f"no node that is up has {cpus} CPUs and " in waiting
    assert "waiting for the autoscaler to start one; if none of its node types has that much" in waiting


def test_a_cluster_without_autoscaler_never_grows() -> None:
    with pytest.raises(ClusterError, match=r"0\.25 GPUs"):
        check_trials(Capacity(({"CPU": 4.0},)), 1, 0.25)


@pytest.mark.parametrize(
    ("gpus_up", "chosen", "decided"), [(0.0, None, 0.0), (2.0, None, None), (2.0, 0.0, 0.0), (0.0, 0.5, 0.5)]
)
def test_trials_run_on_cpus_where_there_is_no_gpu(
    monkeypatch: pytest.MonkeyPatch, gpus_up: float, chosen: float | None, decided: float | None
) -> None:
    monkeypatch.setattr(cluster, "read_capacity", lambda: Capacity(({"CPU": 8.0, "GPU": gpus_up},)))
    assert cluster.decide_gpus(RunSettings(gpus_per_trial=chosen)).gpus_per_trial == decided


def test_tf32_needs_gpus() -> None:
    for gpus in (0.5, None):
        check_precision(RunSettings(gpus_per_trial=gpus), {"tf32", "bf16"})
    check_precision(RunSettings(gpus_per_trial=0.0), {"float32", "bf16"})
    with pytest.raises(ClusterError, match="these trials get none; leave it out, or take bf16"):
        check_precision(RunSettings(gpus_per_trial=0.0), {"tf32"})


def test_rays_folder_of_somebody_else_is_one_line_that_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**options: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "/tmp/ray/session_1")

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", "/tmp")
    monkeypatch.setattr(cluster.ray, "init", refuse)
    with pytest.raises(ClusterError, match=r"folder /tmp/ray: .*Permission denied.*Set RAY_TMPDIR to a folder of your"):
        cluster._start_or_join(None)


def test_a_cluster_is_joined_only_by_its_address_or_the_one_in_the_environment(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    joined = []
    monkeypatch.setattr(cluster.ray, "init", lambda address, **options: joined.append(address))
    for variable, address in (("", None), ("there:1", None), ("there:1", "here:2"), ("there:1", "local")):
        monkeypatch.setenv("RAY_ADDRESS", variable)
        cluster._start_or_join(address)
    assert joined == ["local", "there:1", "here:2", "local"]
    assert capsys.readouterr().out == "joining the Ray cluster at there:1, which RAY_ADDRESS names\n"


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes in /proc")
def test_on_rays_own_autoscaler(tmp_path: Path) -> None:
    with AutoscaledCluster(tmp_path, most=1, least=0) as started:  # none comes before it is requested
        done = run_script(SCRIPT, started.address, seconds=300)
    assert "GPUs before: 0" in done.stdout
    assert (
        "no GPU is up: waiting up to 15 minutes for the autoscaler to start a node with 1 CPUs and a GPU" in done.stdout
    )
    assert "a GPU came: None 1 True" in done.stdout
    assert "no node that is up has 3 CPUs and 0.5 GPUs: waiting for the autoscaler" in done.stdout
    assert "ran on a GPU node: [0]" in done.stdout
    assert "no GPU came: 0.0" in done.stdout


SCRIPT = """
import sys
import ray
from study.tuning import cluster
from study.tuning.settings import RunSettings

with cluster.connected(sys.argv[1]):
    print("GPUs before:", cluster.read_capacity().gpus)
    settings = cluster.decide_gpus(RunSettings())
    capacity = cluster.read_capacity()
    print("a GPU came:", settings.gpus_per_trial, f"{capacity.gpus:g}", capacity.autoscales)
    cluster.check_capacity(RunSettings(cpus_per_trial=3, gpus_per_trial=.5), set())
    print("ran on a GPU node:", ray.get(ray.remote(num_cpus=1, num_gpus=.5)(ray.get_gpu_ids).remote(), timeout=200))
    cluster.GPU_NODE_SECONDS = 6.0
    cluster.read_capacity = lambda: cluster.Capacity((), autoscales=True)
    print("no GPU came:", cluster.decide_gpus(RunSettings(cpus_per_trial=3)).gpus_per_trial)
"""
