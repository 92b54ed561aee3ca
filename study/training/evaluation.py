"""Clean loss and accuracy of a model over a whole split."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from study.arithmetic import full_precision

CHUNK = 1000
"""Images per forward pass: enough to keep a core busy, few enough for the activations of resnet18."""


@dataclass(frozen=True)
class Evaluation:
    """Mean cross-entropy in nats and accuracy as a fraction, in eval mode."""

    loss: float
    accuracy: float


@full_precision()
@torch.no_grad()
def evaluate(model: nn.Module, x: Tensor, y: Tensor) -> Evaluation:
    """Loss and accuracy over a split: x uint8 (N, C, H, W), y (N,), on the model's device.

    The model is evaluated in eval mode and left in the mode it was in. Losses are summed in float64. Both values are
    NaN for an empty split (no validation set).
    """
    if len(y) == 0:
        return Evaluation(float("nan"), float("nan"))
    was_training = model.training
    model.eval()
    loss = torch.zeros((), dtype=torch.float64, device=x.device)
    correct = torch.zeros((), dtype=torch.int64, device=x.device)
    for start in range(0, len(y), CHUNK):
        labels = y[start : start + CHUNK]
        logits = model(x[start : start + CHUNK].float().div_(255))
        loss += F.cross_entropy(logits.double(), labels, reduction="sum")
        correct += (logits.argmax(1) == labels).sum()
    model.train(was_training)
    return Evaluation(loss=float(loss) / len(y), accuracy=int(correct) / len(y))
