"""Input curvature against closed forms and dense Hessians; where the theorem holds and fails."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from study.curvature import check_input_hessian, input_curvature
from study.models import build
from tests.curvature.networks import conv_relu, images, randomise, seeded, tanh_net
from tests.models.kinds import KINDS


def dense_input_hessians(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """(n, pixels, pixels) of plain cross-entropy, by torch.func."""

    def loss(pixels: Tensor, label: Tensor) -> Tensor:
        return cross_entropy(model(pixels.view(1, *x.shape[1:])), label[None])

    return torch.stack([torch.func.hessian(loss)(a.flatten(), b) for a, b in zip(x, y, strict=True)]).detach()


def input_gradients(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    x = x.clone().requires_grad_(True)
    return torch.autograd.grad(cross_entropy(model(x), y, reduction="sum"), x)[0].flatten(1)


def test_softmax_regression_has_its_closed_form() -> None:
    head = randomise(nn.Linear(6, 4).double(), seed=0, scale=3.0)
    x, y = torch.rand(20, 6, generator=seeded(1), dtype=torch.float64), torch.arange(20) % 4
    p, w = head(x).softmax(1).detach(), head.weight.detach()
    hessian = w.T @ (torch.diag_embed(p) - p.unsqueeze(2) * p.unsqueeze(1)) @ w
    found = input_curvature(head, x, y)
    torch.testing.assert_close(found.lambda1, torch.linalg.eigvalsh(hessian)[:, -1])
    torch.testing.assert_close(found.gradient_norm, ((p - one_hot(y, 4)) @ w).norm(dim=1))


def test_a_relu_network_has_the_top_eigenvalues_of_its_dense_hessians() -> None:
    model, (x, y) = conv_relu(), images(6)
    found = input_curvature(model, x, y)
    torch.testing.assert_close(found.lambda1, torch.linalg.eigvalsh(dense_input_hessians(model, x, y))[:, -1])
    torch.testing.assert_close(found.gradient_norm, input_gradients(model, x, y).norm(dim=1))


@pytest.mark.parametrize("margin", [20.0, 60.0, 700.0])
def test_nothing_cancels_for_a_sample_whose_probability_rounds_to_one(margin: float) -> None:
    head = nn.Linear(3, 2, bias=False).double().eval()
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[margin, 0.0, 0.0], [0.0, 0.0, 0.0]]))
    found = input_curvature(head, torch.tensor([[1.0, 0.5, 0.0]], dtype=torch.float64), torch.tensor([0]))
    error = 1 / (1 + math.exp(margin))
    assert float(found.lambda1) == pytest.approx(error * (1 - error) * margin**2, rel=1e-12)
    assert float(found.gradient_norm) == pytest.approx(error * margin, rel=1e-12)


@pytest.mark.parametrize(
    ("limit", "value"),
    [
        *(("curvature.input_hessian.BATCH_SIZE", size) for size in (5, 1)),
        *(("autograd.JACOBIAN_BYTES", size) for size in (20_000, 1)),
    ],
)
def test_batches_do_not_change_the_values(limit: str, value: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model, (x, y) = conv_relu(), images(12)
    whole = input_curvature(model, x, y)
    monkeypatch.setattr(f"study.{limit}", value)
    cut = input_curvature(model, x, y)
    torch.testing.assert_close(cut.lambda1, whole.lambda1, rtol=1e-12, atol=0)
    torch.testing.assert_close(cut.gradient_norm, whole.gradient_norm, rtol=1e-12, atol=0)


def test_bytes_are_scaled_and_neither_model_nor_data_is_changed() -> None:
    model, (x, y) = conv_relu(dtype=torch.float32), images(12)
    stored = (x * 255).to(torch.uint8)
    pixels = stored.float() / 255
    before, state = pixels.clone(), copy.deepcopy(model.state_dict())
    assert torch.equal(input_curvature(model, stored, y).lambda1, input_curvature(model, pixels, y).lambda1)
    assert torch.equal(pixels, before) and all(p.grad is None for p in model.parameters())
    assert all(torch.equal(state[key], value) for key, value in model.state_dict().items())


class NotFiniteInTheDark(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = randomise(nn.Linear(4, 3).double(), seed=0)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(x)
        return logits / (x.sum(1, keepdim=True) > 0)


def test_a_sample_that_is_not_finite_is_nan_and_the_others_are_not_affected() -> None:
    x = torch.rand(5, 4, generator=seeded(0), dtype=torch.float64)
    x[2] = 0
    y = torch.arange(5) % 3
    model = NotFiniteInTheDark().eval()
    found, alone = input_curvature(model, x, y), input_curvature(model, x[:2], y[:2])
    for values, reference in ((found.lambda1, alone.lambda1), (found.gradient_norm, alone.gradient_norm)):
        assert values.isnan().nonzero().flatten().tolist() == [2]
        torch.testing.assert_close(values[:2], reference)
    assert math.isnan(found.mean_lambda1) and math.isnan(found.mean_gradient_norm)


GREY, SMALL = (1, 28, 28), (3, 16, 16)
IMAGE_SHAPES = {"m1": GREY, "m1_20": GREY, "m1_8": GREY, "m1_lenet": GREY, "stdcnn": GREY, "mlp_256": (1, 8, 8)}
# The networks for CIFAR take images of any size that survives their pooling; small ones make the products cheap.
IMAGE_SHAPES |= {"c2": SMALL, "c3": SMALL}
TINY = (3, 4, 4)


def network(name: str, n_classes: int) -> tuple[nn.Module, Tensor, Tensor]:
    shape = IMAGE_SHAPES.get(name, TINY)
    model = build(name, image_shape=shape, num_classes=n_classes, generator=seeded(0)).eval()
    return model, torch.rand(1, *shape, generator=seeded(1)), torch.tensor([1])


@pytest.mark.parametrize("name", KINDS)
def test_the_theorem_holds_for_every_model(name: str) -> None:
    model, x, y = network(name, n_classes=4)
    check = check_input_hessian(model, x, y, dense_dimension=0)
    assert check.psd_violation < 1e-12
    assert check.rank_max == 3


def test_the_theorem_holds_for_the_full_hessian_of_784_pixels() -> None:
    model, x, y = network("m1_8", n_classes=10)
    check = check_input_hessian(model, x, y)
    assert check.psd_violation < 1e-12
    assert check.rank_max == 9


def test_a_tanh_network_violates_the_theorem() -> None:
    model = tanh_net()
    x, y = torch.randn(10, 6, generator=seeded(2), dtype=torch.float64), torch.arange(10) % 4
    eigenvalues = torch.linalg.eigvalsh(dense_input_hessians(model, x, y))
    violation = float((-eigenvalues[:, 0] / eigenvalues.abs().amax(1)).max())
    check = check_input_hessian(model, x, y)
    assert check.psd_violation == pytest.approx(violation, rel=1e-9) and violation > 0.1
    assert check.rank_max == 6


def test_a_sketch_shows_that_a_tanh_network_violates_the_theorem() -> None:
    layers = (nn.Flatten(), nn.Linear(64, 30), nn.Tanh(), nn.Linear(30, 5))
    model, (x, y) = randomise(nn.Sequential(*layers).double(), seed=0, scale=2.0), images(4)
    full, sketch = check_input_hessian(model, x, y), check_input_hessian(model, x, y, dense_dimension=0)
    assert full.rank_max > 8 and sketch.rank_max == 8  # 5 classes + 3, all that the sketch can show
    assert 0.01 < sketch.psd_violation <= full.psd_violation * 2


@pytest.mark.parametrize("dense_dimension", [0, 64])
def test_full_hessian_and_sketch_agree_on_a_relu_network(dense_dimension: int) -> None:
    model, (x, y) = conv_relu(), images(4)
    check = check_input_hessian(model, x, y, dense_dimension=dense_dimension)
    ranks = torch.linalg.matrix_rank(dense_input_hessians(model, x, y), rtol=1e-9, hermitian=True)
    assert check.psd_violation < 1e-12
    assert check.rank_max == int(ranks.max()) <= 4


class Saddle(nn.Module):
    """Logits (0, a x0^2 - b x1^2): at 0 the Hessian for class 0 is (1/2) diag(2a, -2b, 0)."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Parameter(torch.tensor(4.0)), nn.Parameter(torch.tensor(1.0))

    def forward(self, x: Tensor) -> Tensor:
        saddle = self.a * x[:, 0].square() - self.b * x[:, 1].square()
        return torch.stack([torch.zeros_like(saddle), saddle], dim=1)


def test_a_planted_saddle_is_measured() -> None:
    check = check_input_hessian(Saddle().eval(), torch.zeros(1, 3), torch.tensor([0]))
    assert check.psd_violation == pytest.approx(0.25, rel=1e-12) and check.rank_max == 2


@pytest.mark.parametrize("margin", [60.0, 400.0, 5000.0])
def test_the_theorem_holds_for_confident_networks(margin: float) -> None:
    model, (x, y) = conv_relu(), images(4)
    y = model(x).argmax(1)
    top = model(x).topk(2, dim=1).values
    with torch.no_grad():
        for p in list(model.children())[-1].parameters():
            p.mul_(margin / float((top[:, 0] - top[:, 1]).min()))
    check = check_input_hessian(model, x, y)
    assert check.psd_violation < 1e-12 and check.rank_max <= 4


class Cut(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.detach()


def test_input_that_does_not_fit_is_refused() -> None:
    model, (x, y) = conv_relu(), images(4)
    for measure in (input_curvature, check_input_hessian):
        with pytest.raises(ValueError, match=r"call model\.eval\(\)"):
            measure(copy.deepcopy(model).train(), x, y)
        with pytest.raises(ValueError, match="one label for each"):
            measure(model, x, y[:3])
        with pytest.raises(ValueError, match="uint8 or floating point"):
            measure(model, (x * 255).long(), y)
        with pytest.raises(ValueError, match="no gradient reaches the input"):
            measure(nn.Sequential(Cut(), copy.deepcopy(model)).eval(), x, y)
    with pytest.raises(ValueError, match="not finite"):
        check_input_hessian(NotFiniteInTheDark().eval(), torch.zeros(1, 4), torch.tensor([0]))
