"""The command that runs every group of benchmarks."""

import sys
from collections.abc import Iterator

import pytest

from benchmarks import __main__ as command
from benchmarks.row import Row


@pytest.mark.parametrize("error", [ImportError, AssertionError, SystemExit])
def test_a_group_that_fails_costs_no_other(
    error: type[BaseException], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def rows(group: str, data_dir: str | None) -> Iterator[Row]:
        if group == "attacks":
            raise error("planted")
        yield Row(group, "work", "", [1.0], [], "")

    monkeypatch.setattr(command, "group_rows", rows)
    monkeypatch.setattr(sys, "argv", ["benchmarks", "attacks", "curvature"])
    assert command.main() == 1
    printed = capsys.readouterr()
    assert printed.out.splitlines()[2].startswith("curvature") and "attacks" in printed.err


def test_the_gpu_group_reads_the_data_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("benchmarks.gpu.rows", lambda *, data_dir: iter([data_dir]))
    assert list(command.group_rows("gpu", "images")) == ["images"]  # type: ignore[comparison-overlap]
