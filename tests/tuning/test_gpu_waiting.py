"""Measuring what trials take of a GPU never holds a study up: nodes that do not come, measurements that hang."""

from pathlib import Path

import pytest

from study.tuning.cluster import Capacity
from study.tuning.gpu_measurement import usable
from tests.cluster.scripts import run_script

T4, A10 = {"accelerator_type:T4": 1.0}, {"accelerator_type:A10G": 1.0}


def test_only_gpus_of_nodes_that_are_up_are_measured() -> None:
    nodes = Capacity(({"CPU": 4.0}, {"CPU": 4.0, "GPU": 1.0, **T4}), ({"CPU": 4.0, "GPU": 1.0, **A10},), grows=True)
    assert usable(nodes, 4) == list(T4)
    assert usable(nodes, 5) == []  # no measurer of five CPUs would ever start
    assert usable(Capacity(nodes.live[:1], nodes.declared, grows=True), 1) == []


def test_gpus_without_a_name_are_of_one_kind() -> None:
    assert usable(Capacity(({"CPU": 4.0, "GPU": 2.0}, {"CPU": 4.0, "GPU": 1.0})), 1) == [""]


SCRIPT = """
import sys, time
import ray
from search_spaces import Request, plan
from study.tuning import gpu_measurement
from study.tuning.cluster import Capacity, survey
from study.data import load, split
from study.trials.device_data import data_key
from study.tuning.resources import Resources
from study.results.folder import Results
from tests.tuning.gpu_trials import hang_on_large, pretend, refuse

grid = plan(Request("smoke", select={"batch_size": ("32", "128"), "regime": ("benchmark",)}, seeds=(0,),
                    epochs=1, train_size=64, test_size=20, probes="headline"))
whole = load("digits", "unused")
ray.init(num_cpus=8, num_gpus=2, log_to_driver=False, include_dashboard=False)
references = {data_key(p): (ray.put(split(whole, train_size=64, val_size=240, test_size=20)), whole.sha256)
              for p in grid.values()}

def shares(folder, measure, cpus, *surveys):
    results, answers = Results(f"{sys.argv[1]}/{folder}"), [*surveys, survey()]
    results.create()
    gpu_measurement.survey = lambda: answers.pop(0)
    began = time.monotonic()
    found = gpu_measurement.trial_shares(list(grid.values()), references, results, Resources(cpus), {}, measure)
    by_size = sorted({(p.trial.batch_size, found[t]) for t, p in grid.items()})
    known = len(results.read_gpu_shares())
    print(folder, by_size, known, "known, in time" if time.monotonic() - began < 200 else "known, late", flush=True)

gpu_measurement.NODE_SECONDS, gpu_measurement.MEASURE_SECONDS = 6.0, 42.0
declared = ({"CPU": 64.0, "GPU": 1.0},)
none_up = Capacity(({"CPU": 8.0},), declared, grows=True)
shares("never", refuse, 9, none_up, none_up)
shares("comes", pretend, 1, none_up)
shares("comes", refuse, 1, none_up)
shares("hangs", hang_on_large, 1)
print("free again", ray.get(ray.remote(num_gpus=2)(lambda: "yes").remote(), timeout=60))
"""


@pytest.mark.slow
def test_nodes_that_do_not_come_and_measurements_that_hang_are_waited_for_a_while(tmp_path: Path) -> None:
    done = run_script(SCRIPT, str(tmp_path), seconds=280)
    assert done.stdout.count("waiting up to 0.1 minutes for a node with a GPU to measure on") == 2
    assert "never [(32, 0.25), (128, 0.25)] 0 known, in time" in done.stdout
    assert "no node with a GPU to measure on after 0.1 minutes: unmeasured trials get 0.25 of a GPU" in done.stderr
    assert done.stdout.count("comes [(32, 0.25), (128, 1.0)] 2 known, in time") == 2  # the second time as stored
    assert "hangs [(32, 0.25), (128, 0.25)] 1 known, in time" in done.stdout
    assert "no measurement ended within 0.7 minutes, 1 are given up" in done.stderr
    assert "free again yes" in done.stdout
