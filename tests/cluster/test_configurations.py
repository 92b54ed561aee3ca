"""The configurations of `ray up` are valid, complete and pinned; Ray's schema does not look into provider and nodes."""

import re
import tomllib

import pytest
from packaging.requirements import Requirement
from ray.autoscaler.v2.instance_manager.config import AutoscalingConfig
from ray.autoscaler.v2.scheduler import ResourceDemandScheduler, SchedulingRequest
from ray.autoscaler.v2.utils import ResourceRequestUtil

from tests.cluster.files import DOCKERFILE, LAUNCHER, ROOT, kuberay, launcher, prepared, unknown

NOTHING: dict[str, None] = {}
PROVIDER = {
    "aws": {"type", "region", "availability_zone", "cache_stopped_nodes", "use_internal_ips"},
    "gcp": {"type", "project_id", "region", "availability_zone", "cache_stopped_nodes"},
    "local": {"type", "head_ip", "worker_ips"},
}
GCP_NODE = {
    "machineType": NOTHING,
    "disks": {
        "boot": NOTHING,
        "autoDelete": NOTHING,
        "type": NOTHING,
        "initializeParams": {"diskSizeGb": NOTHING, "sourceImage": NOTHING},
    },
    "networkInterfaces": {"subnetwork": NOTHING, "accessConfigs": {"name": NOTHING, "type": NOTHING}},
    "serviceAccounts": {"email": NOTHING, "scopes": NOTHING},
    "scheduling": {
        "provisioningModel": NOTHING,
        "instanceTerminationAction": NOTHING,
        "onHostMaintenance": NOTHING,
        "automaticRestart": NOTHING,
    },
}
clouds = pytest.mark.parametrize("provider", ["aws", "gcp"])
everywhere = pytest.mark.parametrize("provider", sorted(LAUNCHER))


@everywhere
def test_ray_accepts_the_configuration(provider: str) -> None:
    config = prepared(provider)
    assert config["head_node_type"] in config["available_node_types"]


@everywhere
def test_the_provider_has_only_fields_that_its_documentation_names(provider: str) -> None:
    assert set(launcher(provider)["provider"]) == PROVIDER[provider]


def test_gcp_nodes_have_only_fields_that_its_documentation_names() -> None:
    for name, node_type in launcher("gcp")["available_node_types"].items():
        assert unknown(node_type["node_config"], GCP_NODE, name) == []


def test_aws_nodes_fit_the_clients_own_model_of_a_launch() -> None:
    session = pytest.importorskip("botocore.session").get_session()
    validate = pytest.importorskip("botocore.validate").ParamValidator().validate
    launch = session.get_service_model("ec2").operation_model("RunInstances").input_shape
    for node_type in launcher("aws")["available_node_types"].values():
        report = validate({**node_type["node_config"], "MinCount": 1, "MaxCount": 1}, launch)
        assert not report.has_errors(), report.generate_report()


@clouds
def test_no_trial_runs_on_the_head_and_workers_have_gpus(provider: str) -> None:
    types = launcher(provider)["available_node_types"]
    assert types["head"]["resources"] == {"CPU": 0, "GPU": 0}
    for name in ("gpu_spot", "gpu_on_demand"):
        assert types[name]["resources"]["GPU"] >= 1
        assert types[name]["max_workers"] <= launcher(provider)["max_workers"]


def test_spot_and_on_demand_differ_only_in_how_they_are_bought() -> None:
    aws, gcp = (launcher(name)["available_node_types"] for name in ("aws", "gcp"))
    assert aws["gpu_spot"]["node_config"].pop("InstanceMarketOptions")["MarketType"] == "spot"
    assert aws["gpu_spot"]["node_config"] == aws["gpu_on_demand"]["node_config"]
    assert gcp["gpu_spot"]["node_config"].pop("scheduling")["provisioningModel"] == "SPOT"
    assert "provisioningModel" not in gcp["gpu_on_demand"]["node_config"].pop("scheduling")
    assert gcp["gpu_spot"]["node_config"] == gcp["gpu_on_demand"]["node_config"]


@clouds
@pytest.mark.parametrize(("spot_availability", "bought"), [(1.0, "gpu_spot"), (0.0, "gpu_on_demand")])
def test_rays_autoscaler_buys_spot_and_falls_back_to_on_demand(
    provider: str, spot_availability: float, bought: str
) -> None:
    config = launcher(provider)
    config["available_node_types"]["gpu_spot"]["min_workers"] = 0
    autoscaling = AutoscalingConfig(config, skip_content_hash=True)
    four_trials = [ResourceRequestUtil.make({"CPU": 1, "GPU": 0.25})] * 4
    request = SchedulingRequest(
        disable_launch_config_check=True,
        node_type_configs=autoscaling.get_node_type_configs(),
        max_num_nodes=config["max_workers"],
        resource_requests=ResourceRequestUtil.group_by_count(four_trials),
        recoverable_resource_availabilities={"gpu_spot": spot_availability},
    )
    launched = {one.instance_type: one.count for one in ResourceDemandScheduler().schedule(request).to_launch}
    launched.pop("head", None)
    assert launched == {bought: 1}


@everywhere
def test_every_node_gets_the_checkout_the_token_and_the_pinned_packages(provider: str) -> None:
    config = launcher(provider)
    assert config["file_mounts"] == {"/home/ray/study": ".", "/home/ray/.ray-token": "~/.ray/sgd-robustness"}
    assert config["setup_commands"] == [
        "cd /home/ray/study && pip install -q -c cluster/constraints.txt -e '.[cluster]'"
    ]
    options = config["docker"]["run_options"]
    assert "--env RAY_AUTH_TOKEN_PATH=/home/ray/.ray-token/auth_token" in options
    assert "--env STUDY_DATA_DIR=/home/ray/data" in options


def test_versions_are_pinned_once_and_satisfy_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = (ROOT / "cluster/constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    needed = [Requirement(text) for text in project["dependencies"]]
    assert {one.name for one in needed} == set(pins)
    assert all(one.specifier.contains(pins[one.name]) for one in needed)
    tag = f"rayproject/ray:{pins['ray']}-py311-gpu"
    assert {launcher(provider)["docker"]["image"] for provider in LAUNCHER} == {tag}
    assert re.findall(r"^FROM (\S+)$", DOCKERFILE.read_text(), re.MULTILINE) == [tag]
    assert kuberay()["RayCluster"]["spec"]["rayVersion"] == pins["ray"]
