"""What the commands of the groups share: a choice of models, and the printed table."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Iterable

import torch

from benchmarks.row import HEADER, Row


def parser(description: str | None, models: Collection[str]) -> argparse.ArgumentParser:
    """A parser of `MODEL ...`, each one of `models`."""

    def model(name: str) -> str:
        if name not in models:
            raise argparse.ArgumentTypeError(f"unknown model {name}; choose of {', '.join(models)}")
        return name

    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("models", nargs="*", type=model, metavar="MODEL", help=f"of {', '.join(models)}; default all")
    return made


def print_rows(rows: Iterable[Row]) -> None:
    """Print each row as soon as it is measured."""
    torch.set_num_threads(1)  # a trial owns one CPU unless told otherwise
    print(HEADER)
    for row in rows:
        print(row, flush=True)
