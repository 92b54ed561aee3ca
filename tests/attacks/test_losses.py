"""The two attack losses and their gradients against softmax algebra."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from study.attacks.losses import LOSSES, forward_backward, input_gradient, targeted_logit_ratios


def logits_and_labels(dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return 3 * torch.randn(50, 10, generator=generator, dtype=dtype), torch.randint(10, (50,), generator=generator)


def logit_gradient(logits: Tensor, y: Tensor, loss: str) -> Tensor:
    return input_gradient(nn.Identity(), logits, y, LOSSES[loss])


@pytest.mark.parametrize("loss", ["ce", "stable"])
def test_losses_are_the_negative_log_probability_and_the_log_odds_against_the_true_class(loss: str) -> None:
    logits, y = logits_and_labels(torch.float64)
    p_true = logits.softmax(1)[torch.arange(50), y]
    expected = {"ce": -p_true.log(), "stable": ((1 - p_true) / p_true).log()}[loss]
    torch.testing.assert_close(LOSSES[loss](logits, y), expected)


def test_cross_entropy_gradient_is_p_minus_one_hot() -> None:
    logits, y = logits_and_labels(torch.float64)
    expected = logits.softmax(1) - nn.functional.one_hot(y, 10)
    torch.testing.assert_close(logit_gradient(logits, y, "ce"), expected)


def test_stable_gradient_survives_a_margin_at_which_cross_entropy_has_none() -> None:
    logits, y = torch.tensor([[200.0, 0.0, -1.0]]), torch.tensor([0])
    assert torch.equal(logit_gradient(logits, y, "ce"), torch.zeros(1, 3))
    wrong = torch.tensor([0.0, -1.0]).softmax(0)
    torch.testing.assert_close(
        logit_gradient(logits, y, "stable"), torch.tensor([[-1.0, float(wrong[0]), float(wrong[1])]])
    )


def test_dlr_is_the_margin_over_the_gap_to_the_third_logit() -> None:
    logits = torch.tensor([[5.0, 3.0, 1.0, -2.0], [1.0, 4.0, 3.0, 0.0]])
    y = torch.tensor([0, 0])
    torch.testing.assert_close(LOSSES["dlr"](logits, y), torch.tensor([-2.0 / 4.0, 3.0 / 3.0]))
    target = torch.tensor([2, 1])
    expected = torch.tensor([-4.0 / (5 - (1 - 2) / 2), 3.0 / (4 - (1 + 0) / 2)])
    torch.testing.assert_close(targeted_logit_ratios(logits, y, target), expected)


def test_dlr_of_few_classes_is_a_difference_of_logits() -> None:
    logits, y, target = torch.tensor([[2.0, 1.5, -1.0]]), torch.tensor([0]), torch.tensor([2])
    assert targeted_logit_ratios(logits, y, target).tolist() == [-3.0]
    assert LOSSES["dlr"](logits[:, :2], y).tolist() == [-0.5]


def test_dlr_is_the_same_for_shifted_and_scaled_logits() -> None:
    logits, y = logits_and_labels(torch.float64)
    target = (y + 1) % 10
    torch.testing.assert_close(LOSSES["dlr"](7 * logits + 3, y), LOSSES["dlr"](logits, y))
    scaled, plain = (targeted_logit_ratios(of, y, target) for of in (7 * logits + 3, logits))
    torch.testing.assert_close(scaled, plain)


def test_one_pass_gives_the_logits_and_the_gradient_even_under_no_grad() -> None:
    x, y = logits_and_labels(torch.float64)
    model = nn.Linear(10, 4).double()
    with torch.no_grad():
        logits, _, gradient = forward_backward(model, x, y % 4, LOSSES["ce"])
    p_minus_one_hot = model(x).softmax(1) - nn.functional.one_hot(y % 4, 4)
    torch.testing.assert_close(logits, model(x).detach())
    torch.testing.assert_close(gradient, (p_minus_one_hot @ model.weight).detach())
    assert not logits.requires_grad and not gradient.requires_grad


class Detached(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(10, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x.detach())  # type: ignore[no-any-return]


def test_a_model_that_cuts_the_graph_is_refused() -> None:
    x, y = logits_and_labels(torch.float32)
    with pytest.raises(ValueError, match="no gradient reaches the input"):
        input_gradient(Detached(), x, y % 4, LOSSES["ce"])
    with pytest.raises(ValueError, match="no gradient reaches the input"):
        input_gradient(Detached().requires_grad_(False), x, y % 4, LOSSES["ce"])
