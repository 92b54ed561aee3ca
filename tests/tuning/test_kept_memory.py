"""A worker keeps the memory that a step frees: after a few steps no page is new."""

import os
import platform
import subprocess
import sys

import pytest

from study.tuning import KEEP_FREED_MEMORY

STEPS = """
import resource, threading
import torch

def work():
    torch.set_num_threads(1)
    for _ in range(10):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        blocks = [torch.ones(2**power) for power in (22, 24, 21, 25)]
        del blocks
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    print(faults)

thread = threading.Thread(target=work)  # Ray Tune runs a trial in a thread
thread.start()
thread.join()
"""


def faults_of_the_last_step(environment: dict[str, str]) -> int:
    done = subprocess.run([sys.executable, "-c", STEPS], check=True, capture_output=True, text=True, env=environment)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries do not read these variables")
def test_no_page_is_new_after_a_few_steps() -> None:
    plain = {name: value for name, value in os.environ.items() if name not in KEEP_FREED_MEMORY}
    assert 10 * faults_of_the_last_step({**plain, **KEEP_FREED_MEMORY}) < faults_of_the_last_step(plain)
