"""A results folder with one of every kind of file, made in a second."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import nn

from search_spaces import Trial
from study.optimizers import OPTIMIZERS
from study.results import checkpoints, digests
from study.results.folder import Results
from study.results.schema import Row
from study.training.loop import TrainingState
from tests.analysis import synthetic

TRIAL = synthetic.trial(dataset="mnist", model="m1_20")
ARRAYS = {"line_offsets": np.linspace(-1, 1, 5), "line_losses": np.arange(5.0)}


def network() -> nn.Module:
    """A network with a few weights."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def optimizer_of(model: nn.Module):  # type: ignore[no-untyped-def]  # noqa: ANN201
    return OPTIMIZERS["sgd"](model, learning_rate=0.1, momentum=0.9, weight_decay=0.0)


def row(trial: Trial = TRIAL) -> Row:
    """The row of a trained network with attacks, spectra, history and a landscape."""
    made = synthetic.row(trial, clean=0.9, attacks={("fgsm", "ce"): 0.4, ("pgd", "ce"): 0.2}, log2_lambda1=3.0)
    made["history"] = [{"epoch": 1, "lr": 0.1, "train_loss": 0.5, "val_acc": 0.9}]
    made["landscapes"] = [
        {"kind": "line", "split": "train", "subset_size": 5, "hessian_size": 5, "seconds": 1.0}
        | {"offsets": "line_offsets", "losses": "line_losses"}
    ]
    return made | {"weights_sha256": checkpoints.weights_sha256(network())}


def checkpoint() -> bytes:
    """A checkpoint of `network`."""
    model = network()
    return checkpoints.state_to_bytes(model, optimizer_of(model), TrainingState())


def make_folder(where: Path) -> Results:
    """A folder with one trial of each kind of file."""
    results = Results(where)
    results.create()
    trial_id = TRIAL.trial_id
    results.write_row(row())
    results.write_weights(trial_id, checkpoints.weights_to_bytes(network()))
    results.write_checkpoint(trial_id, checkpoint())
    results.write_arrays(trial_id, ARRAYS)
    results.write_study({"requests": [{"grid": "smoke"}]})
    results.write_run_lock({"host": "elsewhere", "pid": 7, "token": "t", "at": 1e9})
    return results


def write_parquet(table: pa.Table, file: Path) -> None:
    """A Parquet file with the digest that those of a results folder have."""
    sink = io.BytesIO()
    pq.write_table(table, sink)
    digests.add_to_parquet(sink)
    file.write_bytes(sink.getvalue())
