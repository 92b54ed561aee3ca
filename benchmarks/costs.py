"""CPU seconds per image and per step of each model's training on one core: the constants of study/tuning/costs.py.

python -m benchmarks.costs [MODEL ...]
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import torch

from benchmarks.networks import CIFAR, MNIST
from benchmarks.row import parser
from study.attacks.evaluate import attack_split
from study.curvature import HessianOperator
from study.models import MODELS, build, set_dropout_generator
from study.optimizers import OPTIMIZERS
from study.training import streams

ON_GREY = ("m1", "m1_20", "m1_8", "m1_lenet", "stdcnn")
"""The models of MNIST and Fashion-MNIST; all others but that of the smoke study are of CIFAR."""


def seconds(work: Callable[[], object], repeats: int = 5) -> float:
    """CPU seconds: the median of several runs after one that is not counted."""
    work()
    times = []
    for _ in range(repeats):
        started = time.process_time()
        work()
        times.append(time.process_time() - started)
    return median(times)


def measure(name: str) -> None:
    """Print one model's line."""
    shape = MNIST if name in ON_GREY else (1, 8, 8) if name == "mlp_256" else CIFAR
    stream = streams.generator(0)
    model = build(name, image_shape=shape, num_classes=10, generator=stream)
    set_dropout_generator(model, stream)
    optimizer = OPTIMIZERS["sgd"](model, learning_rate=1e-4, momentum=0.9, weight_decay=0.0)
    x, y = torch.rand(64, *shape), torch.randint(0, 10, (64,))
    few = seconds(lambda: optimizer.step(x[:8], y[:8]))
    many = seconds(lambda: optimizer.step(x, y))
    per_image = (many - few) / 56
    model.eval()
    attack = seconds(
        lambda: attack_split(model, x, y, attack="pgd", loss="ce", epsilon=0.1, generator=stream), repeats=2
    )
    operator = HessianOperator(model, x, y)
    direction = torch.randn(operator.dim)
    hvp = seconds(lambda: operator.matvec(direction))
    print(
        f"{name:10s} {max(0.0, few - 8 * per_image):8.5f} {per_image:9.6f}"
        f" {attack / 41 / 64 / per_image:15.2f} {hvp / 64 / per_image:20.2f}"
    )


if __name__ == "__main__":
    models = parser(__doc__, "MODEL", MODELS).parse_args().names or MODELS
    torch.set_num_threads(1)
    print("model       s/step   s/image  attack pass/train pass  hvp/train pass")
    for model in models:
        measure(model)
