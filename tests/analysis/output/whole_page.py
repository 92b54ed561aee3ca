"""A page with every template but that of the optimizers: papers A and C in one folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from analysis.findings import find
from analysis.output.page import render
from analysis.tables.table import load
from tests.analysis.large_batch import robust, to_the_loss, with_landscapes
from tests.analysis.synthetic import curve_rows, line
from tests.stored import results_in

OTHER_EPSILON = 8 / 255


def natural_rows() -> list[dict[str, Any]]:
    """Two curves of paper A at two epsilons; the largest batch of the benchmark diverged."""
    sizes = (16, 32, 64, 128, 256)
    rows = curve_rows(regime="lr", batch_sizes=sizes, fgsm=line(0.3, 0.1), log2_lambda1=line(1, 1), noise=0.002)
    rows += curve_rows(regime="benchmark", batch_sizes=sizes, diverged=(256,))
    for row in rows:
        row["attacks"] = row["attacks"] or []
        right = {"correct": 9_000, "accuracy": 0.9, "correct_bits": np.packbits(np.arange(10_000) < 9_000).tobytes()}
        row["attacks"] += [a | right | {"epsilon": OTHER_EPSILON} for a in row["attacks"]]
    return rows


def write_page(folder: Path) -> Path:
    """The page of `natural_rows` and of a few networks of paper C with their landscapes."""
    networks = to_the_loss(seeds=(1,), batch_sizes=(64, 256)) + robust(seeds=(0,), methods=("fgsm",))
    rows, arrays = with_landscapes(networks, points=7)
    results = results_in(folder / "results", [*natural_rows(), *rows], arrays=arrays)
    page = folder / "report.html"
    page.write_text(render(find(load(results.location)), ["claims.csv"]), encoding="utf-8")
    return page
