"""Weights and checkpoints as bytes; reading them executes no code (`torch.load` with `weights_only`)."""

from __future__ import annotations

import hashlib
import io
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from study.optimizers import Optimizer
from study.training.loop import TrainingState


def weights_to_bytes(model: nn.Module) -> bytes:
    """A model's parameters and buffers."""
    return _to_bytes({name: tensor.detach().cpu() for name, tensor in model.state_dict().items()})


def load_weights(model: nn.Module, content: bytes) -> None:
    """Load stored weights into a model of the same architecture.

    Raises:
        ValueError: the bytes are damaged or of another architecture.
    """
    try:
        model.load_state_dict(_from_bytes(content))
    except (RuntimeError, TypeError, AttributeError) as error:
        raise ValueError(f"stored weights do not fit this model: {error}") from error


def state_to_bytes(
    model: nn.Module, optimizer: Optimizer, state: TrainingState, started_from: str | None = None
) -> bytes:
    """A checkpoint: all that is needed to resume a trial.

    Args:
        model, optimizer, state: as they are after an epoch.
        started_from: `weights_sha256` of the parent's weights; None without a parent.
    """
    return _to_bytes(
        {
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "training": asdict(state),
            "started_from": started_from,
        }
    )


def load_state(
    model: nn.Module, optimizer: Optimizer, content: bytes, started_from: str | None = None
) -> TrainingState:
    """Load a checkpoint into model and optimizer; returns the state of training.

    Raises:
        ValueError: the bytes are damaged, of another trial, or of a training that began with other weights.
    """
    stored = _from_bytes(content)
    if stored.get("started_from") != started_from:
        raise ValueError("checkpoint began with other weights than the parent's")
    try:
        model.load_state_dict(stored["model"])
        optimizer.load_state_dict(stored["optimizer"])
        return TrainingState.from_dict(stored["training"])
    except (RuntimeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"checkpoint does not fit this trial: {error}") from error


def _to_bytes(state: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    torch.save(_compact(state), buffer)
    return buffer.getvalue()


def _compact(value: Any) -> Any:
    """The same values; a tensor that is a slice of a larger one (batched training) is copied, or all would be saved."""
    if isinstance(value, Tensor):
        return value.clone() if value.untyped_storage().nbytes() > value.nbytes else value
    if isinstance(value, dict):
        return {key: _compact(entry) for key, entry in value.items()}
    return [_compact(entry) for entry in value] if isinstance(value, list) else value


def _from_bytes(content: bytes) -> dict[str, Any]:
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds of exceptions for damaged files
        raise ValueError(f"stored state is damaged: {error}") from error
    if not isinstance(state, dict):
        raise ValueError("stored state is not a dictionary")
    return state


def weights_sha256(model: nn.Module) -> str:
    """The SHA-256 of a model's parameters and buffers in hexadecimal; it does not depend on the device."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def weight_norm(model: nn.Module) -> float:
    """The Euclidean norm of all parameters, computed in float64."""
    squares: list[Tensor] = [p.detach().double().square().sum() for p in model.parameters()]
    return float(torch.stack(squares).sum().sqrt())
