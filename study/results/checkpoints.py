"""Weights (safetensors) and checkpoints as bytes, each with a digest that is compared when they are loaded.

Reading them executes no code: safetensors hold none, and `torch.load` reads checkpoints with `weights_only`.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from study.models import same_function
from study.optimizers import Optimizer
from study.results import digests
from study.results.digests import DamagedError as DamagedError
from study.training.loop import TrainingState


def weights_to_bytes(model: nn.Module) -> bytes:
    """A model's parameters and buffers as safetensors, with their `weights_sha256` as the metadata `sha256`."""
    state = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in model.state_dict().items()}
    content: bytes = safetensors.torch.save(state, {"sha256": state_sha256(state)})
    return content


def read_weights(content: bytes, sha256: str | None = None) -> dict[str, Tensor]:
    """Stored weights by name, on the CPU.

    Args:
        content: safetensors.
        sha256: their digest according to the trial's row; None: not known.

    Raises:
        DamagedError: they cannot be read, or do not match a digest.
    """
    try:
        state: dict[str, Tensor] = safetensors.torch.load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    except (SafetensorError, ValueError, KeyError, RecursionError, RuntimeError) as error:
        raise DamagedError(f"stored weights are damaged: {error}") from error
    found = state_sha256(state)
    if header.get("__metadata__", {}).get("sha256") != found:
        raise DamagedError("they do not match their digest")
    if sha256 not in (None, found):
        raise DamagedError("they are not those that the trial's row describes")
    return state


def load_weights(model: nn.Module, content: bytes, sha256: str | None = None) -> None:
    """Load stored weights (see `read_weights`) into a model of the same architecture.

    Raises:
        DamagedError: they are damaged or of another architecture.
    """
    state = read_weights(content, sha256)
    try:
        model.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise DamagedError(f"they do not fit this model: {error}") from error


def state_to_bytes(
    model: nn.Module,
    optimizer: Optimizer,
    state: TrainingState,
    started_from: str | None = None,
    fingerprint: str | None = None,
    dataset_sha256: str | None = None,
) -> bytes:
    """A checkpoint: all that is needed to resume a trial.

    Args:
        model, optimizer, state: as they are after an epoch.
        started_from: `weights_sha256` of the parent's weights; None without a parent.
        fingerprint: of the model's function (`study.models.fingerprint`); None: not known.
        dataset_sha256: of the data set; None: not known.
    """
    return _to_zip(
        {
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "training": asdict(state),
            "started_from": started_from,
            "fingerprint": fingerprint,
            "dataset_sha256": dataset_sha256,
        }
    )


def load_state(
    model: nn.Module,
    optimizer: Optimizer,
    content: bytes,
    started_from: str | None = None,
    fingerprint: str | None = None,
    dataset_sha256: str | None = None,
) -> TrainingState:
    """Load a checkpoint into model and optimizer; returns the state of training.

    Raises:
        DamagedError: the bytes are damaged or of another trial.
        ValueError: training began with other weights, with another function of the model or on other data.
    """
    stored = read_state(content)
    if stored.get("started_from") != started_from:
        raise ValueError("checkpoint began with other weights than the parent's")
    if fingerprint and stored.get("fingerprint") and not same_function(stored["fingerprint"], fingerprint):
        raise ValueError("the model code has changed since this checkpoint")
    if dataset_sha256 and stored.get("dataset_sha256", dataset_sha256) != dataset_sha256:
        raise ValueError("checkpoint began on other data")
    try:
        model.load_state_dict(stored["model"])
        optimizer.load_state_dict(stored["optimizer"])
        return TrainingState.from_dict(stored["training"])
    except (RuntimeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise DamagedError(f"checkpoint does not fit this trial: {error}") from error


def _to_zip(state: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    torch.save(_compact(state), buffer)
    return digests.add_to_zip(buffer.getvalue())


def _compact(value: Any) -> Any:
    """The same values; a tensor that is a slice of a larger one (batched training) is copied, or all would be saved."""
    if isinstance(value, Tensor):
        return value.clone() if value.untyped_storage().nbytes() > value.nbytes else value
    if isinstance(value, dict):
        return {key: _compact(entry) for key, entry in value.items()}
    return [_compact(entry) for entry in value] if isinstance(value, list) else value


def read_state(content: bytes) -> dict[str, Any]:
    """A checkpoint without its trial. Raises DamagedError."""
    digests.check_zip(content)
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds of exceptions for damaged files
        raise DamagedError(f"stored state is damaged: {_first_line(error)}") from error
    if not isinstance(state, dict):
        raise DamagedError("stored state is not a dictionary")
    return state


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def weights_sha256(model: nn.Module) -> str:
    """The SHA-256 of a model's parameters and buffers in hexadecimal; it does not depend on the device."""
    return state_sha256(model.state_dict())


def state_sha256(state: Mapping[str, Tensor]) -> str:
    """`weights_sha256` of the tensors of a state dictionary."""
    digest = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def weight_norm(model: nn.Module) -> float:
    """The Euclidean norm of all parameters, computed in float64."""
    squares: list[Tensor] = [p.detach().double().square().sum() for p in model.parameters()]
    return float(torch.stack(squares).sum().sqrt())
