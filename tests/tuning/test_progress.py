"""The progress line shows each node's use of GPUs, and survives a cluster that does not respond."""

import ray

from study.tuning.cluster import gpu_use
from study.tuning.progress import Progress, describe_gpus


def test_without_gpus_nothing_is_shown() -> None:
    assert describe_gpus({}) == ""
    assert "GPU" not in Progress({}, {}).summary()


def test_nodes_with_the_most_free_gpus_come_first() -> None:
    use = {"10.0.0.1": (1.0, 1.0), "10.0.0.2": (0.25, 1.0)}
    assert describe_gpus(use) == "GPUs 1.25/2 (10.0.0.2 0.25/1, 10.0.0.1 1/1)"
    assert describe_gpus(use) in Progress({}, {}, gpu_use=lambda: use).summary()


def test_one_machine_needs_no_address() -> None:
    assert describe_gpus({"10.0.0.1": (7.75, 8.0)}) == "GPUs 7.75/8"


def test_a_large_cluster_fits_one_line() -> None:
    use = {f"node{i}": (i / 10, 1.0) for i in range(8)}
    assert describe_gpus(use) == "GPUs 2.8/8 (node0 0/1, node1 0.1/1, node2 0.2/1, node3 0.3/1, 4 more)"


def test_an_error_of_the_cluster_does_not_end_the_run() -> None:
    def gone() -> dict[str, tuple[float, float]]:
        raise ConnectionError("the head is gone")

    assert Progress({}, {}, gpu_use=gone).summary() == "0/0 done, 0 running, 0 failed | elapsed 0:00 | ETA unknown"


def test_use_is_rays_bookkeeping() -> None:
    import time

    @ray.remote(num_cpus=1, num_gpus=0.25)
    class Trial:
        def ready(self) -> bool:
            return True

    ray.init(num_cpus=2, num_gpus=1, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    try:
        (address,) = gpu_use()
        assert gpu_use() == {address: (0.0, 1.0)}
        trial = Trial.remote()
        assert ray.get(trial.ready.remote())
        deadline = time.monotonic() + 20  # Ray's figures lag a little behind
        while gpu_use() != {address: (0.25, 1.0)}:
            assert time.monotonic() < deadline, gpu_use()
            time.sleep(0.1)
    finally:
        ray.shutdown()
