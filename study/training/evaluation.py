"""Clean loss and accuracy of a model over a whole split."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from study.pixels import batches
from study.training.precision import computing_in


@dataclass(frozen=True)
class Evaluation:
    """Mean cross-entropy in nats, accuracy as a fraction, and mean of the largest probability, in eval mode."""

    loss: float
    accuracy: float
    confidence: float


@torch.no_grad()
def evaluate(model: nn.Module, x: Tensor, y: Tensor, *, precision: str = "float32") -> Evaluation:
    """Loss, accuracy and confidence over a split: x uint8 (N, C, H, W), y (N,), on the model's device.

    The model is evaluated in eval mode, its convolutions and products in `precision`, and left in the mode it was in.
    Losses are summed in float64. All values are NaN for an empty split (no validation set).
    """
    if len(y) == 0:
        return Evaluation(*[float("nan")] * 3)
    was_training = model.training
    model.eval()
    loss = torch.zeros((), dtype=torch.float64, device=x.device)
    correct = torch.zeros((), dtype=torch.int64, device=x.device)
    confidence = torch.zeros((), dtype=torch.float64, device=x.device)
    for pixels, labels in batches(model, x, y):
        with computing_in(precision, model):
            logits = model(pixels)
        loss += F.cross_entropy(logits.double(), labels, reduction="sum")
        correct += (logits.argmax(1) == labels).sum()
        confidence += logits.double().softmax(1).amax(1).sum()
    model.train(was_training)
    return Evaluation(float(loss) / len(y), int(correct) / len(y), float(confidence) / len(y))
