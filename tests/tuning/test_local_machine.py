"""A run without a cluster uses every GPU of the machine, and is not open to others."""

import stat
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from study.results.folder import Results
from tests.cluster.scripts import run_script
from tests.tuning.faults import AT_ONCE

EIGHT_GPUS = """
import os, sys
os.environ["RAY_OVERRIDE_RESOURCES"] = '{"CPU": 32, "GPU": 8}'  # instead of those that Ray finds
from search_spaces import Request, plan
from study.data import load, split
from study.results.folder import Results
from study.trials.device_data import data_key
from study.tuning import progress, tuner
from study.tuning.cluster import connected
from study.tuning.settings import RunSettings
from tests.tuning.faults import waits_for_all_others

progress.LINE_SECONDS = 0.0
results = Results(sys.argv[1]); results.create()
grid = plan(Request("smoke", select={"batch_size": ("32",), "regime": ("benchmark",)}, seeds=tuple(range(32)),
                    epochs=1, train_size=64, test_size=20, probes="headline"))
work = list(grid.values())
whole = load("digits_8x8", "unused")
data = {data_key(p): (split(whole, train_size=64, val_size=174, test_size=20), whole.sha256) for p in work}
shown = progress.Progress({t: 1.0 for t in grid}, {})
with connected(None):
    tuner.run_trials(work, tuner.put(data), results, shown, settings=RunSettings(gpus_per_trial=.25),
                     execute_trial=waits_for_all_others)
"""


@pytest.mark.slow
def test_eight_gpus_run_four_trials_each_and_every_process_sees_one(tmp_path: Path) -> None:
    done = run_script(EIGHT_GPUS, str(tmp_path), seconds=580)
    seen = [path.read_text().split() for path in tmp_path.glob("gpus-*.txt")]
    assert len({process for process, _ in seen}) == AT_ONCE
    assert sorted(gpu for _, gpu in seen) == sorted(str(i // 4) for i in range(AT_ONCE))
    assert {row["status"] for row in Results(tmp_path).read_rows()[0]} == {"diverged"}
    assert "32 running" in done.stdout
    assert "GPUs 8/8" in done.stdout


SOCKETS = """
import ray
from study.tuning.cluster import connected

with connected(None):
    ray.get(ray.remote(lambda: None).remote())
    import psutil  # Ray's own copy
    driver = psutil.Process()
    for process in [driver, *driver.children(recursive=True)]:
        for socket in process.net_connections(kind="inet"):
            if socket.status == psutil.CONN_LISTEN:
                print("listens", socket.laddr.ip)
"""


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder for Ray, whose sockets need a short path."""
    with tempfile.TemporaryDirectory(prefix="ray-") as folder:
        yield Path(folder)


def test_local_ray_listens_on_loopback_only_and_its_token_is_its_users(tmp_path: Path, short_folder: Path) -> None:
    """Nor does it join another Ray of this machine, which stores its address in this file."""
    (short_folder / "ray").mkdir()
    (short_folder / "ray/ray_current_cluster").write_text("127.0.0.1:1")
    done = run_script(SOCKETS, HOME=str(tmp_path), RAY_TMPDIR=str(short_folder))
    found = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("listens")]
    assert len(found) >= 4  # GCS, raylet, driver, worker
    assert set(found) <= {"127.0.0.1", "::ffff:127.0.0.1", "::1"}
    assert stat.S_IMODE((tmp_path / ".ray" / "auth_token").stat().st_mode) == 0o600


def test_a_path_too_long_for_a_socket_is_one_line_that_names_the_variable(short_folder: Path) -> None:
    long = short_folder / ("long" * 20)
    long.mkdir()
    script = f"""
        from study.run import main
        raise SystemExit(main(["--grid", "smoke", "--epochs", "1", "--train-size", "128", "--test-size", "20",
                               "--results", {str(short_folder / "results")!r}, "--no-report"]))
    """
    done = run_script(textwrap.dedent(script), status=2, RAY_TMPDIR=str(long))
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("study.run: ")]
    assert f"Ray cannot use its temporary folder {long}/ray: " in line
    assert "length cannot exceed" in line
    assert line.endswith("Set RAY_TMPDIR to a folder of your own with a short path")
    assert not (short_folder / "results/run.json").exists()


OTHERS = """
import subprocess
import ray
from study.tuning.cluster import ClusterError, connected

with connected(None):
    import psutil  # Ray's own copy
    of_ray = psutil.Process().children(recursive=True)
    others = subprocess.Popen(["sleep", "60"])
    try:
        with connected(None):
            pass
    except ClusterError as error:
        print(error)
    assert ray.is_initialized()
_, alive = psutil.wait_procs(of_ray, timeout=10)
print("ended:", len(of_ray) > 2 and not alive, "others:", others.poll())
others.kill()
"""


def test_leaving_ray_ends_its_processes_only_and_one_that_runs_is_not_joined() -> None:
    """Nor is a home folder needed that can be written to."""
    refused, ended = run_script(OTHERS, HOME="/dev/null/none").stdout.splitlines()
    assert refused.startswith("cannot start Ray: this process uses one already")
    assert ended == "ended: True others: None"
