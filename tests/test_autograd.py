"""The margins' Jacobian and the factors of the input Hessian against dense float64 algebra."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from study.autograd import (
    curvature_root,
    error_probabilities,
    images_with_jacobian,
    largest_eigenvalue,
    margin_jacobian,
)


def logits_and_labels(n_classes: int, scale: float = 3.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(n_classes)
    logits = scale * torch.randn(40, n_classes, generator=generator, dtype=torch.float64)
    return logits, torch.randint(n_classes, (40,), generator=generator)


def differences(y: Tensor, n_classes: int) -> Tensor:
    """(n, classes - 1, classes): row k takes the true logit from logit (y + 1 + k) mod classes."""
    others = (y[:, None] + torch.arange(1, n_classes)) % n_classes
    return (one_hot(others, n_classes) - one_hot(y, n_classes)[:, None]).double()


@pytest.mark.parametrize("n_classes", [2, 3, 10])
def test_the_factors_give_the_gradient_and_the_hessian_of_cross_entropy_in_the_logits(n_classes: int) -> None:
    logits, y = logits_and_labels(n_classes)
    p = logits.softmax(1)
    q, s = error_probabilities(logits, y)
    to_margins = differences(y, n_classes)
    gradient = s[:, None] * (q[:, None] @ to_margins).squeeze(1)
    torch.testing.assert_close(gradient, p - one_hot(y, n_classes))
    root = curvature_root(q, s)
    hessian = s[:, None, None] * (to_margins.mT @ root @ root.mT @ to_margins)
    torch.testing.assert_close(hessian, torch.diag_embed(p) - p.unsqueeze(2) * p.unsqueeze(1))


@pytest.mark.parametrize("margin", [40.0, 100.0, 700.0])
def test_one_minus_p_keeps_its_digits_where_p_rounds_to_one(margin: float) -> None:
    logits = torch.tensor([[margin, 0.0, 0.0]], dtype=torch.float64)
    q, s = error_probabilities(logits, torch.tensor([0]))
    torch.testing.assert_close(s.log(), torch.tensor([2.0], dtype=torch.float64).log() - margin, rtol=1e-13, atol=0)
    torch.testing.assert_close(q, torch.full((1, 2), 0.5, dtype=torch.float64))


@pytest.mark.parametrize("n_classes", [2, 5])
def test_the_jacobian_of_a_linear_model_is_the_differences_of_its_weights(n_classes: int) -> None:
    _, y = logits_and_labels(n_classes)
    head = nn.Linear(12, n_classes).double()
    x = torch.rand(40, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    jacobian = margin_jacobian(head(x.flatten(1)), x, y)
    torch.testing.assert_close(jacobian, (differences(y, n_classes) @ head.weight).detach())
    assert head.weight.grad is None and x.grad is None and not jacobian.requires_grad


def test_the_largest_eigenvalue_is_that_of_the_dense_matrix_and_nan_only_where_it_has_none() -> None:
    logits, y = logits_and_labels(6)
    q, s = error_probabilities(logits, y)
    jacobian = torch.randn(40, 5, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    root = curvature_root(q, s)
    dense = torch.linalg.eigvalsh(jacobian.mT @ root @ root.mT @ jacobian)[:, -1]
    gram = jacobian @ jacobian.mT
    torch.testing.assert_close(largest_eigenvalue(gram, root), dense)
    gram[3, 0, 0] = torch.inf
    found = largest_eigenvalue(gram, root)
    assert found.isnan().nonzero().flatten().tolist() == [3]


def test_logits_without_a_graph_to_the_input_are_refused() -> None:
    x = torch.rand(2, 3, requires_grad=True)
    elsewhere = torch.rand(2, 4, requires_grad=True) * 2
    for logits in (torch.rand(2, 4), elsewhere):
        with pytest.raises(ValueError, match="no gradient reaches the input"):
            margin_jacobian(logits, x, torch.tensor([0, 1]))


def test_so_many_images_are_taken_at_a_time_as_have_jacobians_that_fit() -> None:
    image = torch.zeros(1, 3, 32, 32)
    for classes, images in ((10, 728), (100, 72)):
        assert images_with_jacobian(image, classes) == images
        assert images_with_jacobian(image.to("meta"), classes) // images == 16  # stands for a GPU
    assert images_with_jacobian(torch.zeros(1, 10**5), 1000) == 1
