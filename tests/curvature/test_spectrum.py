"""Eigenvalues of small networks against dense float64 Hessians, scipy and PyHessian."""

import numpy as np
import pyhessian
import pytest
import torch
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import nn

from study.curvature import HessianOperator, draw_subset, top_eigenvalues
from tests.curvature.conftest import Case
from tests.curvature.networks import by_magnitude, conv_relu, images, seeded


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
