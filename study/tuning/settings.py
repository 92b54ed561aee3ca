"""How the trials of a run are executed; needs no ray, so that the command line starts fast."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from study.results.folder import CHECKPOINT_SECONDS


class ClusterError(Exception):
    """Ray cannot be started or reached, or its nodes cannot hold the trials."""


class RayStartError(ClusterError):
    """Ray could not be started on this machine; another attempt may succeed."""


class TrackerError(Exception):
    """A tracker cannot start; the message names its option."""


TRACK_SHARE = 0.1
"""Default of `RunSettings.track`, where tracking is asked for."""


@dataclass(frozen=True)
class RunSettings:
    """How the trials of a run are executed.

    Attributes:
        cpus_per_trial: CPUs, and torch threads, of each trial.
        gpus_per_trial: fraction of a GPU that each trial owns; None: `study.tuning.gpu_shares.DEFAULT_SHARE`, and a
            whole one for networks that are trained as one program.
        max_concurrent: trials that run at once at most; None: as many as fit.
        checkpoint_seconds: how often a half-trained network is stored.
        trial_timeout: seconds without a report after which a trial counts as hung; None: never.
        replicas: networks trained as one program at most; None: on GPUs as many as measured throughput suggests,
            else one.
        cuda_graphs: on a GPU, record the training step as a CUDA graph and replay it.
        track: share of the time of training that is spent on its curvature; None: it is not tracked.
        trackers: what also logs every trial: `mlflow` -> URI, `wandb` -> project, `tensorboard` -> folder.
    """

    cpus_per_trial: int = 1
    gpus_per_trial: float | None = None
    max_concurrent: int | None = None
    checkpoint_seconds: float = CHECKPOINT_SECONDS
    trial_timeout: float | None = None
    replicas: int | None = None
    cuda_graphs: bool = True
    track: float | None = None
    trackers: Mapping[str, str] = field(default_factory=dict)
