"""The training loop: plain SGD in closed form, what optimizers and attacks get from it, its schedules and its end."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from study.data import AUGMENTATIONS
from study.models import Dropout, set_dropout_generator
from study.models.initialization import drawing_from
from study.optimizers import OPTIMIZERS, SGD, Batches, Optimizer
from study.training import streams
from study.training.evaluation import evaluate
from study.training.loop import Perturb, TrainingRun
from study.training.schedules import SCHEDULES
from tests.training.networks import model_of, run_of, same_bits, trained
from tests.trials.small import tensors


def test_equals_a_hand_written_loop_to_the_bit() -> None:
    ours, theirs = trained(run_of()), model_of()
    x, y = tensors().train
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.05, momentum=0.9, fused=True)
    for epoch in range(3):
        order = torch.randperm(len(y), generator=streams.generator(0, "order", epoch))
        for batch in order.split(32):
            optimizer.zero_grad()
            F.cross_entropy(theirs(x[batch].float() / 255), y[batch]).backward()
            optimizer.step()
    assert same_bits(ours.model, theirs)


def test_schedules_of_the_papers() -> None:
    state = trained(run_of(epochs=11, schedule=SCHEDULES["halve_every_5"], learning_rate=0.04)).state
    assert [e.lr for e in state.history] == [0.04] * 5 + [0.02] * 5 + [0.01]
    halved, tenth = SCHEDULES["halve_every_10"], SCHEDULES["tenth_at_60"]
    assert [halved(0.1, epoch) for epoch in (0, 9, 10, 19, 20, 99)] == [0.1, 0.1, 0.05, 0.05, 0.025, 0.1 * 0.5**9]
    assert [tenth(0.1, epoch) for epoch in (0, 59, 60, 99)] == [0.1, 0.1, pytest.approx(0.01), pytest.approx(0.01)]


def test_a_huge_rate_diverges_and_says_in_which_epoch() -> None:
    state = trained(run_of(learning_rate=1e6)).state
    assert state.diverged.startswith("loss became")
    assert "in epoch" in state.diverged


def test_training_stops_at_the_target_loss() -> None:
    state = trained(run_of(epochs=50, target_loss=1.5)).state
    assert state.reached_target
    assert state.epochs_done < 50
    assert trained(run_of(epochs=1, target_loss=1e-9)).state.reached_target is False


def test_data_and_global_random_state_are_left_alone() -> None:
    before, data = torch.get_rng_state(), tensors().train[0].clone()
    trained(run_of("stdcnn", augmentation=AUGMENTATIONS["crop_flip"]))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(tensors().train[0], data)


def test_evaluation_does_not_depend_on_chunks_and_leaves_the_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of("stdcnn").train()
    x, y = tensors().train
    set_dropout_generator(model, streams.generator(0))
    whole = evaluate(model, x, y)
    monkeypatch.setattr("study.pixels.CHUNK", 7)
    pieces = evaluate(model, x, y)
    assert whole.accuracy == pieces.accuracy
    assert whole.loss == pytest.approx(pieces.loss, rel=1e-6)
    assert model.training
    largest = model.eval()(x.float() / 255).detach().softmax(1).amax(1).mean()
    assert whole.confidence == pytest.approx(pieces.confidence, rel=1e-6)
    assert whole.confidence == pytest.approx(float(largest), rel=1e-5)


def test_streams_are_named_and_independent_of_order() -> None:
    def draw(*name: object) -> float:
        return float(torch.rand((), generator=streams.generator(*name)))  # type: ignore[arg-type]

    assert draw(0, "order", 1) == draw(0, "order", 1)
    assert len({draw(0, "order", 1), draw(0, "order", 2), draw(1, "order", 1), draw(0, "dropout", 1)}) == 4


# -- what the loop gives to optimizers and attacks ------------------------------------------------------------------


def augmented(model: nn.Module, optimizer: Optimizer, epochs: int = 2, perturb: Perturb | None = None) -> TrainingRun:
    """A trained run of this optimizer on augmented images."""
    settings = {"batch_size": 50, "epochs": epochs, "seed": 3, "augmentation": AUGMENTATIONS["crop_flip"]}
    return trained(TrainingRun(model, optimizer, run_of(model, perturb=perturb, **settings).recipe))  # type: ignore[arg-type]


class Looking(SGD):
    """SGD that passes over every epoch twice before its steps, and notes what it gets."""

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
    augmented(model, optimizer)
    assert optimizer.calls == ["begin", "step", "step", "step", "end"] * 2
    for first, again, stepped in (optimizer.seen[:3], optimizer.seen[3:]):
        assert [len(y) for _, y in first] == [50, 50, 20]
        for one, two, three in zip(first, again, stepped, strict=True):
            assert all(torch.equal(a, b) and torch.equal(a, c) for a, b, c in zip(one, two, three, strict=True))
    assert not torch.equal(optimizer.seen[0][0][0], optimizer.seen[3][0][0])
    # The weights do not change: equal logits mean equal dropout masks.
    for before, stepped_logits in (optimizer.logits[:2], optimizer.logits[2:]):
        assert all(torch.equal(a, b) for a, b in zip(before, stepped_logits, strict=True))
    assert optimizer.noise == [float(torch.rand((), generator=streams.generator(3, "optimizer", e))) for e in (0, 1)]


def test_a_first_pass_changes_no_bit() -> None:
    class LooksThenTrains(SGD):
        def begin_epoch(self, batches: Batches, generator: torch.Generator) -> None:
            for x, _ in batches():
                self.model(x)

    ours, plain = model_of("stdcnn"), model_of("stdcnn")
    augmented(ours, LooksThenTrains(ours, learning_rate=0.05))
    augmented(plain, SGD(plain, learning_rate=0.05))
    assert same_bits(ours, plain)


def test_dropout_of_the_package_and_of_torch_draw_different_masks() -> None:
    with drawing_from(streams.generator(0)):
        model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10), Dropout(0.5), nn.Dropout(0.5))
    kept: list[Tensor] = []

    def note(layer: nn.Module, inputs: object, output: Tensor) -> None:
        if layer.training:
            kept.append((output != 0).float().mean())

    for layer in model[2:]:
        layer.register_forward_hook(note)
    augmented(model, SGD(model, learning_rate=0.05), epochs=1)
    assert float(torch.stack(kept[0::2]).mean()) == pytest.approx(0.5, abs=0.05)
    assert float(torch.stack(kept[1::2]).mean()) == pytest.approx(0.25, abs=0.05)


def careless_fgsm(model: nn.Module, x: Tensor, y: Tensor, starts: torch.Generator) -> Tensor:
    """FGSM that leaves its gradients in the weights and a graph in its result."""
    x = x.clone().requires_grad_()
    F.cross_entropy(model(x), y).backward()
    assert x.grad is not None
    return x + 0.1 * x.grad.sign()


def test_adversarial_minibatches_are_made_with_the_current_weights_in_eval_mode() -> None:
    """Like a hand-written loop, dropout and batch norm included: the attack draws no mask and moves no statistic."""
    with drawing_from(streams.generator(0)):
        ours = nn.Sequential(nn.Flatten(), nn.Linear(784, 20), nn.BatchNorm1d(20), Dropout(0.5), nn.Linear(20, 10))
    theirs = copy.deepcopy(ours)
    augmented(ours, SGD(ours, learning_rate=0.05, momentum=0.9), epochs=1, perturb=careless_fgsm)

    x, y = tensors().train
    order = torch.randperm(len(y), generator=streams.generator(3, "order", 0))
    draws = streams.generator(3, "augmentation", 0)
    set_dropout_generator(theirs, streams.generator(3, "dropout", 0))
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.05, momentum=0.9, fused=True)
    for batch in order.split(50):
        drawn = AUGMENTATIONS["crop_flip"].draw(len(batch), draws)
        images = AUGMENTATIONS["crop_flip"].apply(x[batch], drawn).float() / 255
        adversarial = careless_fgsm(theirs.eval(), images, y[batch], torch.Generator()).detach()
        optimizer.zero_grad()
        F.cross_entropy(theirs.train()(adversarial), y[batch]).backward()
        optimizer.step()
    assert same_bits(ours, theirs)


def test_svrg_cannot_be_trained_adversarially() -> None:
    model = model_of()
    optimizer = OPTIMIZERS["svrg"](model, learning_rate=0.05, momentum=0.0, weight_decay=0.0)
    with pytest.raises(ValueError, match="train adversarially with another optimizer"):
        augmented(model, optimizer, perturb=careless_fgsm)
