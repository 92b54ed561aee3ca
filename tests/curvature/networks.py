"""Small networks, data, dense Hessians and matrices with a given spectrum, for several of these tests."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def randomise(model: nn.Module, seed: int, scale: float = 1.0) -> nn.Module:
    """Normal weights of standard deviation scale / sqrt(fan-in), from a generator: no global seed."""
    generator = seeded(seed)
    with torch.no_grad():
        for p in model.parameters():
            fan_in = p[0].numel() if p.dim() > 1 else p.numel()
            p.copy_(torch.randn(p.shape, generator=generator, dtype=torch.float64) * scale / fan_in**0.5)
    return model.eval()


def conv_relu(seed: int = 0, dtype: torch.dtype = torch.float64) -> nn.Module:
    """277 parameters: 8x8 images, 5 classes."""
    net = nn.Sequential(
        nn.Conv2d(1, 3, 3, stride=2), nn.ReLU(), nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4, 13),
        nn.ReLU(), nn.Linear(13, 5),
    )  # fmt: skip
    return randomise(net.to(dtype), seed, scale=1.5)


def tanh_net(seed: int = 0) -> nn.Module:
    return randomise(nn.Sequential(nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 4)).double(), seed, scale=1.5)


def images(n: int, seed: int = 1, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    generator = seeded(seed)
    x = torch.rand(n, 1, 8, 8, generator=generator, dtype=torch.float64).to(dtype)
    return x, torch.randint(0, 5, (n,), generator=generator)


def trained(model: nn.Module, x: Tensor, y: Tensor, steps: int = 60, learning_rate: float = 0.3) -> nn.Module:
    """Trained by full-batch gradient descent, long enough for a spectrum with a few outliers."""
    optimizer = torch.optim.SGD(model.parameters(), lr=learning_rate, momentum=0.9)
    for _ in range(steps):
        optimizer.zero_grad()
        functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return model.eval()


def dense_hessian(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """The whole Hessian by torch.func, an implementation that shares no code with the operator."""
    names = [name for name, _ in model.named_parameters()]
    shapes = [p.shape for p in model.parameters()]
    flat = torch.cat([p.detach().reshape(-1) for p in model.parameters()])

    def loss(theta: Tensor) -> Tensor:
        pieces = theta.split([s.numel() for s in shapes])
        weights = {n: piece.view(s) for n, piece, s in zip(names, pieces, shapes, strict=True)}
        return functional.cross_entropy(torch.func.functional_call(model, weights, (x,)), y)

    return torch.func.hessian(loss)(flat)


def planted(eigenvalues: list[float], seed: int = 0) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """Product with Q diag(eigenvalues) Q' for a random orthogonal Q, and Q: its columns are the eigenvectors."""
    random = torch.randn(len(eigenvalues), len(eigenvalues), generator=seeded(seed), dtype=torch.float64)
    q, _ = torch.linalg.qr(random)
    matrix = q @ torch.diag(torch.tensor(eigenvalues, dtype=torch.float64)) @ q.T
    return lambda v: matrix @ v, q


def by_magnitude(values: np.ndarray) -> np.ndarray:
    return values[np.argsort(-np.abs(values), kind="stable")]
