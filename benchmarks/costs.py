"""Seconds per image and per step of each model's training on one CPU core: the figures of study/costs.py.

python -m benchmarks.costs [MODEL ...]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from statistics import median

import torch

from study import streams
from study.attacks.evaluate import attack_split
from study.curvature import HessianOperator
from study.models import MODELS, build, set_dropout_generator
from study.optimizers import OPTIMIZERS

SHAPES = {"c1": (3, 32, 32), "resnet18": (3, 32, 32)}


def seconds(work: Callable[[], object], repeats: int = 5) -> float:
    """The median of several runs after one that is not counted."""
    work()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return median(times)


def main(models: list[str]) -> None:
    """Print one line a model."""
    torch.set_num_threads(1)
    print("model       s/step   s/image  attack pass/train pass  hvp/train pass")
    for name in models or list(MODELS):
        measure(name)


def measure(name: str) -> None:
    """Print one model's line."""
    shape = SHAPES.get(name, (1, 28, 28))
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
    main(sys.argv[1:])
