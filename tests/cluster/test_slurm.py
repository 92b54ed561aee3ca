"""The SLURM job in a pretended allocation: its environment, with stand-ins for SLURM's commands, the study and Ray."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from study.results.folder import Results
from tests.cluster.files import ROOT
from tests.cluster.multinode import COMMAND, assert_complete, wait_for

SCRIPT = ROOT / "cluster/slurm.sbatch"
JOB = str(4_000_000 + os.getpid() % 2500)
FOLDER = Path(f"/tmp/study-{JOB}")

SRUN = """
import os, signal, subprocess, sys
command = sys.argv[next(i for i, word in enumerate(sys.argv) if i and not word.startswith("-")):]
nodes = [{**os.environ, "SLURMD_NODENAME": f"node{i}"} for i in range(int(os.environ["SLURM_JOB_NUM_NODES"]))]
tasks = [subprocess.Popen(command, env=node) for node in nodes]
signal.signal(signal.SIGTERM, lambda *unused: [task.terminate() for task in tasks])
sys.exit(max(abs(task.wait()) for task in tasks))
"""
SCONTROL = """
import os, sys
print("scontrol", *sys.argv[1:], file=open(os.environ["RECORD"], "a"))
"""
STUDY = """
import os, signal, sys, time
if "-c" in sys.argv:
    os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
def stop(*unused):
    print("study stopped", file=open(os.environ["RECORD"], "a"), flush=True)
    os._exit(int(os.environ["STOPPED"]))
signal.signal(signal.SIGTERM, stop)
names = ("CUDA_VISIBLE_DEVICES", "RAY_TMPDIR", "TMPDIR", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN")
mode = oct(os.stat(os.environ["TMPDIR"]).st_mode & 0o777)
print("study", *sys.argv[1:], mode, *(f"{name}={os.environ.get(name)}" for name in names),
      file=open(os.environ["RECORD"], "a"), flush=True)
if os.environ["STATUS"]:
    sys.exit(int(os.environ["STATUS"]))
time.sleep(100)
"""
RAY = """
import os, socket, sys, time
if "--head" in sys.argv and os.environ["STATUS"] == "no Ray":
    sys.exit("Ray cannot start")
print("ray", os.environ["SLURMD_NODENAME"], *sys.argv[1:], os.environ["RAY_AUTH_TOKEN"],
      file=open(os.environ["RECORD"], "a"), flush=True)
if "--head" in sys.argv:
    options = dict(option.split("=") for option in sys.argv[1:] if "=" in option)
    listening = socket.create_server((options["--node-ip-address"], int(options["--port"])))
time.sleep(100)
"""


OF_THIS_PROCESS = ("CUDA_VISIBLE_DEVICES", "RAY_AUTH_MODE")
"""Variables that a job does not inherit; Ray sets the second one in a test that started it."""


@dataclass
class Allocation:
    """What SLURM gives a job: a working folder, an environment, and its commands."""

    folder: Path
    nodes: int = 1
    stand_ins: dict[str, str] = field(default_factory=lambda: {"python": STUDY, "ray": RAY})
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        programs = self.folder / "bin"
        programs.mkdir()
        for name, code in {"srun": SRUN, "scontrol": SCONTROL, **self.stand_ins}.items():
            (programs / name).write_text(f"#!{sys.executable}{code}")
            (programs / name).chmod(0o700)
        activate = self.folder / ".venv/bin/activate"
        activate.parent.mkdir(parents=True)
        activate.write_text(f"export PATH={programs}:{Path(sys.executable).parent}:$PATH\n")
        self.environment = {
            **{name: value for name, value in os.environ.items() if name not in OF_THIS_PROCESS},
            "PYTHONPATH": str(ROOT),
            "RECORD": str(self.folder / "record"),
            "STATUS": "",
            "STOPPED": "143",
            "SLURM_JOB_ID": JOB,
            "SLURM_JOB_NUM_NODES": str(self.nodes),
            "SLURM_CPUS_PER_TASK": "1",
            "SLURM_CPUS_ON_NODE": "1",
            "SLURMD_NODENAME": "node0",
            **self.environment,
        }

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """The job's script, which SLURM runs on the first node."""
        command = ["bash", str(SCRIPT), *arguments]
        return subprocess.Popen(command, cwd=self.folder, env=self.environment, stdout=subprocess.PIPE, text=True)

    def record(self) -> list[str]:
        """What the stand-ins were told."""
        file = self.folder / "record"
        return file.read_text().splitlines() if file.exists() else []

    def wait_for_study(self) -> None:
        """Until the study runs."""
        wait_for(lambda: any(line.startswith("study") for line in self.record()))


@pytest.fixture(autouse=True)
def no_folder_is_left() -> Iterator[None]:
    shutil.rmtree(FOLDER, ignore_errors=True)
    yield
    assert not FOLDER.exists()


def test_slurm_ends_the_job_early_queues_it_again_and_keeps_its_log() -> None:
    text = SCRIPT.read_text()
    options = dict(re.findall(r"^#SBATCH --([a-z-]+)(?:=(\S+))?", text, re.MULTILINE))
    assert set(options) == {
        "job-name", "time", "cpus-per-task", "gpus-per-node", "mem-per-cpu", "nodes", "ntasks-per-node", "signal",
        "requeue", "open-mode", "output",
    }  # fmt: skip
    assert options["nodes"] == options["ntasks-per-node"] == "1"
    assert options["signal"] == "B:USR1@180"
    assert options["open-mode"] == "append"
    first_command = re.search(r"^[^#\n]", text, re.MULTILINE)
    assert first_command is not None
    assert "#SBATCH" not in text[first_command.start() :]  # SLURM reads none after it
    assert subprocess.run(["bash", "-n", str(SCRIPT)], check=False).returncode == 0


@pytest.mark.parametrize("status", [0, 3])
def test_one_node_runs_the_study_in_a_folder_of_its_own_and_returns_its_status(tmp_path: Path, status: int) -> None:
    job = Allocation(tmp_path, environment={"STATUS": str(status)})
    assert job.start("--grid", "smoke", "--results", "a folder").wait(60) == status
    (line,) = job.record()
    assert line == (
        f"study -m study.run --grid smoke --results a folder 0o700 CUDA_VISIBLE_DEVICES= RAY_TMPDIR={FOLDER} "
        f"TMPDIR={FOLDER} RAY_AUTH_MODE=None RAY_AUTH_TOKEN=None"
    )


@pytest.mark.parametrize(
    "gpus", [{"CUDA_VISIBLE_DEVICES": "2,3", "SLURM_GPUS_ON_NODE": "2"}, {"SLURM_GPUS_ON_NODE": "1"}]
)
def test_the_gpus_of_the_allocation_are_left_as_slurm_gives_them(tmp_path: Path, gpus: dict[str, str]) -> None:
    job = Allocation(tmp_path, environment={"STATUS": "0", **gpus})
    assert job.start().wait(60) == 0
    assert f"CUDA_VISIBLE_DEVICES={gpus.get('CUDA_VISIBLE_DEVICES')} " in job.record()[0]


@pytest.mark.parametrize(
    ("sent", "stopped", "requeued"),
    [
        (signal.SIGUSR1, 143, True),  # the time limit is near
        (signal.SIGUSR1, 0, False),  # and the study has just finished
        (signal.SIGUSR1, 1, False),
        (signal.SIGTERM, 143, False),  # scancel; and after a preemption SLURM itself queues the job again
    ],
)
@pytest.mark.parametrize("nodes", [1, 2])
def test_the_job_queues_itself_again_only_before_its_time_limit(
    tmp_path: Path, sent: signal.Signals, stopped: int, requeued: bool, nodes: int
) -> None:
    job = Allocation(tmp_path, nodes, environment={"STOPPED": str(stopped)})
    script = job.start()
    job.wait_for_study()
    time.sleep(0.3)
    script.send_signal(sent)
    assert script.wait(60) == stopped
    after = [line for line in job.record() if not line.startswith(("study -m", "ray"))]
    assert after == ["study stopped", *[f"scontrol requeue {JOB}"] * requeued]


def test_several_nodes_are_one_ray_that_has_the_allocations_cpus_and_gpus(tmp_path: Path) -> None:
    job = Allocation(tmp_path, 3, environment={"STATUS": "0", "SLURM_CPUS_ON_NODE": "6", "SLURM_GPUS_ON_NODE": "2"})
    assert job.start("--grid", "full").wait(60) == 0
    *rays, study = sorted(job.record())
    found = re.search(r"--address (\S+):(\d+) .* RAY_AUTH_MODE=token RAY_AUTH_TOKEN=([0-9a-f]{64})$", study)
    assert found is not None
    address, port, token = found[1], int(found[2]), found[3]
    assert 20_000 <= port < 30_000
    assert int(JOB) % 2500 == (port - 20_000) / 4
    resources = f"--num-cpus=6 --num-gpus=2 {token}"
    options = f"--block --disable-usage-stats --dashboard-agent-listen-port={port + 2} {resources}"
    assert [re.sub(rf" --ray-client-server-port={port + 1}\b", "", line) for line in rays] == [
        f"ray node0 start --head --node-ip-address={address} --port={port} --include-dashboard=false {options}",
        f"ray node1 start --address={address}:{port} {options}",
        f"ray node2 start --address={address}:{port} {options}",
    ]


def test_without_a_head_no_study_is_started(tmp_path: Path) -> None:
    job = Allocation(tmp_path, 2, environment={"STATUS": "no Ray", "SECONDS": "299"})
    assert job.start().wait(60) == 3
    assert [line for line in job.record() if not line.startswith("ray node1")] == []


@pytest.mark.slow
def test_a_job_on_two_nodes_is_interrupted_queued_again_and_goes_on_elsewhere(tmp_path: Path) -> None:
    ray = {"RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0", "SLURM_GPUS_ON_NODE": "1"}
    job, results = Allocation(tmp_path, 2, stand_ins={}, environment=ray), tmp_path / "results"
    arguments = [*COMMAND[3:], "--results", str(results)]
    first = job.start(*arguments)
    wait_for(lambda: list((results / "checkpoints").glob("*.pt")), first, seconds=400)
    first.send_signal(signal.SIGUSR1)
    assert first.wait(200) == 143
    assert job.record() == [f"scontrol requeue {JOB}"]
    assert not (results / "run.json").exists()

    Results(results).write_run_lock({"host": "node7", "pid": 1, "token": "killed", "at": time.time() - 20})
    again = job.start(*arguments)
    printed, _ = again.communicate(timeout=500)
    assert again.returncode == 0, printed
    assert "(process 1 on node7): checking whether it still runs" in printed
    assert_complete(results)
