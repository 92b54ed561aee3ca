"""Networks and an epoch small enough for closed forms: 22 images in batches of 8, 8 and 6."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from study.data import AUGMENTATIONS
from study.models import Dropout, set_dropout_generator
from study.optimizers import OPTIMIZERS, Optimizer
from study.training.loop import Recipe, TrainingRun, TrainingState, train
from study.training.schedules import constant

IMAGES, BATCH, CLASSES = 22, 8, 4
KINDS = ("plain", "dropout", "batch_norm")
RATE = 0.1


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def network(kind: str = "plain", dtype: torch.dtype = torch.float32) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        between = {"plain": nn.Identity(), "dropout": Dropout(0.5), "batch_norm": nn.BatchNorm1d(16)}[kind]
        model = nn.Sequential(nn.Flatten(), nn.Linear(36, 16), between, nn.Tanh(), nn.Linear(16, CLASSES))
    set_dropout_generator(model, stream(1))
    return model.to(dtype)


def images(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """Noise, the brighter the higher the class."""
    y = torch.randint(CLASSES, (IMAGES,), generator=stream(3))
    x = torch.randint(128, (IMAGES, 1, 6, 6), generator=stream(2)) + 42 * y[:, None, None, None]
    return x.to(dtype) / 255, y


def batches(dtype: torch.dtype = torch.float32, roll: int = 0) -> list[tuple[Tensor, Tensor]]:
    """The epoch's minibatches, the order of the images rotated by `roll`."""
    x, y = (t.roll(roll, 0) for t in images(dtype))
    return list(zip(x.split(BATCH), y.split(BATCH), strict=True))


def built(name: str, model: nn.Module, **settings: float) -> Optimizer:
    return OPTIMIZERS[name](model, **{"learning_rate": RATE, "momentum": 0.0, "weight_decay": 0.0, **settings})


def fit(
    model: nn.Module, optimizer: Optimizer, epochs: int, state: TrainingState | None = None, seed: int = 0
) -> TrainingState:
    """The study's own training loop, with random flips, up to `epochs` epochs."""
    x, y = images()
    data = ((x * 255).round().to(torch.uint8), y)
    recipe = Recipe(RATE, BATCH, epochs, seed, schedule=constant, augmentation=AUGMENTATIONS["flip"])
    run = TrainingRun(model, optimizer, recipe, state or TrainingState())
    train(run, train=data, validation=data)
    return run.state


def gradient(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """The gradient of the mean cross-entropy, flat."""
    return flat(torch.autograd.grad(F.cross_entropy(model(x), y), list(model.parameters())))


def flat(tensors: object) -> Tensor:
    return torch.cat([t.detach().flatten() for t in tensors])  # type: ignore[attr-defined]


def step_direction(model: nn.Module, step: Callable[[], object]) -> Tensor:
    """What a step without momentum subtracts, over the learning rate; the weights are put back."""
    before = {name: t.clone() for name, t in model.state_dict().items()}
    step()
    moved = (flat(before[n] for n, _ in model.named_parameters()) - flat(model.parameters())) / RATE
    model.load_state_dict(before)
    return moved


def assert_same_bits(one: nn.Module, other: nn.Module) -> None:
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name
