"""What each trial of a run owns, and which trackers are told of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from study.results.folder import CHECKPOINT_SECONDS


@dataclass(frozen=True)
class Trackers:
    """Who else is told of each trial: an MLflow server's URI, a W&B project, a folder for TensorBoard; none of them."""

    mlflow: str | None = None
    wandb: str | None = None
    tensorboard: str | None = None

    def asked(self) -> dict[str, str]:
        """The trackers that were asked for, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class Resources:
    """What each trial owns and who is told of it; `max_concurrent` bounds how many run (None: as many as fit),
    `trial_timeout` the seconds without a report (None: by expected cost), `replicas` how many networks train as one
    program (None: on GPUs as many as pay, else one); `replay`: on a GPU, record and replay training steps."""

    cpus_per_trial: int = 1
    gpus_per_trial: float | None = None
    max_concurrent: int | None = None
    checkpoint_seconds: float = CHECKPOINT_SECONDS
    trackers: Trackers = Trackers()
    trial_timeout: float | None = None
    replicas: int | None = None
    replay: bool = True
