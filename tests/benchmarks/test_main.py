"""The command that runs every group of benchmarks."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import __main__ as command
from benchmarks.row import Row


@pytest.mark.parametrize("error", [ImportError, AssertionError, SystemExit])
def test_a_group_that_fails_costs_no_other_and_no_file(
    error: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rows(group: str, data_dir: str | None) -> Iterator[Row]:
        if group == "attacks":
            raise error("planted")
        yield Row(group, "work", "", [1.0], [], "")

    monkeypatch.setattr(command, "group_rows", rows)
    monkeypatch.setattr(sys, "argv", ["benchmarks", "attacks", "curvature", "--json", str(tmp_path / "rows.json")])
    assert command.main() == 1
    assert [row["what"] for row in json.loads((tmp_path / "rows.json").read_text())["rows"]] == ["curvature"]


def test_the_gpu_group_reads_the_data_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("benchmarks.gpu.rows", lambda *, data_dir: iter([data_dir]))
    assert list(command.group_rows("gpu", "images")) == ["images"]  # type: ignore[comparison-overlap]
