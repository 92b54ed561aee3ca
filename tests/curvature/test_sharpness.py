"""Measures of sharpness against closed forms, dense Hessians, named tools, and under a rescaling of two layers."""

import math

import hessian_eigenthings
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from study.curvature import SHARPNESS, HessianOperator, SharpnessSettings, measure_sharpness, top_eigenvalues
from study.curvature.sharpness import _checkpoints, adaptive_sharpness, batch_sharpness, largest_rise, relative_flatness
from study.curvature.stochastic import spectral_density, trace
from tests.curvature.conftest import Case
from tests.curvature.networks import conv_relu, dense_hessian, images, planted, randomise, seeded

RADIUS = 0.01
FACTOR = 8.0


def settings() -> SharpnessSettings:
    return SharpnessSettings(seeded(3), radius=RADIUS)


def rescaled(model: nn.Module) -> nn.Module:
    """The same function: the first layer of a conv_relu times 8, the next layer's weight divided by 8."""
    first, second = model[0], model[2]
    with torch.no_grad():
        first.weight.mul_(FACTOR)
        first.bias.mul_(FACTOR)
        second.weight.div_(FACTOR)
    return model


# Rescaling


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["adaptive_sharpness", "adaptive_sharpness_normalised", "relative_flatness"])
def test_invariant_measures_ignore_a_rescaling_of_two_layers(name: str, dtype: torch.dtype) -> None:
    x, y = images(40, dtype=dtype)
    before = measure_sharpness(name, conv_relu(dtype=dtype), x, y, settings()).value
    model = rescaled(conv_relu(dtype=dtype))
    torch.testing.assert_close(model(x), conv_relu(dtype=dtype)(x), rtol=1e-6, atol=1e-7)
    assert before is not None and before > 0
    assert measure_sharpness(name, model, x, y, settings()).value == pytest.approx(before, rel=1e-6)


def test_relative_flatness_ignores_a_rescaling_of_the_last_two_layers() -> None:
    x, y = images(40)
    model = conv_relu()
    before = relative_flatness(model, x, y)
    with torch.no_grad():
        model[5].weight.mul_(FACTOR)
        model[5].bias.mul_(FACTOR)
        model[7].weight.div_(FACTOR)
    assert relative_flatness(model, x, y) == pytest.approx(before, rel=1e-12)


def test_eigenvalue_trace_and_density_move_under_a_rescaling() -> None:
    x, y = images(40)
    of = {"same": conv_relu(), "rescaled": rescaled(conv_relu())}
    lambda1 = {k: top_eigenvalues(m, x, y, generator=seeded(0)).eigenvalues[0] for k, m in of.items()}
    norm = {k: sum(float(p.detach().square().sum()) for p in m.parameters()) for k, m in of.items()}
    traces = {k: measure_sharpness("trace", m, x, y, settings()).value for k, m in of.items()}
    highest = {k: max(measure_sharpness("density", m, x, y, settings()).nodes) for k, m in of.items()}
    for found in (lambda1, traces, highest):
        assert not 0.5 < found["rescaled"] / found["same"] < 2
    assert not 0.5 < lambda1["rescaled"] * norm["rescaled"] / (lambda1["same"] * norm["same"]) < 2


def test_eigenvalue_times_squared_norm_ignores_one_scale_of_all_weights() -> None:
    class Normalised(nn.Module):
        """Its output does not depend on the weights' length."""

        def __init__(self, scale: float) -> None:
            super().__init__()
            self.weight = nn.Parameter(scale * torch.randn(5, 64, generator=seeded(1), dtype=torch.float64))

        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1) @ (self.weight / self.weight.norm()).T

    x, y = images(40)
    products = []
    for scale in (1.0, 4.0):
        model = Normalised(scale).eval()
        value = top_eigenvalues(model, x, y, generator=seeded(0), tolerance=1e-9).eigenvalues[0]
        products.append(value * float(model.weight.detach().square().sum()))
    assert products[1] == pytest.approx(products[0], rel=1e-6)


# Adaptive sharpness


def test_auto_pgd_checks_its_step_size_after_exact_shares_of_all_steps() -> None:
    assert _checkpoints(20) == {5, 9, 12, 14, 16, 18, 19, 20, 21}  # 22, 41, 57, 70, 80, 87, 93, 99 and 105 hundredths


def test_the_largest_rise_of_a_separable_quadratic_has_its_closed_form() -> None:
    w, slope = torch.tensor([2.0, -3.0, 0.5, 0.0]).double(), torch.tensor([1.0, -2.0, 0.3, 4.0]).double()
    curvature = torch.tensor([0.5, 2.0, 1.0, 3.0]).double()

    def loss(theta: Tensor) -> Tensor:
        return (slope * (theta - w) + curvature * (theta - w) ** 2 / 2).sum()

    reach = RADIUS * w.abs()
    truth = float((slope.abs() * reach + curvature * reach**2 / 2).sum())
    assert largest_rise(loss, w, radius=RADIUS, steps=20) == pytest.approx(truth, rel=1e-12)


@pytest.mark.parametrize("normalise", [False, True])
def test_adaptive_sharpness_of_a_linear_model_of_two_classes_has_its_closed_form(normalise: bool) -> None:
    # The margin w'x of one image falls by at most radius * sum |w_i x_i|; two normalised logits are always (-1, 1).
    model = randomise(nn.Linear(6, 2, bias=False).double(), seed=2)
    x = torch.randn(1, 6, generator=seeded(0), dtype=torch.float64)
    w = model.weight.detach()
    y = (x @ w.T).argmax(1)
    margin = float(x @ (w[y] - w[1 - y]).T)
    worst = margin - RADIUS * float((w.abs() @ x.abs().T).sum())
    truth = 0.0 if normalise else math.log1p(math.exp(-worst)) - math.log1p(math.exp(-margin))
    found = adaptive_sharpness(model, x, y, radius=RADIUS, normalise_logits=normalise)
    assert found == pytest.approx(truth, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("normalise", [False, True])
def test_adaptive_sharpness_is_not_below_longer_searches(case: Case, normalise: bool) -> None:
    model, x, y, _ = case
    found = adaptive_sharpness(model, x, y, radius=RADIUS, normalise_logits=normalise)
    names = [name for name, _ in model.named_parameters()]
    weights = [p.detach() for p in model.parameters()]

    def loss(shares: list[Tensor]) -> Tensor:
        moved = {n: w + w.abs() * s for n, w, s in zip(names, weights, shares, strict=True)}
        logits = torch.func.functional_call(model, moved, (x,))
        if normalise:
            centred = logits - logits.mean(1, keepdim=True)
            logits = logits / centred.square().mean(1, keepdim=True).sqrt()
        return functional.cross_entropy(logits, y)

    start = loss([torch.zeros_like(w) for w in weights]).item()
    best, generator = start, seeded(9)
    for _ in range(3):  # random starts of a plain sign ascent with ten times the gradients
        shares = [RADIUS * (2 * torch.rand(w.shape, generator=generator, dtype=w.dtype) - 1) for w in weights]
        for _ in range(200):
            shares = [s.requires_grad_() for s in shares]
            value = loss(shares)
            best = max(best, value.item())
            steps = torch.autograd.grad(value, shares)
            shares = [
                (s + RADIUS / 20 * g.sign()).clamp(-RADIUS, RADIUS).detach() for s, g in zip(shares, steps, strict=True)
            ]
    assert found >= 0.98 * (best - start) > 0


def test_adaptive_sharpness_is_the_mean_over_batches_and_leaves_the_model(case: Case) -> None:
    model, x, y, _ = case
    kept = {name: p.detach().clone() for name, p in model.named_parameters()}
    parts = [adaptive_sharpness(model, x[k : k + 20], y[k : k + 20], radius=RADIUS) for k in (0, 20, 40)]
    assert adaptive_sharpness(model, x, y, radius=RADIUS, batch_size=20) == pytest.approx(sum(parts) / 3, rel=1e-12)
    assert all(torch.equal(p, kept[name]) and p.grad is None for name, p in model.named_parameters())


def test_normalised_sharpness_ignores_how_confident_a_network_is(case: Case) -> None:
    model, x, y, _ = case
    sharper = nn.Sequential(model, Times(3.0)).eval()
    found = [adaptive_sharpness(m, x, y, radius=RADIUS, normalise_logits=True) for m in (model, sharper)]
    plain = [adaptive_sharpness(m, x, y, radius=RADIUS) for m in (model, sharper)]
    assert found[1] == pytest.approx(found[0], rel=1e-9)
    assert abs(plain[1] / plain[0] - 1) > 0.1


class Times(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x


# Relative flatness


def test_relative_flatness_is_the_weighted_trace_of_the_dense_hessian_of_the_last_layer(case: Case) -> None:
    model, x, y, _ = case
    last = model[-1]
    features = model[:-1](x).detach()
    hessian = dense_hessian(nn.Sequential(last), features, y)
    classes, width = last.weight.shape
    blocks = hessian[: classes * width, : classes * width].view(classes, width, classes, width)
    traces = torch.einsum("sitj->stij", blocks).diagonal(dim1=2, dim2=3).sum(2)
    rows = last.weight.detach()
    truth = float((rows @ rows.T * traces).sum())
    assert relative_flatness(model, x, y) == pytest.approx(truth, rel=1e-10)


def test_relative_flatness_of_a_network_whose_logits_are_not_a_linear_layers_is_nan() -> None:
    x, y = images(10)
    for model in (nn.Sequential(conv_relu(), Times(2.0)), nn.Sequential(nn.Conv2d(1, 4, 8), nn.Flatten()).double()):
        assert math.isnan(relative_flatness(model.eval(), x, y))


# The minibatch's own sharpness


def test_batch_sharpness_of_a_linear_softmax_has_its_closed_form() -> None:
    x = torch.randn(24, 6, generator=seeded(0), dtype=torch.float64)
    y = torch.randint(0, 4, (24,), generator=seeded(1))
    model = randomise(nn.Linear(6, 4, bias=False).double(), seed=2)
    truth = []
    for start in (0, 8):
        a, b = x[start : start + 8], y[start : start + 8]
        p = (a @ model.weight.detach().T).softmax(1)
        gradient = ((p - functional.one_hot(b, 4)).T @ a / 8).reshape(-1)
        spread = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
        hessian = torch.einsum("nij,nk,nl->ikjl", spread, a, a).reshape(24, 24) / 8
        truth.append(float(gradient @ hessian @ gradient / gradient.square().sum()))
    assert batch_sharpness(model, x, y, batch_size=8, most=2) == pytest.approx(sum(truth) / 2, rel=1e-12)


# Trace and density


def test_hutch_plus_plus_is_exact_where_the_rank_is_at_most_its_vectors() -> None:
    matvec, _ = planted([5.0, -2.0, 1.0] + [0.0] * 60)
    found = trace(matvec, 63, generator=seeded(0), vectors=4)
    assert found.value == pytest.approx(4.0, rel=1e-9)
    assert found.standard_error < 1e-9


def test_the_trace_of_a_softmax_regression_has_its_closed_form() -> None:
    # tr H = mean over images of |x|^2 (1 - |p|^2)
    x = torch.randn(37, 6, generator=seeded(0), dtype=torch.float64)
    model = randomise(nn.Linear(6, 4, bias=False).double(), seed=2)
    p = (x @ model.weight.detach().T).softmax(1)
    truth = float((x.square().sum(1) * (1 - p.square().sum(1))).mean())
    found = measure_sharpness("trace", model, x, torch.zeros(37, dtype=torch.long), settings())
    assert found.value == pytest.approx(truth, rel=1e-9)  # 24 parameters: 20 vectors hold all but four of them


def test_estimates_of_a_trace_agree_with_the_dense_hessian_within_their_standard_error(case: Case) -> None:
    model, x, y, eigenvalues = case
    hessian = HessianOperator(model, x, y)
    found = [trace(hessian.matvec, hessian.dim, generator=seeded(k), vectors=6) for k in range(40)]
    scores = torch.tensor([(one.value - eigenvalues.sum()) / one.standard_error for one in found])
    assert abs(float(scores.mean())) < 4 * 1.3 / 40**0.5  # a t variable of 5 degrees of freedom has deviation 1.29
    assert 0.8 < float(scores.std()) < 2.2
    peer = hessian_eigenthings.hutch_plus_plus(
        hessian_eigenthings.LambdaOperator(hessian.matvec, hessian.dim, dtype=torch.float64), num_matvecs=18, seed=1
    )
    assert found[0].value == pytest.approx(peer.estimate, abs=5 * (found[0].standard_error + peer.stderr))


def test_a_density_is_exact_for_an_operator_with_few_distinct_eigenvalues() -> None:
    matvec, _ = planted([5.0] * 10 + [-2.0] * 30 + [0.0] * 60)
    found = spectral_density(matvec, 100, generator=seeded(0), vectors=50, steps=5)
    mass = {
        value: sum(w for n, w in zip(found.nodes, found.weights, strict=True) if abs(n - value) < 1e-6)
        for value in (5, -2, 0)
    }
    assert sum(found.weights) == pytest.approx(1)
    assert mass == pytest.approx({5: 0.1, -2: 0.3, 0: 0.6}, abs=0.03)  # 4 standard errors of 50 vectors


def test_a_density_has_the_moments_and_the_ends_of_the_dense_spectrum(case: Case) -> None:
    model, x, y, eigenvalues = case
    hessian = HessianOperator(model, x, y)
    found = spectral_density(hessian.matvec, hessian.dim, generator=seeded(0), vectors=30, steps=40)
    nodes, weights = torch.tensor(found.nodes), torch.tensor(found.weights)
    assert nodes.min().item() == pytest.approx(eigenvalues.min(), rel=1e-3)
    assert nodes.max().item() == pytest.approx(eigenvalues.max(), rel=1e-6)
    spread = (2 * (eigenvalues**2).sum() / 30) ** 0.5  # deviation of a trace estimated with 30 normal vectors
    assert hessian.dim * float(nodes @ weights) == pytest.approx(eigenvalues.sum(), abs=4 * spread)
    peer = hessian_eigenthings.spectral_density(
        hessian_eigenthings.LambdaOperator(hessian.matvec, hessian.dim, dtype=torch.float64),
        num_runs=30, lanczos_steps=40, seed=2,
    )  # fmt: skip
    theirs = hessian.dim * float((peer.raw_eigenvalues * peer.raw_weights).sum() / peer.raw_weights.sum())
    assert hessian.dim * float(nodes @ weights) == pytest.approx(theirs, abs=6 * spread)
    for level in (0.01, 0.1, 1.0):  # the share of eigenvalues above a level
        share = float(weights[nodes > level].sum())
        assert share == pytest.approx((eigenvalues > level).mean(), abs=0.06)


# Networks that diverged, and bad requests


@pytest.mark.parametrize("name", list(SHARPNESS))
def test_a_diverged_network_has_no_number(name: str) -> None:
    x, y = images(10)
    model = conv_relu()
    with torch.no_grad():
        model[0].weight.fill_(math.nan)
    found = measure_sharpness(name, model, x, y, settings())
    assert found.value is not None and math.isnan(found.value)


def test_unknown_measures_and_networks_in_training_are_refused() -> None:
    x, y = images(10)
    with pytest.raises(ValueError, match="measure must be one of"):
        measure_sharpness("flatness", conv_relu(), x, y, settings())
    for name in SHARPNESS:
        with pytest.raises(ValueError, match="training mode"):
            measure_sharpness(name, conv_relu().train(), x, y, settings())
