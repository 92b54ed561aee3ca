"""Weights and half-trained states as bytes, read back without executing code."""

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
    """Put stored weights into a model of the same architecture.

    Raises:
        ValueError: the bytes are damaged or belong to another architecture.
    """
    try:
        model.load_state_dict(_from_bytes(content))
    except (RuntimeError, TypeError, AttributeError) as error:
        raise ValueError(f"stored weights do not fit this model: {error}") from error


def state_to_bytes(
    model: nn.Module, optimizer: Optimizer, state: TrainingState, started_from: str | None = None
) -> bytes:
    """All that is needed to go on with a half-trained trial; `started_from` is the hash of its parent's weights."""
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
    """Put a half-trained state back; returns how far it had come.

    Raises:
        ValueError: the bytes are damaged, belong to another trial, or began with other weights of its parent.
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
    torch.save(_own(state), buffer)
    return buffer.getvalue()


def _own(value: Any) -> Any:
    """The same, without what else a tensor's memory holds: of networks trained as one program each has a slice."""
    if isinstance(value, Tensor):
        return value.clone() if value.untyped_storage().nbytes() > value.nbytes else value
    if isinstance(value, dict):
        return {key: _own(entry) for key, entry in value.items()}
    return [_own(entry) for entry in value] if isinstance(value, list) else value


def _from_bytes(content: bytes) -> dict[str, Any]:
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises half a dozen kinds for damaged files
        raise ValueError(f"stored state is damaged: {error}") from error
    if not isinstance(state, dict):
        raise ValueError("stored state is not a dictionary")
    return state


def weights_sha256(model: nn.Module) -> str:
    """A hash of a model's parameters and buffers: 64 hexadecimal digits, the same whatever device holds them."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def weight_norm(model: nn.Module) -> float:
    """The Euclidean norm of all parameters, summed in float64."""
    squares: list[Tensor] = [p.detach().double().square().sum() for p in model.parameters()]
    return float(torch.stack(squares).sum().sqrt())
