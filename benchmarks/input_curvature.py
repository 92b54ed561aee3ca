"""lambda1_x and ||grad_x J|| of every image against power iteration image by image, as a paired ratio in one run.

python -m benchmarks.input_curvature [MODEL ...]

The peer is what one would write with a Hessian-vector product: for each image alone, its gradient and power iteration
from a random vector until the eigenvalue changes by less than 1e-3 of itself (at most 100 products), in float32.
Checked first: both gradients agree, and every eigenvalue of the peer that it called converged agrees with ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.command import parser, print_rows
from benchmarks.networks import SETTINGS, attacked
from benchmarks.row import Row
from benchmarks.timing import paired
from study.curvature import input_curvature
from study.training import streams

TOLERANCE, MOST_PRODUCTS = 1e-3, 100
AGREEMENT = 0.05
"""Power iteration stopped at a relative change of 1e-3 is off by more where the second eigenvalue is near."""
IMAGES = {"m1_20": 32, "stdcnn": 16, "c1": 4, "resnet18": 1}


def power_iteration(model: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of each image x (n, C, H, W) in [0, 1]: lambda1_x, ||grad_x J|| and whether the iteration settled; each (n,)."""
    draws = streams.generator(0, "start")
    values, norms, settled = [], [], []
    for image, label in zip(x.split(1), y.split(1), strict=True):
        image = image.clone().requires_grad_(True)
        gradient = torch.autograd.grad(cross_entropy(model(image), label), image, create_graph=True)[0]
        v, value, done = torch.randn(image.shape, generator=draws), torch.zeros(()), False
        v /= v.norm()
        for _ in range(MOST_PRODUCTS):
            product = torch.autograd.grad(gradient, image, v, retain_graph=True)[0]
            previous, value = value, (v * product).sum()
            norm = product.norm()
            done = bool((value - previous).abs() <= TOLERANCE * value.abs())
            if done or not norm:
                break
            v = product / norm
        values.append(value)
        norms.append(gradient.detach().norm())
        settled.append(torch.tensor(done))
    return torch.stack(values), torch.stack(norms), torch.stack(settled)


def rows(models: Sequence[str] = ()) -> Iterator[Row]:
    """One row a model.

    Raises:
        SystemExit: the two disagree, so that their ratio would say nothing.
    """
    for name in models or IMAGES:
        model, images = attacked(name, IMAGES[name])
        x = images.float() / 255
        with torch.no_grad():
            y = model(x).argmax(dim=1)
        ours = input_curvature(model, images, y)
        values, norms, settled = power_iteration(model, x, y)
        torch.testing.assert_close(ours.gradient_norm.to(norms), norms, rtol=1e-3, atol=1e-6)
        off = ((values - ours.lambda1.to(values)).abs() / ours.lambda1.to(values).clamp(min=1e-12))[settled]
        if len(off) and float(off.max()) > AGREEMENT:
            raise SystemExit(f"{name}: lambda1_x differs by {float(off.max()):.1%}: the ratio says nothing")
        times = paired(partial(input_curvature, model, images, y), partial(power_iteration, model, x, y))
        checked = f"{int(settled.sum())} of {len(y)} of theirs settled, largest difference {_largest(off):.1e}"
        yield Row.of("lambda1_x", f"{name}, {len(y)} images", "power iteration", times, checked)


def _largest(values: Tensor) -> float:
    return float(values.max()) if len(values) else float("nan")


def main() -> None:
    """Print the rows."""
    command = parser(__doc__, SETTINGS)
    options = command.parse_args()
    print_rows(rows(options.models))


if __name__ == "__main__":
    main()
