"""The Hessian operator against closed forms, finite differences, dense Hessians and curvlinops."""

import itertools

import curvlinops
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from study.curvature import HessianOperator
from study.curvature.operator import GPU_MEMORY, HOST_MEMORY, memory_budget
from study.data import DATASETS
from study.models import build
from tests.curvature.networks import conv_relu, dense_hessian, images, randomise, seeded, tanh_net
from tests.models.kinds import KINDS


def vector(dim: int, seed: int = 5) -> Tensor:
    return torch.randn(dim, generator=seeded(seed), dtype=torch.float64)


def relative(error: Tensor, truth: Tensor) -> float:
    return (error.norm() / truth.norm()).item()


def softmax_regression_hessian(x: Tensor, weight: Tensor) -> Tensor:
    """(1/N) sum_n (diag(p_n) - p_n p_n') kron x_n x_n', for logits W x without bias."""
    p = torch.softmax(x @ weight.T, dim=1)
    a = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    k, d = weight.shape
    return torch.einsum("nij,nk,nl->ikjl", a, x, x).reshape(k * d, k * d) / len(x)


def test_softmax_regression_has_its_closed_form() -> None:
    x = torch.randn(37, 6, generator=seeded(0), dtype=torch.float64)
    y = torch.randint(0, 4, (37,), generator=seeded(1))
    model = randomise(nn.Linear(6, 4, bias=False).double(), seed=2)
    truth = softmax_regression_hessian(x, model.weight.detach())
    operator = HessianOperator(model, x, y, chunk_size=10)
    measured = torch.stack([operator.matvec(e) for e in torch.eye(operator.dim, dtype=torch.float64)])
    assert relative(measured - truth, truth) < 1e-14
    assert operator.matvecs == operator.dim == 24


@pytest.mark.parametrize("forward_over_reverse", [False, True])
@pytest.mark.parametrize("margin", [8, 20, 40])
def test_a_confident_network_in_float32_has_its_closed_form(margin: int, forward_over_reverse: bool) -> None:
    x, y = torch.tensor([[1.0, -2.0, 0.5]]), torch.tensor([1])
    model = nn.Linear(3, 4, bias=False).eval()
    with torch.no_grad():  # whole logits: a float32 network that rounds nothing
        model.weight.copy_(torch.tensor([[0, 0, -2], [margin, 0, 0], [0, 1, 0], [1, 0, 4]]))
        p = torch.softmax(model(x).double(), dim=1)[0]
    off_diagonal = -p[:, None] * p * (1 - torch.eye(4))
    a = off_diagonal - torch.diag(off_diagonal.sum(1))  # rows sum to 0, so p_y (1 - p_y) need not cancel
    truth = torch.einsum("ij,k,l->ikjl", a, x[0].double(), x[0].double()).reshape(12, 12)
    operator = HessianOperator(model, x, y, forward_over_reverse=forward_over_reverse)
    measured = torch.stack([operator.matvec(e) for e in torch.eye(12, dtype=torch.float64)])
    assert relative(measured - truth, truth) < 1e-6


def test_gradient_is_that_of_the_mean_loss() -> None:
    x, y = images(23)
    model = conv_relu()
    loss = functional.cross_entropy(model(x), y)
    truth = torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, list(model.parameters()))])
    assert relative(HessianOperator(model, x, y, chunk_size=7).gradient() - truth, truth) < 1e-13


def test_finite_differences_of_the_gradient_approach_the_product_at_second_order() -> None:
    model, v = tanh_net(), vector(103)
    x = torch.randn(30, 6, generator=seeded(6), dtype=torch.float64)
    y = torch.randint(0, 4, (30,), generator=seeded(7))
    product = HessianOperator(model, x, y).matvec(v)
    at = nn.utils.parameters_to_vector(model.parameters()).detach().clone()

    def gradient_at(theta: Tensor) -> Tensor:
        nn.utils.vector_to_parameters(theta, model.parameters())
        return HessianOperator(model, x, y).gradient()

    errors = []
    for h in (4e-3, 2e-3, 1e-3):
        central = (gradient_at(at + h * v) - gradient_at(at - h * v)) / (2 * h)
        errors.append(relative(central - product, product))
    assert errors[-1] < 1e-5
    for coarse, fine in itertools.pairwise(errors):
        assert coarse / fine == pytest.approx(4, rel=0.05)  # O(h^2)


@pytest.mark.parametrize("chunk_size", [1, 7, 64, 99, 100, 1000, None])
def test_any_chunk_size_gives_the_product_of_one_full_batch(chunk_size: int | None) -> None:
    x, y = images(100)
    model, v = conv_relu(), vector(277)
    truth = dense_hessian(model, x, y) @ v
    operator = HessianOperator(model, x, y, chunk_size=chunk_size)
    assert relative(operator.matvec(v) - truth, truth) < 1e-12


@pytest.mark.parametrize("memory_bytes", [0, 200_000, 2**30])
def test_keeping_graphs_changes_no_bit(memory_bytes: int) -> None:
    x, y = images(90, dtype=torch.float32)
    model = conv_relu(dtype=torch.float32)
    operator = HessianOperator(model, x, y, chunk_size=20, memory_bytes=memory_bytes)
    recomputing = HessianOperator(model, x, y, chunk_size=20, memory_bytes=0)
    v, w = vector(operator.dim), vector(operator.dim, seed=6)
    for u in (v, w, v):
        assert torch.equal(operator.matvec(u), recomputing.matvec(u))
    assert torch.equal(operator.gradient(), recomputing.gradient())


def test_the_memory_budget_decides_how_many_graphs_are_kept() -> None:
    x, y = images(90)

    def kept(memory_bytes: int) -> int:
        operator = HessianOperator(conv_relu(), x, y, chunk_size=20, memory_bytes=memory_bytes)
        operator.matvec(vector(operator.dim))
        assert operator._kept_bytes <= memory_bytes
        return operator._kept_bytes

    everything = kept(2**30)
    assert kept(0) == 0
    assert 0 < kept(everything // 2) < everything
    # The images alone, one float64 copy for each chunk, are a floor for what the first convolution must hold.
    assert everything >= x.numel() * 8


@pytest.mark.parametrize("name", KINDS)
def test_forward_over_reverse_is_double_backward(name: str) -> None:
    """Every model, with batch normalization in eval mode and dropout off."""
    info = DATASETS["mnist" if name.startswith(("m1", "stdcnn")) else "cifar10"]
    model = build(name, image_shape=info.image_shape, num_classes=info.num_classes, generator=seeded(0))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.1, 0.1, generator=seeded(1))
            nn.init.uniform_(module.running_var, 0.5, 1.5, generator=seeded(2))
    x, y = torch.rand(3, *info.image_shape, generator=seeded(3)), torch.tensor([1, 5, 7])
    backward, forward = (
        HessianOperator(model.double().eval(), x, y, chunk_size=2, forward_over_reverse=which)
        for which in (False, True)
    )
    v = vector(backward.dim)
    truth = backward.matvec(v)
    assert relative(forward.matvec(v) - truth, truth) < 1e-13
    assert (backward._kept_bytes > 0, forward._kept_bytes) == (True, 0)


def test_forward_over_reverse_in_float32_has_its_accuracy_and_repeats_its_bits() -> None:
    x, y = images(40, dtype=torch.float32)
    model = conv_relu(dtype=torch.float32)
    operator = HessianOperator(model, x, y, chunk_size=15, forward_over_reverse=True)
    v = vector(operator.dim)
    truth = dense_hessian(conv_relu_like(model), x.double(), y) @ v
    with torch.no_grad():  # a caller's no_grad does not matter
        product = operator.matvec(v)
    assert product.dtype == torch.float64
    assert relative(product - truth, truth) < 2e-6
    assert torch.equal(product, operator.matvec(v))
    assert all(p.grad is None and p.requires_grad for p in model.parameters())


def conv_relu_like(model: nn.Module) -> nn.Module:
    """`conv_relu` in float64 with this model's weights."""
    twin = conv_relu()
    twin.load_state_dict(model.state_dict())
    return twin


def test_forward_over_reverse_with_frozen_and_unused_parameters() -> None:
    x, y = images(20)
    model = conv_relu()
    model.register_parameter("unused", nn.Parameter(torch.ones(3, dtype=torch.float64)))
    model[0].weight.requires_grad_(False)
    backward, forward = (HessianOperator(model, x, y, forward_over_reverse=which) for which in (False, True))
    v = vector(backward.dim)
    torch.testing.assert_close(forward.matvec(v), backward.matvec(v), rtol=1e-11, atol=1e-13)
    with pytest.raises(ValueError, match="output is not finite"):
        HessianOperator(model, x * float("inf"), y, forward_over_reverse=True).matvec(v)


@pytest.mark.parametrize(("shape", "images"), [((3, 32, 32), 500), ((3, 64, 64), 125)])
def test_a_chunk_on_a_cpu_holds_fewer_of_larger_images(shape: tuple[int, ...], images: int) -> None:
    model = nn.Sequential(nn.Flatten(), nn.LazyLinear(2)).eval()
    x, y = torch.zeros(600, *shape, dtype=torch.uint8), torch.zeros(600, dtype=torch.int64)
    model(x[:1].float())
    assert HessianOperator(model, x, y).chunk_size == images


def test_the_memory_budget_is_the_share_of_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    assert memory_budget(torch.device("cpu")) == HOST_MEMORY
    assert memory_budget(torch.device("cpu"), 0.25) == HOST_MEMORY // 4
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (6 * 2**30, 80 * 2**30))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 3 * 2**30)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 2**30)
    assert memory_budget(torch.device("cuda", 0)) == 8 * 2**30
    assert memory_budget(torch.device("cuda", 0), 0.5) == 4 * 2**30
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (70 * 2**30, 80 * 2**30))
    assert memory_budget(torch.device("cuda", 0)) == GPU_MEMORY


def test_bytes_are_scaled_to_pixels() -> None:
    pixels = torch.randint(0, 256, (30, 1, 8, 8), generator=seeded(9), dtype=torch.uint8)
    before, (_, y) = pixels.clone(), images(30)
    model, v = conv_relu(), vector(277)
    from_bytes = HessianOperator(model, pixels, y, chunk_size=8).matvec(v)
    from_floats = HessianOperator(model, pixels.double() / 255, y, chunk_size=8).matvec(v)
    assert torch.equal(from_bytes, from_floats)
    assert torch.equal(pixels, before)


def test_agrees_with_curvlinops() -> None:
    x, y = images(50)
    model, v = conv_relu(), vector(277)
    data = list(zip(x.split(16), y.split(16), strict=True))
    peer = curvlinops.HessianLinearOperator(model, nn.CrossEntropyLoss(), list(model.parameters()), data)
    assert relative(HessianOperator(model, x, y, chunk_size=16).matvec(v) - peer @ v, peer @ v) < 1e-12


def test_frozen_and_unused_parameters() -> None:
    x, y = images(20)
    model = conv_relu()
    model.register_parameter("unused", nn.Parameter(torch.ones(3, dtype=torch.float64)))
    v = vector(280)
    product = HessianOperator(model, x, y).matvec(v)
    # A module's own parameters come before its children's.
    assert product[:3].tolist() == [0, 0, 0]
    model.unused.requires_grad_(False)
    torch.testing.assert_close(HessianOperator(model, x, y).matvec(v[3:]), product[3:])
    with pytest.raises(ValueError, match="no trainable parameter"):
        HessianOperator(model.requires_grad_(False), x, y)


def test_the_model_is_not_changed() -> None:
    x, y = images(30)
    net = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Dropout(0.5), nn.Linear(108, 5)
    )
    model = randomise(net.double(), seed=3)
    model[1].running_mean.uniform_(-0.1, 0.1, generator=seeded(2))
    model[0].bias.grad = torch.full((3,), 7.0, dtype=torch.float64)
    before = {k: t.clone() for k, t in model.state_dict().items()}
    v = vector(sum(p.numel() for p in model.parameters()))
    operator = HessianOperator(model, x, y, chunk_size=8)
    truth = dense_hessian(model, x, y) @ v
    with torch.no_grad():  # a caller's no_grad does not matter
        assert relative(operator.matvec(v) - truth, truth) < 1e-12  # dropout is off, statistics are the running ones
    assert torch.equal(operator.matvec(v), operator.matvec(v))
    assert all(torch.equal(t, before[k]) for k, t in model.state_dict().items())
    assert model[0].bias.grad.tolist() == [7, 7, 7]
    assert model[0].weight.grad is None
    assert all(p.requires_grad for p in model.parameters())


def test_reduced_precision_settings_have_no_effect_and_are_restored() -> None:
    x, y = images(30, dtype=torch.float32)
    operator = HessianOperator(conv_relu(dtype=torch.float32), x, y)
    v = vector(operator.dim)
    exact, setting = operator.matvec(v), torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        assert torch.equal(operator.matvec(v), exact)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(setting)


def test_input_that_does_not_fit_is_refused() -> None:
    x, y = images(5)
    model = conv_relu()
    in_training = conv_relu()
    in_training[1].train()
    with pytest.raises(ValueError, match=r"training mode \(1\): call model.eval\(\)"):
        HessianOperator(in_training, x, y)
    with pytest.raises(ValueError, match="output is not finite"):
        HessianOperator(model, x * float("inf"), y).matvec(vector(277))
    with pytest.raises(ValueError, match="one label for each"):
        HessianOperator(model, x, y[:4])
    with pytest.raises(ValueError, match="at least one input"):
        HessianOperator(model, x[:0], y[:0])
    with pytest.raises(ValueError, match="uint8 or floating point"):
        HessianOperator(model, x.long(), y)
    with pytest.raises(ValueError, match="integer class labels"):
        HessianOperator(model, x, y.double())
    with pytest.raises(ValueError, match=r"shape \(277,\)"):
        HessianOperator(model, x, y).matvec(vector(5))
    with pytest.raises(ValueError, match="chunk_size"):
        HessianOperator(model, x, y, chunk_size=-1)
    with pytest.raises(ValueError, match="memory_fraction"):
        HessianOperator(model, x, y, memory_fraction=0.0)
