"""The columns of a trial's row: the contract between the workers that write and the analysis that reads.

One row is one trained network. Null means "not asked"; NaN means "computed, not finite". Accuracies and fractions
are in [0, 1], epsilons in units of pixels in [0, 1], times in seconds.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

SCHEMA_VERSION = 1
"""Raised when a column changes its meaning; added columns leave it alone."""

ROW_KIND = b"sgd-robustness-study trial row"
"""Written into each file's metadata: what tells our rows from a foreign Parquet file."""

Row = dict[str, Any]

TRAINED = ("ok", "diverged")
"""Status of a row whose training has come to its end: it is not trained again. A failed one is."""


def _field(name: str, kind: pa.DataType, unit: str = "") -> pa.Field:
    return pa.field(name, kind, metadata={"unit": unit} if unit else None)


HISTORY = pa.struct(
    [
        _field("epoch", pa.int32()),
        _field("lr", pa.float64()),
        _field("train_loss", pa.float64(), "nats, mean over the epoch's minibatches"),
        _field("val_acc", pa.float64(), "fraction"),
    ]
)

ATTACK = pa.struct(
    [
        _field("attack", pa.string()),
        _field("loss", pa.string()),
        _field("split", pa.string()),
        _field("source", pa.string(), "whose weights made the images: self (null in old rows) or parent"),
        _field("epsilon", pa.float64(), "pixels in [0, 1]"),
        _field("radius", pa.float64(), "of the ball in `norm`: epsilon, or epsilon times the root of the pixel count"),
        _field("norm", pa.string()),
        _field("steps", pa.int32()),
        _field("step_size", pa.float64(), "pixels in [0, 1]"),
        _field("random_start", pa.bool_()),
        _field("newton_steps", pa.int32(), "most conjugate-gradient iterations; null: no Newton system"),
        _field("newton_tolerance", pa.float64(), "relative residual"),
        _field("n", pa.int32(), "images"),
        _field("correct", pa.int32(), "images"),
        _field("accuracy", pa.float64(), "fraction"),
        _field("zero_grad_fraction", pa.float64(), "fraction"),
        _field("saturated_fraction", pa.float64(), "fraction"),
        _field("seconds", pa.float64(), "s"),
        _field("correct_bits", pa.binary(), "one bit an image, numpy.packbits order"),
    ]
)

SPECTRUM = pa.struct(
    [
        _field("split", pa.string()),
        _field("subset_size", pa.int32(), "images"),
        _field("draw", pa.int32(), "number of the subset among those of its size; null in old rows: 0"),
        _field("eigenvalues", pa.list_(pa.float64()), "of the Hessian of the mean cross-entropy"),
        _field("residuals", pa.list_(pa.float64()), "relative to the largest eigenvalue"),
        _field("method", pa.string()),
        _field("tolerance", pa.float64(), "relative residual"),
        _field("matvecs", pa.int32()),
        _field("converged", pa.bool_()),
        _field("converged_each", pa.list_(pa.bool_()), "eigenvalue by eigenvalue"),
        _field("seconds", pa.float64(), "s"),
    ]
)

LANDSCAPE = pa.struct(
    [
        _field("kind", pa.string(), "line, plane or interpolation"),
        _field("split", pa.string()),
        _field("subset_size", pa.int32(), "images"),
        _field("hessian_size", pa.int32(), "training images whose Hessian gave the directions; 0: none"),
        _field("offsets", pa.string(), "name of its array in arrays/<trial_id>.npz: distances or fractions (k,)"),
        _field("losses", pa.string(), "name of its array: mean cross-entropy in nats, (k,) or (k, k)"),
        _field("seconds", pa.float64(), "s"),
    ]
)

IDENTITY = (
    _field("schema_version", pa.int32()),
    _field("trial_id", pa.string()),
    _field("cell_id", pa.string()),
    _field("spaces", pa.list_(pa.string())),
    _field("regimes", pa.list_(pa.string())),
    _field("status", pa.string()),
    _field("status_reason", pa.string()),
)

CONFIG = (
    _field("dataset", pa.string()),
    _field("model", pa.string()),
    _field("optimizer", pa.string()),
    _field("schedule", pa.string()),
    _field("learning_rate", pa.float64()),
    _field("lr_bs_ratio", pa.float64()),
    _field("batch_size", pa.int32(), "images"),
    _field("momentum", pa.float64()),
    _field("weight_decay", pa.float64()),
    _field("epochs", pa.int32()),
    _field("target_loss", pa.float64(), "nats"),
    _field("augmentation", pa.string()),
    _field("adversarial_training", pa.string()),
    _field("adversarial_epsilon", pa.float64(), "pixels in [0, 1]"),
    _field("parent", pa.string(), "trial id of the weights that training began with"),
    _field("precision", pa.string(), "of training's products; null in old rows: float32. Probes are float32"),
    _field("train_size", pa.int32(), "images"),
    _field("val_size", pa.int32(), "images"),
    _field("test_size", pa.int32(), "images"),
    _field("seed", pa.int64()),
)

OUTCOME = (
    _field("epochs_done", pa.int32()),
    _field("steps", pa.int64(), "updates of the weights"),
    _field("gradient_equivalents", pa.float64(), "gradients of one image in training; a forward pass alone is 1/3"),
    _field("reached_target", pa.bool_()),
    _field("train_loss", pa.float64(), "nats, full pass in eval mode"),
    _field("train_acc", pa.float64(), "fraction"),
    _field("val_acc", pa.float64(), "fraction"),
    _field("test_loss", pa.float64(), "nats"),
    _field("test_acc", pa.float64(), "fraction"),
    _field("weight_norm", pa.float64()),
    _field("n_params", pa.int64()),
    _field("history", pa.list_(HISTORY)),
)

HEADLINE = (
    _field("headline_epsilon", pa.float64(), "of fgsm_acc and pgd_acc: the paper's, or the largest that was asked"),
    _field("fgsm_acc", pa.float64(), "fraction, loss ce at headline_epsilon"),
    _field("pgd_acc", pa.float64(), "fraction, loss ce at headline_epsilon"),
    _field("fgsm_acc_stable", pa.float64(), "fraction, stable loss"),
    _field("pgd_acc_stable", pa.float64(), "fraction, stable loss"),
    _field("lambda1_train", pa.float64()),
    _field("lambda1_test", pa.float64()),
)

PROBES = (
    _field("attacks", pa.list_(ATTACK)),
    _field("spectra", pa.list_(SPECTRUM)),
    _field("lambda1_x_train", pa.float64()),
    _field("lambda1_x_test", pa.float64()),
    _field("grad_x_norm_train", pa.float64()),
    _field("grad_x_norm_test", pa.float64()),
    _field("psd_violation", pa.float64(), "largest -lambda_min / lambda_max of an input Hessian"),
    _field("rank_max", pa.int32(), "largest rank of an input Hessian"),
    _field("landscapes", pa.list_(LANDSCAPE)),
)

PROVENANCE = (
    _field("git_sha", pa.string()),
    _field("versions", pa.string(), "JSON: package -> version"),
    _field("dataset_sha256", pa.string()),
    _field("weights_sha256", pa.string(), "of the trained weights"),
    _field("parent_sha256", pa.string(), "of the weights that training began with"),
    _field("device", pa.string()),
    _field("dtype", pa.string()),
    _field("threads", pa.int32()),
    _field("replicas", pa.int32(), "networks trained as one program, this one among them; null in old rows: 1"),
    _field("replayed", pa.bool_(), "whether training replayed a recorded step (a CUDA graph)"),
    _field("deterministic", pa.bool_()),
    _field("started_at", pa.timestamp("us", tz="UTC")),
    _field("finished_at", pa.timestamp("us", tz="UTC")),
    _field("train_seconds", pa.float64(), "s"),
    _field("probe_seconds", pa.float64(), "s"),
    _field("peak_memory_bytes", pa.int64(), "bytes"),
)

ROW_SCHEMA = pa.schema(
    [*IDENTITY, *CONFIG, *OUTCOME, *HEADLINE, *PROBES, *PROVENANCE],
    metadata={b"kind": ROW_KIND, b"schema_version": str(SCHEMA_VERSION).encode()},
)


def empty_row() -> Row:
    """A row in which nothing was asked yet: every column null."""
    return dict.fromkeys(ROW_SCHEMA.names)
