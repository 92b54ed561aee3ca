"""What training gives an optimizer beside the minibatches, and adversarial minibatches."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from study.data import AUGMENTATIONS
from study.models import Dropout, build, set_dropout_generator
from study.models.initialization import drawing_from
from study.optimizers import OPTIMIZERS, Batches, Optimizer
from study.optimizers.sgd import SGD
from study.training import streams
from study.training.loop import Perturb, Recipe, TrainingState, train
from study.training.schedules import SCHEDULES
from tests.training.networks import same_bits
from tests.trials.small import tensors


def model_of(name: str) -> nn.Module:
    return build(name, image_shape=(1, 28, 28), num_classes=10, generator=streams.generator(0, "initialization"))


def run(model: nn.Module, optimizer: Optimizer, epochs: int = 2, perturb: Perturb | None = None) -> TrainingState:
    recipe = Recipe(
        learning_rate=0.05, batch_size=50, epochs=epochs, seed=3, schedule=SCHEDULES["constant"],
        augmentation=AUGMENTATIONS["crop_flip"], perturb=perturb,
    )  # fmt: skip
    data = tensors()
    return train(
        model, optimizer, recipe, train=data.train, validation=data.validation, state=TrainingState(),
        set_dropout_generator=set_dropout_generator,
    )  # fmt: skip


class Looking(SGD):
    """SGD that first passes over the epoch twice, and notes what it met."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model, learning_rate=0.05)
        self.seen: list[list[tuple[Tensor, Tensor]]] = []
        self.logits: list[list[Tensor]] = []
        self.noise: list[float] = []
        self.calls: list[str] = []

    def begin_epoch(self, batches: Batches, generator: torch.Generator) -> None:
        self.calls.append("begin")
        assert self.model.training
        self.noise.append(float(torch.rand((), generator=generator)))
        self.seen += [list(batches()), list(batches()), []]
        self.logits += [[self.model(x).detach() for x, _ in self.seen[-2]], []]

    def step(self, x: Tensor, y: Tensor) -> Tensor:
        self.calls.append("step")
        self.seen[-1].append((x, y))
        self.logits[-1].append(self.model(x).detach())
        return torch.zeros(())

    def end_epoch(self) -> None:
        self.calls.append("end")


def test_an_optimizer_can_pass_over_the_epoch_first_and_meets_its_batches_and_masks() -> None:
    model = model_of("stdcnn")
    optimizer = Looking(model)
    run(model, optimizer)
    assert optimizer.calls == ["begin", "step", "step", "step", "end"] * 2
    for first, again, stepped in (optimizer.seen[:3], optimizer.seen[3:]):
        assert [len(y) for _, y in first] == [50, 50, 20]
        for one, two, three in zip(first, again, stepped, strict=True):
            assert all(torch.equal(a, b) and torch.equal(a, c) for a, b, c in zip(one, two, three, strict=True))
    assert not torch.equal(optimizer.seen[0][0][0], optimizer.seen[3][0][0])
    # The weights stand still: equal logits are equal dropout masks.
    for before, stepped_logits in (optimizer.logits[:2], optimizer.logits[2:]):
        assert all(torch.equal(a, b) for a, b in zip(before, stepped_logits, strict=True))


def test_the_optimizers_stream_is_named_by_seed_and_epoch() -> None:
    optimizer = Looking(model := model_of("stdcnn"))
    run(model, optimizer)
    expected = [float(torch.rand((), generator=streams.generator(3, "optimizer", epoch))) for epoch in (0, 1)]
    assert optimizer.noise == expected


def test_looking_first_changes_no_bit() -> None:
    class LooksThenTrains(SGD):
        def begin_epoch(self, batches: Batches, generator: torch.Generator) -> None:
            for x, _ in batches():
                self.model(x)

    ours, plain = model_of("stdcnn"), model_of("stdcnn")
    run(ours, LooksThenTrains(ours, learning_rate=0.05))
    run(plain, SGD(plain, learning_rate=0.05))
    assert same_bits(ours, plain)


def test_steps_and_gradients_are_the_optimizers_counts() -> None:
    model = model_of("m1_8")
    optimizer = OPTIMIZERS["svrg"](model, learning_rate=0.05, momentum=0.0, weight_decay=0.0)
    state = run(model, optimizer)
    assert (state.steps, state.gradient_equivalents) == (2 * 3, 2 * 3 * 120)
    assert TrainingState.from_dict(state.to_dict()) == state


def careless_fgsm(model: nn.Module, x: Tensor, y: Tensor, starts: torch.Generator) -> Tensor:
    """Leaves its gradients behind in the weights, and a graph in its answer."""
    x = x.clone().requires_grad_()
    F.cross_entropy(model(x), y).backward()
    assert x.grad is not None
    return x + 0.1 * x.grad.sign()


def test_adversarial_minibatches_are_made_with_the_current_weights_in_eval_mode() -> None:
    """As a loop by hand, dropout and batch norm included: no mask drawn, no statistic moved by the attack."""
    with drawing_from(streams.generator(0)):
        ours = nn.Sequential(nn.Flatten(), nn.Linear(784, 20), nn.BatchNorm1d(20), Dropout(0.5), nn.Linear(20, 10))
    theirs = copy.deepcopy(ours)
    run(ours, SGD(ours, learning_rate=0.05, momentum=0.9), epochs=1, perturb=careless_fgsm)

    x, y = tensors().train
    order = torch.randperm(len(y), generator=streams.generator(3, "order", 0))
    draws = streams.generator(3, "augmentation", 0)
    set_dropout_generator(theirs, streams.generator(3, "dropout", 0))
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.05, momentum=0.9, fused=True)
    for batch in order.split(50):
        images = AUGMENTATIONS["crop_flip"](x[batch], draws).float() / 255
        adversarial = careless_fgsm(theirs.eval(), images, y[batch], torch.Generator()).detach()
        optimizer.zero_grad()
        F.cross_entropy(theirs.train()(adversarial), y[batch]).backward()
        optimizer.step()
    assert same_bits(ours, theirs)


def test_an_attack_leaves_no_gradient_for_an_optimizer_that_accumulates_them() -> None:
    class Accumulates(SGD):
        def step(self, x: Tensor, y: Tensor) -> Tensor:
            gradients = [p.grad for p in self.model.parameters()]
            assert all(g is None if self.updates == 0 else torch.all(g == self.updates) for g in gradients)
            assert self.model.training
            self.updates += 1
            for p in self.model.parameters():
                p.grad = torch.full_like(p, self.updates)
            return torch.zeros(())

    model = model_of("m1_8")
    assert run(model, Accumulates(model, learning_rate=0.05), perturb=careless_fgsm).steps == 6


def test_svrg_cannot_be_trained_adversarially() -> None:
    model = model_of("m1_8")
    optimizer = OPTIMIZERS["svrg"](model, learning_rate=0.05, momentum=0.0, weight_decay=0.0)
    with pytest.raises(ValueError, match="train adversarially with another optimizer"):
        run(model, optimizer, perturb=careless_fgsm)
