"""The loss around a network: closed forms, derivatives at the centre, exact ends, an unchanged model."""

import itertools

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from study.curvature import HessianOperator, interpolation, line, plane, top_eigenvalues
from study.curvature.landscape import INTERPOLATION_FRACTIONS, LINE_OFFSETS, PLANE_OFFSETS
from study.training.evaluation import evaluate
from tests.curvature.networks import conv_relu, images, randomise, seeded, tanh_net


def unit(dim: int, seed: int = 5) -> Tensor:
    v = torch.randn(dim, generator=seeded(seed), dtype=torch.float64)
    return v / v.norm()


class Quadratic(nn.Module):
    """Logits (0, log(expm1(q))) with q = c + theta'A theta / 2: the cross-entropy of class 0 is q itself."""

    def __init__(self, a: Tensor, c: float) -> None:
        super().__init__()
        self.a, self.c = a, c
        self.theta = nn.Parameter(torch.randn(len(a), generator=seeded(2), dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        q = self.c + self.theta @ self.a @ self.theta / 2
        return torch.stack([torch.zeros(()).double(), q.expm1().log()]).expand(len(x), 2)


def quadratic() -> tuple[Quadratic, Tensor, Tensor]:
    a = torch.diag(torch.tensor([4.0, 2.0, 1.0], dtype=torch.float64))
    return Quadratic(a, 0.5).eval(), torch.zeros(6, 1).double(), torch.zeros(6, dtype=torch.long)


def test_a_quadratic_loss_along_a_line_and_over_a_plane_is_exact() -> None:
    model, x, y = quadratic()
    q, _ = torch.linalg.qr(torch.randn(3, 2, generator=seeded(3), dtype=torch.float64))
    first, second = q.T
    offsets = [-1.0, -0.25, 0.0, 0.5]

    def truth(step: Tensor) -> Tensor:
        theta = model.theta.detach() + step
        return model.c + theta @ model.a @ theta / 2

    expected = torch.stack([truth(t * first) for t in offsets])
    torch.testing.assert_close(line(model, first, offsets, x, y), expected, rtol=1e-12, atol=0)
    grid = torch.stack([torch.stack([truth(s * first + t * second) for t in offsets]) for s in offsets])
    torch.testing.assert_close(plane(model, first, second, offsets, x, y), grid, rtol=1e-12, atol=0)


def test_slope_and_curvature_at_the_centre_are_those_of_gradient_and_hessian() -> None:
    model = tanh_net()
    x = torch.randn(30, 6, generator=seeded(6), dtype=torch.float64)
    y = torch.randint(0, 4, (30,), generator=seeded(7))
    v, operator = unit(103), HessianOperator(model, x, y)
    slope, curvature = (v @ operator.gradient()).item(), (v @ operator.matvec(v)).item()
    errors = []
    for h in (4e-2, 2e-2, 1e-2):
        below, middle, above = line(model, v, [-h, 0, h], x, y).tolist()
        errors.append((abs((above - below) / (2 * h) - slope), abs((above - 2 * middle + below) / h**2 - curvature)))
    for coarse, fine in itertools.pairwise(errors):
        assert coarse[0] / fine[0] == pytest.approx(4, rel=0.05)  # O(h^2)
        assert coarse[1] / fine[1] == pytest.approx(4, rel=0.05)


def test_along_an_eigenvector_the_curvature_is_its_eigenvalue() -> None:
    model = tanh_net()
    x = torch.randn(30, 6, generator=seeded(6), dtype=torch.float64)
    y = torch.randint(0, 4, (30,), generator=seeded(7))
    result = top_eigenvalues(model, x, y, count=2, tolerance=1e-8, generator=seeded(0), keep_vectors=True)
    vectors = result.eigenvectors
    assert vectors is not None
    h = 1e-3
    corner = plane(model, vectors[0], vectors[1], [-h, 0, h], x, y)
    along = (corner[2, 1] - 2 * corner[1, 1] + corner[0, 1]) / h**2
    across = (corner[1, 2] - 2 * corner[1, 1] + corner[1, 0]) / h**2
    mixed = (corner[2, 2] - corner[2, 0] - corner[0, 2] + corner[0, 0]) / (4 * h**2)
    assert [along.item(), across.item()] == pytest.approx(result.eigenvalues, rel=1e-4)
    assert mixed.item() == pytest.approx(0, abs=1e-4 * abs(result.eigenvalues[0]))


def batch_norm_net(seed: int) -> nn.Module:
    net = nn.Sequential(nn.Conv2d(1, 2, 5), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Dropout(), nn.Linear(32, 5))
    net[1].running_mean.uniform_(-0.1, 0.1, generator=seeded(seed))
    net[1].running_var.uniform_(0.5, 2.0, generator=seeded(seed))
    net[1].num_batches_tracked += seed
    return randomise(net, seed)


def bytes_of(n: int) -> tuple[Tensor, Tensor]:
    x = torch.randint(0, 256, (n, 1, 8, 8), generator=seeded(9), dtype=torch.uint8)
    return x, torch.randint(0, 5, (n,), generator=seeded(10))


def test_the_ends_of_an_interpolation_are_the_two_networks() -> None:
    one, other = batch_norm_net(1), batch_norm_net(2)
    x, y = bytes_of(70)
    start, end = interpolation(one, other.state_dict(), [0.0, 1.0], x, y).tolist()
    assert start == pytest.approx(evaluate(one, x, y).loss, rel=1e-6)
    assert end == pytest.approx(evaluate(other, x, y).loss, rel=1e-6)
    assert line(one, unit(221), [0.0], x, y).item() == pytest.approx(start, rel=1e-6)


def test_running_statistics_are_interpolated_too() -> None:
    one, other = batch_norm_net(1), batch_norm_net(2)
    half = batch_norm_net(3)
    states = one.state_dict(), other.state_dict()
    half.load_state_dict(
        {k: (a + states[1][k]) / 2 for k, a in states[0].items() if a.is_floating_point()}, strict=False
    )
    x, y = bytes_of(40)
    middle = interpolation(one, states[1], [0.5], x, y).item()
    assert middle == pytest.approx(evaluate(half, x, y).loss, rel=1e-5)
    assert interpolation(one, states[1], [-9.0, 9.0], x, y).isfinite().all()  # no variance below 0


def test_interpolation_of_a_quadratic_loss_is_exact() -> None:
    model, x, y = quadratic()
    other = {"theta": torch.tensor([1.0, 2.0, -1.0], dtype=torch.float64)}
    losses = interpolation(model, other, [-0.5, 0.3, 1.5], x, y)
    for t, loss in zip([-0.5, 0.3, 1.5], losses.tolist(), strict=True):
        theta = (1 - t) * model.theta.detach() + t * other["theta"]
        assert loss == pytest.approx((model.c + theta @ model.a @ theta / 2).item(), rel=1e-12)


def test_frozen_parameters_do_not_move() -> None:
    x, y = images(12)
    model = conv_relu()
    model[0].weight.requires_grad_(False)
    frozen = model[0].weight.numel()
    v = unit(277 - frozen)
    whole = torch.cat([torch.zeros(frozen).double(), v])  # the first parameter of the network
    among_the_rest = line(model, v, [0.3], x, y)
    model[0].weight.requires_grad_(True)
    assert torch.equal(line(model, whole, [0.3], x, y), among_the_rest)


def test_the_model_is_not_changed_even_by_an_error() -> None:
    model, (x, y) = batch_norm_net(1), bytes_of(20)
    model[0].bias.grad = torch.full((2,), 7.0)
    before = {k: t.clone() for k, t in model.state_dict().items()}
    pixels = x.clone()
    v, w = unit(221), unit(221, seed=6)
    w = (w - (v @ w) * v) / (w - (v @ w) * v).norm()
    line(model, v, LINE_OFFSETS[::10], x, y)
    plane(model, v, w, PLANE_OFFSETS[::10], x, y)
    interpolation(model, batch_norm_net(2).state_dict(), INTERPOLATION_FRACTIONS[::10], x, y)
    with pytest.raises(IndexError):
        line(model, v, [0.1], x, y + 5)  # no such class
    assert all(torch.equal(t, before[k]) for k, t in model.state_dict().items())
    assert model[0].bias.grad.tolist() == [7, 7]
    assert torch.equal(x, pixels)
    assert not model.training


@pytest.mark.parametrize("chunk_size", [1, 7, 20, 1000])
def test_any_chunk_size_gives_the_loss_of_one_full_batch(chunk_size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("study.pixels.CHUNK", chunk_size)
    x, y = images(20)
    model, v = conv_relu(), unit(277)
    truth = functional.cross_entropy(model(x), y).item()
    assert line(model, v, [0.0], x, y).item() == pytest.approx(truth, rel=1e-13)


def test_a_network_that_overflows_has_a_loss_that_is_not_finite() -> None:
    x, y = images(5, dtype=torch.float32)
    model = conv_relu(dtype=torch.float32)
    middle, far = line(model, unit(277), [0.0, 1e30], x, y)
    assert middle.isfinite() and not far.isfinite()


def test_input_that_does_not_fit_is_refused() -> None:
    x, y = images(5)
    model, v = conv_relu(), unit(277)
    with pytest.raises(ValueError, match="training mode"):
        line(conv_relu().train(), v, [0.0], x, y)
    with pytest.raises(ValueError, match="length 1, got 2"):
        line(model, 2 * v, [0.0], x, y)
    with pytest.raises(ValueError, match=r"first must have shape \(277,\)"):
        plane(model, v[1:], v, [0.0], x, y)
    with pytest.raises(ValueError, match="orthogonal"):
        plane(model, v, v, [0.0], x, y)
    with pytest.raises(ValueError, match=r"not of this network: 0\.bias"):
        interpolation(model, {k: t for k, t in model.state_dict().items() if k != "0.bias"}, [0.0], x, y)
    with pytest.raises(ValueError, match="one label for each"):
        line(model, v, [0.0], x, y[:3])
