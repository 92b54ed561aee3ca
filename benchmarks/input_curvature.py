"""lambda1_x and ||grad_x J|| of every image against power iteration image by image, as a paired ratio in one run.

python -m benchmarks.input_curvature [MODEL ...]

The peer is what one would write with a Hessian-vector product: for each image alone, its gradient and power iteration
from a random vector until the eigenvalue changes by less than 1e-3 of itself (at most 100 products), in float32.
Checked first: both gradients agree, and every eigenvalue of the peer that it called converged agrees with ours.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.networks import attacked
from benchmarks.row import Row, paired, parser, print_rows
from study.curvature import input_curvature
from study.training import streams

TOLERANCE, MOST_PRODUCTS = 1e-3, 100
AGREEMENT = 0.05
"""Power iteration stopped at a relative change of 1e-3 is off by more where the second eigenvalue is near."""
IMAGES = {"m1_20": 32, "stdcnn": 16, "c1": 4, "resnet18": 1}


def power_iteration(model: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """For each image of x (n, C, H, W) in [0, 1]: lambda1_x, ||grad_x J|| and whether it converged; each (n,)."""
    draws = streams.generator(0, "start")
    values, norms, converged = torch.zeros(len(x)), torch.zeros(len(x)), torch.zeros(len(x), dtype=torch.bool)
    for i, (image, label) in enumerate(zip(x.split(1), y.split(1), strict=True)):
        image = image.clone().requires_grad_(True)
        gradient = torch.autograd.grad(cross_entropy(model(image), label), image, create_graph=True)[0]
        norms[i] = gradient.detach().norm()
        v = torch.randn(image.shape, generator=draws)
        v /= v.norm()
        for _ in range(MOST_PRODUCTS):
            product = torch.autograd.grad(gradient, image, v, retain_graph=True)[0]
            previous, values[i] = values[i].clone(), (v * product).sum()
            norm = product.norm()
            converged[i] = (values[i] - previous).abs() <= TOLERANCE * values[i].abs()
            if converged[i] or not norm:
                break
            v = product / norm
    return values, norms, converged


def rows(models: Sequence[str] = ()) -> Iterator[Row]:
    """One row a model.

    Raises:
        SystemExit: the two disagree, so that their times are not comparable.
    """
    for name in models or IMAGES:
        model, images = attacked(name, IMAGES[name])
        x = images.float() / 255
        with torch.no_grad():
            y = model(x).argmax(dim=1)
        ours = input_curvature(model, images, y)
        values, norms, converged = power_iteration(model, x, y)
        torch.testing.assert_close(ours.gradient_norm.to(norms), norms, rtol=1e-3, atol=1e-6)
        lambda1 = ours.lambda1.to(values)
        errors = ((values - lambda1).abs() / lambda1.clamp(min=1e-12))[converged].tolist()
        largest = max(errors, default=math.nan)
        if largest > AGREEMENT:
            raise SystemExit(f"{name}: lambda1_x differs by {largest:.1%}, so the times are not comparable")
        times = paired(partial(input_curvature, model, images, y), partial(power_iteration, model, x, y))
        checked = f"{int(converged.sum())} of {len(y)} of theirs converged, largest difference {largest:.1e}"
        yield Row("lambda1_x", f"{name}, {len(y)} images", "power iteration", *times, checked)


if __name__ == "__main__":
    print_rows(rows(parser(__doc__, "MODEL", IMAGES).parse_args().names))
