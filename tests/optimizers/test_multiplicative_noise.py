"""Multiplicative noise: its mean is the gradient and its covariance the Fisher matrix, both in closed form."""

from __future__ import annotations

import torch
from torch import Tensor

from study.optimizers.multiplicative_noise import MultiplicativeNoise
from tests.optimizers.small import RATE, batches, built, flat, gradient, network, step_direction, stream

DOUBLE = torch.float64
DRAWS = 400


def directions(sigma: float, draws: int = DRAWS) -> Tensor:
    """Noisy gradients of one minibatch at one point: (draws, parameters)."""
    model = network("plain", DOUBLE)
    optimizer = MultiplicativeNoise(model, learning_rate=RATE, sigma=sigma)
    optimizer.begin_epoch(lambda: batches(DOUBLE), stream(5))
    x, y = batches(DOUBLE)[0]
    return torch.stack([step_direction(model, lambda: optimizer.step(x, y)) for _ in range(draws)])


def per_image() -> Tensor:
    model, (x, y) = network("plain", DOUBLE), batches(DOUBLE)[0]
    return torch.stack([gradient(model, x[i : i + 1], y[i : i + 1]) for i in range(len(y))])


def test_its_mean_is_the_gradient_within_the_error_bar() -> None:
    vs, g = directions(1.0), gradient(network("plain", DOUBLE), *batches(DOUBLE)[0])
    along = vs @ g / g.norm()
    assert abs(along.mean() - g.norm()) < 4 * along.std() / DRAWS**0.5
    # The squared error of the mean is trace(covariance) / draws in expectation.
    expected = per_image().square().sum() / 64 / DRAWS
    assert (vs.mean(0) - g).square().sum() < 4 * expected


def test_its_covariance_is_sigma_squared_over_b_times_the_fisher_matrix() -> None:
    gradients = per_image()
    b = len(gradients)
    fisher = gradients.T @ gradients / b
    for sigma in (0.5, 2.0):
        centred = directions(sigma) - gradients.mean(0)
        covariance = centred.T @ centred / DRAWS
        expected = sigma**2 / b * fisher
        # b independent weights: relative errors of an estimated variance are sqrt(2 / draws).
        assert abs(covariance.trace() / expected.trace() - 1) < 5 * (2 / DRAWS) ** 0.5
        assert (covariance - expected).norm() < 5 * (b / DRAWS) ** 0.5 * expected.norm()


def test_the_noise_of_an_epoch_depends_on_its_generator() -> None:
    def weights(seed: int) -> Tensor:
        model = network()
        optimizer = built("msgd", model)
        optimizer.begin_epoch(batches, stream(seed))
        for x, y in batches():
            optimizer.step(x, y)
        return flat(model.parameters())

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))
