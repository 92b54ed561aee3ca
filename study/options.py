"""The options of the command line, checked and turned into a request (what to run) and settings (how to run it)."""

from __future__ import annotations

import argparse
import importlib.util
import math
import re
import shlex
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePath
from typing import NoReturn
from urllib.parse import urlsplit

from search_spaces import GRIDS, MEASURES, PRECISIONS, GridError, Request, did_you_mean
from search_spaces.outside import is_file
from study.results.folder import CHECKPOINT_SECONDS
from study.tuning.settings import TRACK_SHARE, RunSettings

MOST_SEEDS = 10_000
"""In one range of --seeds: more is a slip."""

MOST_EPSILONS = 255
"""In one range of --epsilons."""

STORES = ("s3", "gs", "gcs", "file", "hdfs", "viewfs", "abfs", "abfss")
"""The schemes of results' URIs: what pyarrow opens, but for its in-memory file system."""


class OptionError(ValueError):
    """An option with a value that is not valid; the message says what is."""


TRACKER_PACKAGES = {"mlflow": "mlflow", "wandb": "wandb", "tensorboard": "tensorboardX"}
"""The package that each tracker imports; the optional extra of the same name installs it."""


EXAMPLES = """\
examples:
  python -m study.run --grid smoke
      small networks on scikit-learn's digits, and their report
  python -m study.run --grid natural_training --dry-run
      what a paper's study consists of, what is left of it and what it costs
  python -m study.run --grid natural_training --seeds 0-4 \\
      --select dataset=mnist model=m1_20 regime=lr,lr_bs
      two of its curves, with five seeds
  python -m study.run --grid mnist_quick --until-decided A6,A20
      more seeds where they decide these two claims, and no others
  python -m study.run --list
      what --grid, --select and --probes may name

The same command again continues where it was interrupted, and repeats nothing
that is finished. The exit statuses are in docs/first_study.md.
"""


def parser() -> argparse.ArgumentParser:
    """The options of `python -m study.run`; a wrong one exits with status 2 and one line."""
    parser = _Parser(
        prog="python -m study.run",
        usage="%(prog)s --grid NAME|FILE [options]",
        description="Run the unfinished trials of a grid and write the report.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=_version(), help="print the version and exit")
    what = "print grids, models, data sets, optimizers, measures and attacks with a line each, and exit"
    parser.add_argument("--list", action="store_true", help=what)

    add = parser.add_argument_group("what to run").add_argument
    add("--grid", metavar="NAME|FILE", help=f"one of: {', '.join(GRIDS)}; or a study file of your own, my_study.py")
    add("--model", metavar="PACKAGE.MODULE:FUNCTION", help="a model of your own in place of the grid's")
    own = "images of your own in place of the grid's: a folder for each class, .npz, or Parquet; scaled to a shape"
    add("--dataset", metavar="DIR[@CxHxW]", help=own)
    example = "model=m1 batch_size=64,128"
    add(
        "--select",
        action="extend",
        nargs="+",
        default=[],
        metavar="KEY=V[,V]",
        help=f"only these trials, for example {example}",
    )
    add(
        "--seeds",
        metavar="0-4",
        help="the seeds of each setting, as 0-4 or 0,1,5 (default: the grid's)",
    )
    add("--epochs", type=int, metavar="N", help="epochs of training instead of the paper's number")
    add("--train-size", type=int, metavar="N", help="training images instead of the paper's number")
    add("--test-size", type=int, metavar="N", help="test images instead of the paper's number")
    asked = f"measurements: all of the grid (default), headline (FGSM, PGD, lambda1), or any of {', '.join(MEASURES)}"
    add("--probes", default="all", metavar="NAME[,NAME]", help=asked)
    track = (
        f"measure curvature during training, for at most this fraction of the training time (default {TRACK_SHARE:g})"
    )
    add("--track", nargs="?", type=float, const=TRACK_SHARE, metavar="SHARE", help=track)
    levels = "attack at these epsilons (pixels in [0, 1]): .1,8/255, or 1/255-8/255 for 1/255, 2/255, ... 8/255"
    add("--epsilons", metavar="E,E", help=levels)
    precision = "number format of training on a GPU (default: float32); probes always use float32"
    add("--precision", choices=PRECISIONS, help=precision)
    decided = "add seeds, one curve at a time, until these claims are decided (default: all testable claims)"
    add("--until-decided", nargs="?", const="", metavar="CLAIM,CLAIM", help=decided)
    add(
        "--max-seeds",
        type=int,
        metavar="N",
        help="with --until-decided: at most N seeds for each curve (3, 5, 8 or 12; default: 12)",
    )
    add("--hours", type=float, metavar="H", help="with --until-decided: start no new stage after H hours")
    add("--dry-run", action="store_true", help="check everything, print what would run and what it costs, and exit")

    add = parser.add_argument_group("where").add_argument
    add("--results", metavar="DIR|URI", help="where rows, weights and the report go (default: results/NAME)")
    add(
        "--data-dir",
        metavar="DIR",
        help="folder of the data sets (default: $STUDY_DATA_DIR, else a cache in your home)",
    )
    add("--address", metavar="ADDR", help="a Ray cluster to run on (default: this machine)")
    add("--no-report", action="store_true", help="do not write the report at the end")
    add("--mlflow", metavar="URI", help="also log every trial to MLflow: a server, or a file as sqlite:///mlflow.db")
    add("--wandb", metavar="PROJECT", help="also log every trial to this project of Weights & Biases")
    add("--tensorboard", metavar="DIR", help="also write every trial's TensorBoard files to this folder")

    add = parser.add_argument_group("how").add_argument
    add(
        "--cpus-per-trial", type=int, default=1, metavar="N", help="CPUs, and torch threads, of each trial (default: 1)"
    )
    add(
        "--gpus-per-trial",
        default="auto",
        metavar="F|auto",
        help="fraction of a GPU for each trial (auto: .25, doubled where memory runs out)",
    )
    add("--max-concurrent", type=int, metavar="N", help="number of trials that run at once at most")
    replicas = (
        "train up to N networks that differ in seed, learning rate, momentum, weight decay, schedule, epochs or target "
        "loss as one program (auto: on GPUs the number with the best measured throughput; 1: never)"
    )
    add("--replicas", default="auto", metavar="N|auto", help=replicas)
    add("--no-cuda-graphs", action="store_true", help="on a GPU, do not record training steps as CUDA graphs")
    interval = "how often to store half-trained networks, and answers of probes (default: 30)"
    add("--checkpoint-seconds", type=float, default=CHECKPOINT_SECONDS, metavar="S", help=interval)
    timeout = "restart a trial that has reported no epoch and no probe for this long (default: never)"
    add("--trial-timeout", type=float, metavar="S", help=timeout)
    return parser


def _version() -> str:
    try:
        return f"sgd-robustness-study {version('sgd-robustness-study')}"
    except PackageNotFoundError:
        return "sgd-robustness-study (not installed)"


def command(options: Sequence[str]) -> str:
    """The command line with these options, quoted for a shell."""
    return f"python -m study.run {shlex.join(options)}"


def without(options: Sequence[str], name: str) -> list[str]:
    """The options but for `name` and its value."""
    return [option for place, option in enumerate(options) if not _is_of(options, place, (name,))]


def only(options: Sequence[str], *names: str) -> list[str]:
    """The options of these names with their values, of which each has one."""
    return [option for place, option in enumerate(options) if _is_of(options, place, names)]


def _is_of(options: Sequence[str], place: int, names: Sequence[str]) -> bool:
    """Whether at this place there is an option of these names, as `--seeds=0`, or the value after one."""
    return options[place].partition("=")[0] in names or (place > 0 and options[place - 1] in names)


def request(arguments: argparse.Namespace) -> Request:
    """What to run.

    Raises:
        GridError: a value that cannot be read.
        OptionError: no grid, or options of `--until-decided` without it.
    """
    if arguments.grid is None:
        raise OptionError("give a grid, such as --grid smoke; --list shows all, --help the options")
    if arguments.until_decided is None and (arguments.max_seeds, arguments.hours) != (None, None):
        raise OptionError("--max-seeds and --hours go with --until-decided; without it give --seeds")
    if arguments.hours is not None and not 0 < arguments.hours < math.inf:
        raise OptionError(f"--hours must be a positive number of hours, got {arguments.hours:g}")
    return Request(
        grid=PurePath(arguments.grid).name if is_file(arguments.grid) else arguments.grid,
        model=arguments.model,
        dataset=arguments.dataset,
        select=_select(arguments.select),
        seeds=_seeds(arguments.seeds),
        epochs=arguments.epochs,
        train_size=arguments.train_size,
        test_size=arguments.test_size,
        probes=arguments.probes,
        epsilons=_epsilons(arguments.epsilons),
        precision=arguments.precision,
    )


def run_settings(arguments: argparse.Namespace) -> RunSettings:
    """How to run it.

    Raises:
        OptionError: a fraction, a number or an interval outside its range, a folder or an address that cannot be one,
            or a tracker that is not installed.
    """
    _check_places(arguments)
    for option in ("cpus_per_trial", "max_concurrent"):
        value = getattr(arguments, option)
        if value is not None and value < 1:
            raise OptionError(f"--{option.replace('_', '-')} must be at least 1, got {value}")
    interval, timeout = arguments.checkpoint_seconds, arguments.trial_timeout
    if not 0 <= interval < math.inf:
        raise OptionError(f"--checkpoint-seconds must be a number of seconds, at least 0, got {interval:g}")
    if timeout is not None and not 0 < timeout < math.inf:
        raise OptionError(f"--trial-timeout must be a positive number of seconds, got {timeout:g}")
    if arguments.track is not None and not 0 < arguments.track < math.inf:
        raise OptionError(f"--track must be a positive share of the time of training, got {arguments.track:g}")
    return RunSettings(
        cpus_per_trial=arguments.cpus_per_trial,
        gpus_per_trial=_gpus_per_trial(arguments.gpus_per_trial),
        max_concurrent=arguments.max_concurrent,
        checkpoint_seconds=interval,
        trial_timeout=timeout,
        replicas=_replicas(arguments.replicas),
        cuda_graphs=not arguments.no_cuda_graphs,
        track=arguments.track,
        trackers=_trackers(arguments),
    )


def _check_places(arguments: argparse.Namespace) -> None:
    """Refuse folders and addresses that cannot be meant, which a run would notice late or not at all."""
    for name in ("results", "data_dir", "tensorboard"):
        value, option = getattr(arguments, name), f"--{name.replace('_', '-')}"
        if value is None:
            continue
        if not value or value.startswith("-"):
            raise OptionError(f"{option} {value!r} is not a folder")
        try:
            value.encode()
        except UnicodeEncodeError:
            raise OptionError(f"{option} {value!r} is not valid UTF-8") from None
        scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):/", value)
        if name == "results" and scheme:
            if scheme[1] not in STORES or "://" not in value:
                raise OptionError(f"{option} {value!r} is not a folder or a URI such as s3://BUCKET/FOLDER")
            continue
        try:
            folder = Path(value).expanduser()
        except RuntimeError:
            raise OptionError(f"{option} {value!r}: there is no such user") from None
        if folder.exists() and not folder.is_dir():
            raise OptionError(f"{option} {value!r} is a file, not a folder")
    address = arguments.address
    if address is not None and address not in ("auto", "local") and not re.fullmatch(r".+:\d{1,5}", address):
        raise OptionError(f"--address {address!r} is not auto or HOST:PORT")


def _gpus_per_trial(text: str) -> float | None:
    if text == "auto":
        return None
    try:
        fraction = float(text)
    except ValueError:
        fraction = math.nan
    if not 0 <= fraction <= 1:
        raise OptionError(f"--gpus-per-trial {text!r} is not auto or a fraction in [0, 1]")
    return fraction


def _replicas(text: str) -> int | None:
    if text == "auto":
        return None
    if not (text.isdecimal() and len(text) <= 9 and int(text) >= 1):
        raise OptionError(f"--replicas {text[:40]!r} is not auto or a whole number, at least 1")
    return int(text)


def _trackers(arguments: argparse.Namespace) -> dict[str, str]:
    trackers = {name: getattr(arguments, name) for name in TRACKER_PACKAGES if getattr(arguments, name) is not None}
    for name, value in trackers.items():
        if not value:
            raise OptionError(f"--{name} needs a value; leave the option out to do without {name}")
        try:
            password = "://" in value and urlsplit(value).password
        except ValueError as error:
            raise OptionError(f"--{name} {value!r} is not a URI: {error}") from None
        if password:
            raise OptionError(
                f"--{name}: no password in the URI, commands are stored; use {name}'s environment variables"
            )
        if importlib.util.find_spec(TRACKER_PACKAGES[name]) is None:
            raise OptionError(f"--{name} needs a package that is not installed: pip install -e '.[{name}]'")
    return trackers


def _select(pairs: Sequence[str]) -> dict[str, tuple[str, ...]]:
    select: dict[str, tuple[str, ...]] = {}
    for pair in pairs:
        key, equals, values = pair.partition("=")
        if not (key and equals and values):
            raise GridError(f"--select {pair!r} is not KEY=VALUE[,VALUE]; for example batch_size=64,128")
        select[key] = (*select.get(key, ()), *values.split(","))
    return select


def _seeds(text: str | None) -> tuple[int, ...] | None:
    """Seeds such as 0,1,5 or 0-4 or 0-2,7."""
    if text is None:
        return None
    seeds: list[int] = []
    try:
        for part in text.split(","):
            start, dash, end = part.partition("-")
            first, last = (int(start), int(end)) if dash and start else (int(part), int(part))
            if last < first:
                raise GridError(f"--seeds {text[:40]!r} is reversed: give {last}-{first}")
            if last - first >= MOST_SEEDS:
                raise GridError(f"--seeds {text[:40]!r} is more than {MOST_SEEDS:,} seeds")
            seeds.extend(range(first, last + 1))
    except GridError:
        raise
    except ValueError:
        raise GridError(f"--seeds {text[:40]!r} is not a list of whole numbers such as 0,1,5 or 0-4") from None
    return tuple(dict.fromkeys(seeds))


def _epsilons(text: str | None) -> tuple[float, ...] | None:
    """Epsilons such as .1,8/255 or 1/255-8/255."""
    if text is None:
        return None
    epsilons: list[float] = []
    try:
        for part in text.split(","):
            fraction = re.fullmatch(r"(\d{1,9})/(\d{1,9})(?:-(\d{1,9})/\2)?", part.strip())
            first, last = (int(fraction[1]), int(fraction[3] or fraction[1])) if fraction else (0, 0)
            if not 0 <= last - first < MOST_EPSILONS:
                raise ValueError
            few = [k / int(fraction[2]) for k in range(first, last + 1)] if fraction else [float(part)]
            epsilons.extend(few)
    except (ValueError, ZeroDivisionError):
        raise GridError(
            f"--epsilons {text[:40]!r} is not a list of numbers such as 0.1,0.3 or 8/255 or 1/255-8/255"
        ) from None
    return tuple(dict.fromkeys(epsilons))


class _Parser(argparse.ArgumentParser):
    """Prints errors as one line, with the closest valid word; argparse would print its usage before it."""

    def error(self, message: str) -> NoReturn:
        unknown = re.match(r"unrecognized arguments: ([^\s=]+)", message)
        choice = re.match(r"argument (\S+): invalid choice: '(.*?)'", message)
        if unknown and unknown[1] in GRIDS:
            message += f"; did you mean --grid {unknown[1]}?"
        elif unknown:
            message += did_you_mean(unknown[1], self._option_string_actions)
        elif choice and "did you mean" not in message:  # Python 3.14 says it itself
            message += did_you_mean(choice[2], self._option_string_actions[choice[1]].choices or ())
        self.exit(2, f"study.run: {message[:1000]}\n")
