"""Eigenvalues of small networks against dense float64 Hessians, scipy and PyHessian."""

import math

import numpy as np
import pyhessian
import pytest
import torch
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import nn

from study.curvature import HessianOperator, draw_subset, top_eigenvalues
from tests.curvature.conftest import Case
from tests.curvature.networks import by_magnitude, conv_relu, dense_hessian, images, randomise, seeded


def test_top_five_equal_the_dense_spectrum(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("study.curvature.operator.HOST_CHUNK", 17)
    model, x, y, truth = case
    result = top_eigenvalues(model, x, y, count=5, tolerance=1e-6, generator=seeded(0))
    assert result.converged
    assert result.eigenvalues == pytest.approx(truth[:5], rel=1e-8)


def test_agrees_with_scipy_eigsh(case: Case) -> None:
    model, x, y, _ = case
    operator = HessianOperator(model, x, y)
    peer = LinearOperator(
        (operator.dim, operator.dim),
        matvec=lambda v: operator.matvec(torch.from_numpy(v.ravel())).numpy(),
        dtype=float,
    )
    values = eigsh(peer, k=5, which="LM", return_eigenvectors=False, v0=np.ones(operator.dim))
    result = top_eigenvalues(model, x, y, count=5, tolerance=1e-6, generator=seeded(0))
    assert result.eigenvalues == pytest.approx(by_magnitude(values), rel=1e-8)


def test_agrees_with_pyhessian_to_its_tolerance(case: Case) -> None:
    model, x, y, _ = case
    twin = conv_relu(dtype=torch.float32)
    twin.load_state_dict(model.state_dict())
    x32 = x.float()
    peer = pyhessian.hessian(twin, nn.CrossEntropyLoss(), data=(x32, y), cuda=False)
    values, _ = peer.eigenvalues(maxIter=500, tol=1e-5)
    result = top_eigenvalues(twin.eval(), x32, y, generator=seeded(0))
    assert result.eigenvalues[0] == pytest.approx(values[0], rel=1e-3)


def test_the_default_tolerance_in_float32_is_good_to_one_in_a_hundred_thousand(
    case: Case,
) -> None:
    model, x, y, truth = case
    single = conv_relu(dtype=torch.float32)
    single.load_state_dict(model.state_dict())
    for seed in range(5):
        result = top_eigenvalues(single, x, y, generator=seeded(seed))
        assert result.eigenvalues[0] == pytest.approx(truth[0], rel=1e-5)


def test_softmax_regression_has_the_top_eigenvalue_of_its_closed_form() -> None:
    # With all weights 0, p = 1/K: H = (I - 11'/K)/K kron X'X/N, so lambda_1 = lambda_1(X'X/N) / K.
    x = torch.rand(50, 6, generator=seeded(1), dtype=torch.float64)
    model = nn.Linear(6, 4, bias=False).double().eval()
    nn.init.zeros_(model.weight)
    result = top_eigenvalues(model, x, torch.zeros(50, dtype=torch.long), generator=seeded(0), count=4, tolerance=1e-6)
    expected = torch.linalg.eigvalsh(x.T @ x / 50)[-1].item() / 4
    # The centring matrix has eigenvalue 1 three times: the top eigenvalue is threefold.
    assert result.eigenvalues[:3] == pytest.approx([expected] * 3, rel=1e-9)
    assert result.eigenvalues[3] < 0.9 * expected


def test_a_diverged_network_has_eigenvalues_nan() -> None:
    x, y = images(10)
    model = conv_relu()
    nn.init.constant_(model[0].weight, math.nan)
    result = top_eigenvalues(model, x, y, generator=seeded(0), count=2)
    assert [math.isnan(value) for value in result.eigenvalues] == [True, True]
    assert not result.converged


def test_the_same_seed_gives_the_same_bits() -> None:
    x, y = images(40, dtype=torch.float32)
    model = conv_relu(dtype=torch.float32)
    first, again = (top_eigenvalues(model, x, y, generator=seeded(3), subset_size=25) for _ in range(2))
    assert first == again


def test_a_subset_is_that_many_different_inputs() -> None:
    x, y = images(40)
    model = conv_relu()
    everything = top_eigenvalues(model, x, y, generator=seeded(0), tolerance=1e-6)
    all_drawn = top_eigenvalues(model, x, y, generator=seeded(0), tolerance=1e-6, subset_size=40)
    assert all_drawn.eigenvalues == pytest.approx(everything.eigenvalues, rel=1e-9)
    drawn, labels = draw_subset(x, y, 3, seeded(0))
    assert len(drawn.unique(dim=0)) == len(labels) == 3
    alone = top_eigenvalues(model, drawn, labels, generator=seeded(0), tolerance=1e-6)
    some = top_eigenvalues(model, x, y, generator=seeded(0), tolerance=1e-6, subset_size=3)
    assert some.eigenvalues == pytest.approx(alone.eigenvalues, rel=1e-9)
    with pytest.raises(ValueError, match="within 1 and 40"):
        top_eigenvalues(model, x, y, generator=seeded(0), subset_size=41)


def test_batch_norm_and_dropout_in_eval_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("study.curvature.operator.HOST_CHUNK", 7)
    x, y = images(30)
    net = nn.Sequential(
        nn.Conv2d(1, 2, 5), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Dropout(0.5), nn.Linear(32, 5)
    )
    model = randomise(net.double(), seed=1)
    statistics = model[1].running_mean.clone(), model[1].num_batches_tracked.clone()
    truth = np.linalg.eigvalsh(dense_hessian(model, x, y).numpy())
    result = top_eigenvalues(model, x, y, generator=seeded(0), tolerance=1e-6)
    assert result.eigenvalues[0] == pytest.approx(truth[np.abs(truth).argmax()], rel=1e-8)
    assert torch.equal(model[1].running_mean, statistics[0])
    assert torch.equal(model[1].num_batches_tracked, statistics[1])


def test_a_model_in_training_mode_is_refused() -> None:
    x, y = images(5)
    with pytest.raises(ValueError, match="training mode"):
        top_eigenvalues(conv_relu().train(), x, y, generator=seeded(0))
