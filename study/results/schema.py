"""The columns of a trial's row: the contract between the workers that write and the analysis that reads.

One row is one trained network. Null means "not asked"; NaN means "computed, not finite". Every column, nested ones
included, has a `description` and, where it has one, a `unit` in its metadata; `docs/columns.md` is made from them. The
configuration is described where `search_spaces.trial` declares it, with the `plain` value that text does not mention.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from search_spaces import PLAIN, TRIAL_FIELDS

SCHEMA_VERSION = 1
"""Raised when a column changes its meaning; added columns leave it alone."""

ROW_KIND = b"sgd-robustness-study trial row"
"""Written into each file's metadata: what tells our rows from a foreign Parquet file."""

Row = dict[str, Any]

TRAINED = ("ok", "diverged")
"""Status of a row whose training has come to its end: it is not trained again. A failed one is."""


def _field(name: str, kind: pa.DataType, description: str, unit: str = "") -> pa.Field:
    return pa.field(name, kind, metadata={"description": description} | ({"unit": unit} if unit else {}))


HISTORY = pa.struct(
    [
        _field("epoch", pa.int32(), "number of the epoch, from 1"),
        _field("lr", pa.float64(), "learning rate in it"),
        _field("train_loss", pa.float64(), "cross-entropy, mean over the epoch's minibatches", "nats"),
        _field(
            "val_acc", pa.float64(), "validation accuracy after it, computed in the trial's `precision`", "fraction"
        ),
        _field("lambda1", pa.float64(), "top eigenvalue of the Hessian after it; null here and below: not tracked"),
        _field("lambda1_images", pa.int32(), "training images of that Hessian", "images"),
        _field("batch_sharpness", pa.float64(), "mean curvature of minibatches along their gradients"),
        _field("track_seconds", pa.float64(), "time to compute `lambda1` and `batch_sharpness` after this epoch", "s"),
    ]
)

ATTACK = pa.struct(
    [
        _field("attack", pa.string(), "name of the attack"),
        _field(
            "loss",
            pa.string(),
            "loss that the attack raises: ce, float32 cross-entropy as published, or stable, without its rounding",
        ),
        _field("split", pa.string(), "images attacked: train or test"),
        _field("source", pa.string(), "whose weights made the images: self or parent"),
        _field(
            "epsilon",
            pa.float64(),
            "largest change of a pixel, or for l2 the root mean square of the changes",
            "pixels in [0, 1]",
        ),
        _field("radius", pa.float64(), "epsilon in that norm: for l2 times the root of the number of pixels"),
        _field("norm", pa.string(), "norm of the perturbation that epsilon bounds: linf or l2"),
        _field("steps", pa.int32(), "gradient steps"),
        _field("step_size", pa.float64(), "size of a step", "pixels in [0, 1]"),
        _field("random_start", pa.bool_(), "whether it starts at a random point of the ball"),
        _field("newton_steps", pa.int32(), "most conjugate-gradient iterations; null: no Newton system"),
        _field("newton_tolerance", pa.float64(), "relative residual at which conjugate gradients stop"),
        _field("n", pa.int32(), "images attacked", "images"),
        _field("correct", pa.int32(), "images still classified correctly", "images"),
        _field("accuracy", pa.float64(), "adversarial accuracy: correct / n", "fraction"),
        _field("zero_grad_fraction", pa.float64(), "images on which the attack saw no gradient", "fraction"),
        _field("saturated_fraction", pa.float64(), "images whose float32 loss saturates", "fraction"),
        _field("seconds", pa.float64(), "time of the attack", "s"),
        _field("correct_bits", pa.binary(), "correct, one bit an image, in numpy.packbits order"),
    ]
)

SPECTRUM = pa.struct(
    [
        _field("split", pa.string(), "images of the loss: train or test"),
        _field("subset_size", pa.int32(), "images of the loss", "images"),
        _field("draw", pa.int32(), "number of the subset among those of its size"),
        _field("eigenvalues", pa.list_(pa.float64()), "of the Hessian of the mean cross-entropy, by magnitude"),
        _field("residuals", pa.list_(pa.float64()), "of each eigenpair, relative to the largest magnitude"),
        _field("method", pa.string(), "algorithm: lanczos"),
        _field("tolerance", pa.float64(), "relative residual of the stopping rule"),
        _field("matvecs", pa.int32(), "Hessian-vector products"),
        _field("converged", pa.bool_(), "whether the stopping rule was met"),
        _field(
            "converged_each",
            pa.list_(pa.bool_()),
            "for each eigenvalue: whether its relative error is known to be at most 1e-4",
        ),
        _field("seconds", pa.float64(), "time of the computation", "s"),
    ]
)

LANDSCAPE = pa.struct(
    [
        _field("kind", pa.string(), "line, plane or interpolation"),
        _field("split", pa.string(), "images of the loss: train or test"),
        _field("subset_size", pa.int32(), "images of the loss", "images"),
        _field("hessian_size", pa.int32(), "training images whose Hessian gave the directions; 0: none", "images"),
        _field("offsets", pa.string(), "array in arrays/<trial_id>.npz: distances or fractions, shape (k,)"),
        _field("losses", pa.string(), "array in the same file: mean cross-entropy, shape (k,) or (k, k)", "nats"),
        _field("seconds", pa.float64(), "time of the computation", "s"),
    ]
)

SHARPNESS = pa.struct(
    [
        _field("measure", pa.string(), "name of the measure, as in docs/measures.md"),
        _field("split", pa.string(), "images of the loss: train or test"),
        _field("subset_size", pa.int32(), "images of the loss", "images"),
        _field("radius", pa.float64(), "adaptive sharpness: largest change of a weight relative to it; 0: others"),
        _field("value", pa.float64(), "what was found; null for a density"),
        _field("standard_error", pa.float64(), "of a trace; null for others"),
        _field("nodes", pa.list_(pa.float64()), "of a density of the Hessian's eigenvalues: where its masses are"),
        _field("weights", pa.list_(pa.float64()), "of a density: its masses, which sum to 1"),
        _field("seconds", pa.float64(), "time of the computation", "s"),
    ]
)

IDENTITY = (
    _field("schema_version", pa.int32(), "version of the columns' meaning"),
    _field("trial_id", pa.string(), "identifier of the trained network"),
    _field("cell_id", pa.string(), "identifier of the configuration without its seed"),
    _field("spaces", pa.list_(pa.string()), "search spaces that planned this network"),
    _field("regimes", pa.list_(pa.string()), "labels of the curves that this network is on"),
    _field("status", pa.string(), "ok, diverged or failed"),
    _field("status_reason", pa.string(), "why it is not ok"),
)

_CONFIG_TYPES = {
    "str": pa.string(),
    "int": pa.int32(),
    "float": pa.float64(),
    "float | None": pa.float64(),
    "Trial | None": pa.string(),
}

_CONFIG_ORDER = (
    *("dataset", "model", "optimizer", "schedule", "learning_rate", "lr_bs_ratio", "batch_size", "momentum"),
    *("weight_decay", "epochs", "target_loss", "augmentation", "adversarial_training", "adversarial_epsilon", "parent"),
    *("precision", "train_size", "val_size", "test_size", "seed"),
)
"""Order of the configuration in stored files; fields that a trial got later follow."""


def _config(name: str) -> pa.Field:
    """The column of a trial's field, described as the field is."""
    if name == "lr_bs_ratio":
        return _field(name, pa.float64(), "learning rate over batch size")
    declared = TRIAL_FIELDS[name]
    kind = pa.int64() if name == "seed" else _CONFIG_TYPES[str(declared.type)]
    column = _field(name, kind, declared.metadata["description"], declared.metadata["unit"])
    plain = PLAIN.get(name)
    return column if plain is None else column.with_metadata(column.metadata | {b"plain": str(plain).encode()})


CONFIG = tuple(_config(name) for name in dict.fromkeys((*_CONFIG_ORDER, *TRIAL_FIELDS)))

OUTCOME = (
    _field("epochs_done", pa.int32(), "epochs trained"),
    _field("steps", pa.int64(), "updates of the weights"),
    _field("gradient_equivalents", pa.float64(), "gradients of one image in training; a forward pass alone is 1/3"),
    _field("reached_target", pa.bool_(), "whether the target loss was reached"),
    _field("train_loss", pa.float64(), "training loss, full pass in eval mode", "nats"),
    _field("train_acc", pa.float64(), "training accuracy", "fraction"),
    _field("val_acc", pa.float64(), "validation accuracy, computed in the trial's `precision`", "fraction"),
    _field("test_loss", pa.float64(), "test loss", "nats"),
    _field("test_acc", pa.float64(), "clean test accuracy", "fraction"),
    _field("train_confidence", pa.float64(), "largest probability of an image, mean over training images", "fraction"),
    _field("test_confidence", pa.float64(), "largest probability of an image, mean over test images", "fraction"),
    _field("weight_norm", pa.float64(), "Euclidean norm of the weights"),
    _field("n_params", pa.int64(), "number of weights"),
    _field("num_classes", pa.int32(), "classes of the data set (null in old rows: 100 for cifar100, else 10)"),
    _field("history", pa.list_(HISTORY), "training, epoch by epoch"),
)

HEADLINE = (
    _field(
        "headline_epsilon",
        pa.float64(),
        "epsilon of the four columns that follow: the paper's, or the largest that was asked",
        "pixels in [0, 1]",
    ),
    _field("fgsm_acc", pa.float64(), "test accuracy under FGSM on the loss ce", "fraction"),
    _field("pgd_acc", pa.float64(), "test accuracy under PGD on the loss ce", "fraction"),
    _field("fgsm_acc_stable", pa.float64(), "test accuracy under FGSM on the stable loss", "fraction"),
    _field("pgd_acc_stable", pa.float64(), "test accuracy under PGD on the stable loss", "fraction"),
    _field("lambda1_train", pa.float64(), "top eigenvalue of the Hessian of the mean training cross-entropy"),
    _field("lambda1_test", pa.float64(), "top eigenvalue of the Hessian of the mean test cross-entropy"),
)

PROBES = (
    _field("attacks", pa.list_(ATTACK), "attacks on the network"),
    _field("spectra", pa.list_(SPECTRUM), "eigenvalues of the loss Hessian in the weights"),
    _field("lambda1_x_train", pa.float64(), "top eigenvalue of the Hessian in the input, mean over training images"),
    _field("lambda1_x_test", pa.float64(), "top eigenvalue of the Hessian in the input, mean over test images"),
    _field("grad_x_norm_train", pa.float64(), "norm of the gradient in the input, mean over training images"),
    _field("grad_x_norm_test", pa.float64(), "norm of the gradient in the input, mean over test images"),
    _field("psd_violation", pa.float64(), "largest -lambda_min / lambda_max of an input Hessian"),
    _field("rank_max", pa.int32(), "largest rank of an input Hessian"),
    _field("landscapes", pa.list_(LANDSCAPE), "loss around the weights"),
    _field(
        "minimal_epsilon_area",
        pa.float64(),
        "area under the curve of robust accuracy over epsilon from 0 to 1: mean of the smallest perturbations found",
        "pixels in [0, 1]",
    ),
    _field(
        "minimal_epsilon_quantiles",
        pa.list_(pa.float64()),
        "quantiles of the smallest perturbation found of each test image, at 0, 1, ... 100 %; 0: wrong without an "
        "attack, inf: none found; each image's is in arrays/<trial_id>.npz",
        "pixels in [0, 1]",
    ),
    _field("sharpness", pa.list_(SHARPNESS), "measures of sharpness of the loss in the weights"),
)

PROVENANCE = (
    _field("git_sha", pa.string(), "commit of the code"),
    _field("versions", pa.string(), "versions of the packages, JSON"),
    _field("dataset_sha256", pa.string(), "digest of the data"),
    _field("weights_sha256", pa.string(), "digest of the trained weights"),
    _field(
        "model_fingerprint",
        pa.string(),
        "of the model's function: digest of names and shapes, norm of new weights, answers with fixed weights",
    ),
    _field("parent_sha256", pa.string(), "digest of the weights that training started from"),
    _field("device", pa.string(), "device trained on"),
    _field("dtype", pa.string(), "number format of the weights"),
    _field("threads", pa.int32(), "CPU threads"),
    _field("replicas", pa.int32(), "most networks trained as one program with it, itself included"),
    _field("replayed", pa.bool_(), "whether training replayed a recorded step (a CUDA graph)"),
    _field("deterministic", pa.bool_(), "whether all kernels were deterministic"),
    _field("started_at", pa.timestamp("us", tz="UTC"), "start, UTC"),
    _field("finished_at", pa.timestamp("us", tz="UTC"), "end, UTC"),
    _field("train_seconds", pa.float64(), "time of training", "s"),
    _field("probe_seconds", pa.float64(), "time of the probes", "s"),
    _field("peak_memory_bytes", pa.int64(), "peak memory (on CPUs that of the process)", "bytes"),
)

ROW_SCHEMA = pa.schema(
    [*IDENTITY, *CONFIG, *OUTCOME, *HEADLINE, *PROBES, *PROVENANCE],
    metadata={b"kind": ROW_KIND, b"schema_version": str(SCHEMA_VERSION).encode()},
)


def empty_row() -> Row:
    """A row in which nothing was asked yet: every column null."""
    return dict.fromkeys(ROW_SCHEMA.names)
