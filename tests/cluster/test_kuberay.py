"""The Kubernetes objects have the keys that KubeRay's reference of ray.io/v1 requires, and no others."""

from typing import Any

from tests.cluster.files import kuberay, unknown

ANY = None
LEAF: dict[str, None] = {}
OBJECT = {"apiVersion": LEAF, "kind": LEAF, "metadata": {"name": LEAF, "labels": ANY}}
CONTAINER = {
    "name": LEAF,
    "image": LEAF,
    "env": {"name": LEAF, "value": LEAF},
    "resources": {"limits": ANY, "requests": ANY},
}
POD = {
    "spec": {
        "serviceAccountName": LEAF,
        "nodeSelector": ANY,
        "tolerations": {"key": LEAF, "operator": LEAF, "effect": LEAF},
        "containers": CONTAINER,
    }
}
RAY_CLUSTER = OBJECT | {
    "spec": {
        "rayVersion": LEAF,
        "authOptions": {"mode": LEAF},
        "enableInTreeAutoscaling": LEAF,
        "autoscalerOptions": {"version": LEAF, "idleTimeoutSeconds": LEAF},
        "headGroupSpec": {"serviceType": LEAF, "rayStartParams": ANY, "template": POD},
        "workerGroupSpecs": {
            "groupName": LEAF,
            "replicas": LEAF,
            "minReplicas": LEAF,
            "maxReplicas": LEAF,
            "rayStartParams": ANY,
            "template": POD,
        },
    }
}
RAY_JOB = OBJECT | {"spec": {"clusterSelector": ANY, "submissionMode": LEAF, "entrypoint": LEAF}}


def spec(kind: str) -> dict[str, Any]:
    found: dict[str, Any] = kuberay()[kind]["spec"]
    return found


def test_objects_have_only_documented_keys() -> None:
    objects = kuberay()
    assert set(objects) == {"RayCluster", "NetworkPolicy", "RayJob"}
    assert unknown(objects["RayCluster"], RAY_CLUSTER) == []
    assert unknown(objects["RayJob"], RAY_JOB) == []
    assert {objects[kind]["apiVersion"] for kind in ("RayCluster", "RayJob")} == {"ray.io/v1"}


def test_the_head_runs_no_trial_and_workers_own_a_gpu() -> None:
    cluster = spec("RayCluster")
    assert cluster["headGroupSpec"]["rayStartParams"] == {"num-cpus": "0", "num-gpus": "0"}  # strings, says the CRD
    (workers,) = cluster["workerGroupSpecs"]
    assert workers["minReplicas"] <= workers["replicas"] <= workers["maxReplicas"]
    (container,) = workers["template"]["spec"]["containers"]
    assert container["resources"]["limits"] == container["resources"]["requests"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 1


def test_the_job_runs_the_study_on_that_cluster() -> None:
    job = spec("RayJob")
    assert job["clusterSelector"] == {"ray.io/cluster": kuberay()["RayCluster"]["metadata"]["name"]}
    assert job["entrypoint"].startswith("python -m study.run --grid full ")
    assert "--results s3://" in job["entrypoint"]
