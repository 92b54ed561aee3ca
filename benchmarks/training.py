"""Our training loop against a DataLoader loop, as ratios measured in pairs in one run.

python -m benchmarks.training [MODEL ...]

Two measurements for each model and batch size, on one thread and random images:

- train: an epoch of `study.training.loop.train` against a DataLoader(num_workers=0) over PIL images with torchvision's
  transforms and torch.optim.SGD, on the same network;
- data: the same two epochs' batches without training.

Checked first: without augmentation the two loops, given the same order of images, end in the same weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from benchmarks.networks import (
    CIFAR,
    MOMENTUM,
    SETTINGS,
    network,
    plain_epoch,
    random_images,
    run_of,
    study_epochs,
)
from benchmarks.row import Row, Times, paired, parser, print_rows
from study.data.augmentation import AUGMENTATIONS, PADDING
from study.models import set_dropout_generator
from study.training import streams

LEARNING_RATE = 1e-4
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
    study_epochs(run_of(our_model, CHECK_BATCH, learning_rate=LEARNING_RATE), (x, y))
    order = torch.randperm(len(y), generator=streams.generator(0, "order", 0)).tolist()
    set_dropout_generator(their_model, streams.generator(0, "dropout", 0))
    optimizer = torch.optim.SGD(their_model.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM)
    plain_epoch(their_model, optimizer, DataLoader(PilImages(x, y, TRANSFORMS["none"]), CHECK_BATCH, sampler=order))
    pairs = list(zip(our_model.parameters(), their_model.parameters(), strict=True))
    if all(torch.equal(a, b) for a, b in pairs):
        return "same weights, bit for bit"
    difference = max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs)
    if difference > 1e-4:
        raise SystemExit(
            f"{name}: the two loops' weights differ by {difference:.1e}, so their times are not comparable"
        )
    return f"same weights to {difference:.0e}"


def time_training(name: str, x: Tensor, y: Tensor, batch_size: int) -> Times:
    """One epoch of each training loop. Ours also scores one validation image, which counts against it."""
    their_model, augmentation = network(name), SETTINGS[name].augmentation
    run = run_of(network(name), batch_size, learning_rate=LEARNING_RATE, augmentation=augmentation)
    optimizer = torch.optim.SGD(their_model.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM)
    loader = DataLoader(PilImages(x, y, TRANSFORMS[augmentation]), batch_size, shuffle=True, num_workers=0)
    return paired(partial(study_epochs, run, (x, y)), partial(plain_epoch, their_model, optimizer, loader))


def time_data(name: str, x: Tensor, y: Tensor, batch_size: int) -> Times:
    """One epoch's batches without training. Ours are the lines of `study.training.loop` that make a batch."""
    setting = SETTINGS[name]
    augment, draws = AUGMENTATIONS[setting.augmentation], streams.generator(0)
    loader = DataLoader(PilImages(x, y, TRANSFORMS[setting.augmentation]), batch_size, shuffle=True, num_workers=0)

    def ours() -> None:
        for batch in torch.randperm(len(y), generator=draws).split(batch_size):
            drawn = augment.draw(len(batch), draws)
            _ = augment.apply(x[batch], drawn).float().div_(255), y[batch]

    def theirs() -> None:
        for _ in loader:
            pass

    return paired(ours, theirs)


def rows(models: Sequence[str] = ()) -> Iterator[Row]:
    """Two rows a model and batch size."""
    for name in models or SETTINGS:
        same = check_weights(name)
        for batch_size in BATCH_SIZES:
            x, y = random_images(SETTINGS[name].shape, max(batch_size, SETTINGS[name].images))
            work = f"{name}, batch {batch_size}, {len(x)} images"
            yield Row("training epoch", work, PEER, *time_training(name, x, y, batch_size), same)
            yield Row("data path alone", work, PEER, *time_data(name, x, y, batch_size), "")


if __name__ == "__main__":
    print_rows(rows(parser(__doc__, "MODEL", SETTINGS).parse_args().names))
