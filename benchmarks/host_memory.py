"""What it saves on a CPU to keep freed memory: epochs of training with and without it, in pairs of processes.

python -m benchmarks.host_memory [MODEL ...]

CPU seconds, because the system's clearing of pages counts as such. As in a worker, training runs in a thread.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from statistics import median

import torch

from benchmarks.networks import SETTINGS, network, random_images, run_of, study_epochs
from benchmarks.row import Row, parser, print_rows
from benchmarks.training import BATCH_SIZES, LEARNING_RATE
from study.tuning import KEEP_FREED_MEMORY

PAIRS, EPOCHS = 3, 4


def cpu_seconds(model: str, batch_size: int, *, kept: bool) -> float:
    """CPU seconds of an epoch in a process of its own."""
    code = f"from benchmarks.host_memory import train_in_thread; train_in_thread({model!r}, {batch_size})"
    environment = {name: value for name, value in os.environ.items() if name not in KEEP_FREED_MEMORY}
    environment |= KEEP_FREED_MEMORY if kept else {}
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment)
    return float(done.stdout)


def train_in_thread(model: str, batch_size: int) -> None:
    """Print the median CPU seconds of an epoch, the first not counted."""
    torch.set_num_threads(1)

    def work() -> None:
        data = random_images(SETTINGS[model].shape, max(2 * batch_size, SETTINGS[model].images // 8))
        run = run_of(network(model), batch_size, learning_rate=LEARNING_RATE, augmentation=SETTINGS[model].augmentation)
        seconds = []
        for _ in range(1 + EPOCHS):
            started = time.process_time()
            study_epochs(run, data)
            seconds.append(time.process_time() - started)
        print(median(seconds[1:]))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def rows(models: Sequence[str] = ()) -> Iterator[Row]:
    """One row a model and batch size."""
    for model in models or ("m1_20", "stdcnn", "c1"):
        for batch_size in BATCH_SIZES:
            ours, theirs = [], []
            for _ in range(PAIRS):
                ours.append(cpu_seconds(model, batch_size, kept=True))
                theirs.append(cpu_seconds(model, batch_size, kept=False))
            yield Row("memory kept", f"{model}, batch {batch_size}", "memory returned", ours, theirs, "CPU seconds")


def main() -> None:
    """Print the rows."""
    print_rows(rows(parser(__doc__, "MODEL", SETTINGS).parse_args().names))


if __name__ == "__main__":
    main()
