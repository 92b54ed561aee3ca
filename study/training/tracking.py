"""Curvature while training: the top eigenvalue and the minibatches' own sharpness after some of the epochs.

At the edge of stability gradient descent holds the top eigenvalue near 2 / rate, with momentum near 2 (1 + momentum) /
rate (Cohen et al. 2021, arXiv:2103.00065); SGD holds the minibatches' own sharpness there (Andreyev and Beneventano
2024, arXiv:2412.20553).
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from study.curvature import batch_sharpness, draw_subset, top_eigenvalues
from study.training import streams
from study.training.loop import Split, TrainingRun

MOST_IMAGES, MOST_EPOCHS = 2000, 12

PREFERRED_IMAGES, MINIMUM_IMAGES = 256, 64
"""With a small budget, fewer epochs are tracked rather than fewer than 256 images; below 64 images nothing is tracked,
because the eigenvalues of so small a subset say little about the training set."""

PASSES = 32
"""Training passes of one image that tracking takes for each of its images, rounded up. Measured: 5 to 9 Hessian-vector
products of 1.7 to 3.6 passes for the eigenvalue, 4.3 passes for minibatches that have as many images in all."""

TOLERANCE = 1e-2
"""Relative residual of the eigenvalue; its error is of the order of the residual squared. Our choice."""

MOST_BATCHES = 16
"""Minibatches whose own sharpness is averaged."""


@dataclass(frozen=True)
class Tracking:
    """Hook of the training loop, to be called before others: adds what it finds to the last epoch of the history.

    It draws from streams of its own and changes neither weights nor generators, so training takes the same course.

    Attributes:
        train: the training images, of which a subset is drawn.
        images: size of the subset, the same after every epoch: that of the spectrum probe of this size.
        epochs: the epochs to track. A run that ends before the last of them is tracked at its end as well.
        memory_fraction: share of the free memory that may be used, such as a trial's share of its GPU.
    """

    train: Split
    images: int
    epochs: frozenset[int]
    memory_fraction: float = 1.0

    def __call__(self, run: TrainingRun) -> None:
        """Track the epoch that has just been trained, if it is one of `epochs` or the last."""
        if run.state.diverged or not (run.state.epochs_done in self.epochs or run.finished):
            return
        started = time.perf_counter()
        model, seed, batch_size = run.model, run.recipe.seed, run.recipe.batch_size
        subset = draw_subset(*self.train, self.images, streams.generator(seed, "spectrum", "train", self.images))
        whole = max(self.images, batch_size)
        batches = draw_subset(*self.train, min(whole, len(self.train[1])), streams.generator(seed, "batches", whole))
        was_training = model.training
        model.eval()
        found = top_eigenvalues(
            model,
            *subset,
            tolerance=TOLERANCE,
            generator=streams.generator(seed, "track", run.state.epochs_done),
            memory_fraction=self.memory_fraction,
        )
        own = batch_sharpness(
            model, *batches, batch_size=batch_size, most=MOST_BATCHES, memory_fraction=self.memory_fraction
        )
        model.train(was_training)
        run.state.history[-1] = replace(
            run.state.history[-1],
            lambda1=found.eigenvalues[0],
            lambda1_images=self.images,
            batch_sharpness=own,
            track_seconds=time.perf_counter() - started,
        )


def tracked(epochs: int, train_size: int, share: float) -> tuple[int, frozenset[int]]:
    """The number of images and the epochs that may be tracked for this share of the planned training.

    The epochs are spaced logarithmically and end with the last. The size does not depend on the minibatch, so networks
    of one protocol are tracked on as many images. No epoch is tracked if the share pays for too few of them.

    Args:
        epochs: planned.
        train_size: training images.
        share: of the planned training, above 0. A run that reaches its target loss early spends a larger share.
    """
    budget = share * epochs * train_size / PASSES
    points = max(1, min(MOST_EPOCHS, epochs, int(budget / min(PREFERRED_IMAGES, train_size))))
    images = max(1, min(MOST_IMAGES, train_size, int(budget / points)))
    if images < min(MINIMUM_IMAGES, train_size):
        return 0, frozenset()
    if points == 1:
        return images, frozenset({epochs})
    return images, frozenset(round(epochs ** (place / (points - 1))) for place in range(points))
