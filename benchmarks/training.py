"""Our training loop against a DataLoader loop, as ratios measured in pairs in one run.

python -m benchmarks.training [MODEL ...] [--batch-sizes 16,128,1024] [--images N]

Two measurements for each model and batch size, on one thread and random images:

- train: an epoch of `study.training.loop.train` against a DataLoader(num_workers=0) over PIL images with torchvision's
  transforms and torch.optim.SGD, on the same network;
- data: the same two epochs' batches without the optimizer's steps.

Checked first: without augmentation the two loops, given the same order of images, end in the same weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from benchmarks.command import parser, print_rows
from benchmarks.networks import CIFAR, SETTINGS, network, random_images
from benchmarks.row import Row
from benchmarks.timing import Paired, paired
from study.data.augmentation import AUGMENTATIONS, PADDING
from study.models import set_dropout_generator
from study.optimizers import OPTIMIZERS, Optimizer
from study.training import streams
from study.training.loop import Recipe, TrainingState, train
from study.training.schedules import constant

LEARNING_RATE, MOMENTUM = 1e-4, 0.9
PEER = "DataLoader + torchvision"
BATCH_SIZES = (16, 128, 1024)
CHECK_IMAGES, CHECK_BATCH = 24, 8

TRANSFORMS: dict[str, Callable[[Image.Image], Tensor]] = {
    "none": transforms.ToTensor(),
    "crop_flip": transforms.Compose(
        [
            transforms.RandomCrop(CIFAR[1], padding=PADDING),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
        ]
    ),
}


class PilImages(Dataset[tuple[Tensor, int]]):
    """PIL images made from an array in memory at each access, as torchvision.datasets.MNIST and CIFAR10 make them."""

    def __init__(self, x: Tensor, y: Tensor, transform: Callable[[Image.Image], Tensor]) -> None:
        gray = x.shape[1] == 1
        self.arrays = (x[:, 0] if gray else x.permute(0, 2, 3, 1).contiguous()).numpy()
        self.labels: list[int] = y.tolist()
        self.transform = transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.arrays[index])), self.labels[index]


def check_weights(name: str) -> str:
    """Train both ways for an epoch on the same batches; returns what agreed.

    Raises:
        SystemExit: the weights differ by more than rounding.
    """
    x, y = random_images(SETTINGS[name].shape, CHECK_IMAGES)
    our_model, their_model = network(name), network(name)
    optimizer = OPTIMIZERS["sgd"](our_model, learning_rate=LEARNING_RATE, momentum=MOMENTUM, weight_decay=0.0)
    _epoch(our_model, optimizer, Recipe(LEARNING_RATE, CHECK_BATCH, 1, 0, constant, AUGMENTATIONS["none"]), x, y)
    order = torch.randperm(len(y), generator=streams.generator(0, "order", 0)).tolist()
    loader = DataLoader(PilImages(x, y, TRANSFORMS["none"]), CHECK_BATCH, sampler=order)
    rule = torch.optim.SGD(their_model.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM)
    set_dropout_generator(their_model, streams.generator(0, "dropout", 0))
    their_model.train()
    for images, labels in loader:
        rule.zero_grad()
        cross_entropy(their_model(images), labels).backward()
        rule.step()
    pairs = list(zip(our_model.parameters(), their_model.parameters(), strict=True))
    if all(torch.equal(a, b) for a, b in pairs):
        return "same weights, bit for bit"
    off = max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs)
    if off > 1e-4:
        raise SystemExit(f"{name}: the two loops' weights differ by {off:.1e}: the ratio says nothing")
    return f"same weights to {off:.0e}"


def _epoch(model: nn.Module, optimizer: Optimizer, recipe: Recipe, x: Tensor, y: Tensor) -> None:
    """One epoch of ours, which scores one validation image besides: that counts against it."""
    state = train(
        model,
        optimizer,
        recipe,
        train=(x, y),
        validation=(x[:1], y[:1]),
        state=TrainingState(),
        set_dropout_generator=set_dropout_generator,
    )
    if state.epochs_done != 1:
        raise RuntimeError(f"our epoch did not end: {state.diverged}")


def time_training(name: str, x: Tensor, y: Tensor, batch_size: int) -> Paired:
    """One epoch of each training loop. Ours also scores one validation image, which counts against it."""
    our_model, their_model = network(name), network(name)
    our_optimizer = OPTIMIZERS["sgd"](our_model, learning_rate=LEARNING_RATE, momentum=MOMENTUM, weight_decay=0.0)
    their_optimizer = torch.optim.SGD(their_model.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM)
    augmentation = SETTINGS[name].augmentation
    recipe = Recipe(LEARNING_RATE, batch_size, 1, 0, constant, AUGMENTATIONS[augmentation])
    loader = DataLoader(PilImages(x, y, TRANSFORMS[augmentation]), batch_size, shuffle=True, num_workers=0)

    def theirs() -> None:
        their_model.train()
        for images, labels in loader:
            their_optimizer.zero_grad()
            cross_entropy(their_model(images), labels).backward()
            their_optimizer.step()

    return paired(lambda: _epoch(our_model, our_optimizer, recipe, x, y), theirs)


def time_data(name: str, x: Tensor, y: Tensor, batch_size: int) -> Paired:
    """One epoch's batches and nothing else. Ours are the lines of `study.training.loop` that make a batch."""
    setting = SETTINGS[name]
    augment, draws = AUGMENTATIONS[setting.augmentation], streams.generator(0)
    loader = DataLoader(PilImages(x, y, TRANSFORMS[setting.augmentation]), batch_size, shuffle=True, num_workers=0)

    def ours() -> None:
        for batch in torch.randperm(len(y), generator=draws).split(batch_size):
            _ = augment(x[batch], draws).float().div_(255), y[batch]

    def theirs() -> None:
        for _ in loader:
            pass

    return paired(ours, theirs)


def rows(
    models: Sequence[str] = (), batch_sizes: Sequence[int] = BATCH_SIZES, images: int | None = None
) -> Iterator[Row]:
    """Two rows a model and batch size."""
    for name in models or SETTINGS:
        same = check_weights(name)
        for batch_size in batch_sizes:
            x, y = random_images(SETTINGS[name].shape, max(batch_size, images or SETTINGS[name].images))
            work = f"{name}, batch {batch_size}, {len(x)} images"
            yield Row.of("training epoch", work, PEER, time_training(name, x, y, batch_size), same)
            yield Row.of("data path alone", work, PEER, time_data(name, x, y, batch_size), "")


def positive_numbers(text: str) -> list[int]:
    """The numbers of "16,128"; argparse turns the ValueError of anything else into a usage line."""
    numbers = [int(part) for part in text.split(",")]
    if min(numbers) < 1:
        raise ValueError(text)
    return numbers


def main() -> None:
    """Print the rows."""
    command = parser(__doc__, SETTINGS)
    command.add_argument("--batch-sizes", type=positive_numbers, default=BATCH_SIZES, help="default %(default)s")
    command.add_argument("--images", type=int, help="in an epoch, at least one batch; default by model")
    options = command.parse_args()
    print_rows(rows(options.models, options.batch_sizes, options.images))


if __name__ == "__main__":
    main()
