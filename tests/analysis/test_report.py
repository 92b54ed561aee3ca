"""The report's command line: its files, and one clear line if no report can be made."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from analysis.report import main, write_report
from tests.analysis.synthetic import curve_rows
from tests.commands import refused
from tests.stored import results_in


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study") / "results"
    results_in(folder, curve_rows(batch_sizes=(16, 64), seeds=(0, 1)))
    assert main([str(folder), "--formats", "png,svg,pdf"]) == 0
    return folder / "report"


def test_each_figure_is_written_in_each_format(reported: Path) -> None:
    files = sorted((reported / "figures").iterdir())
    names = {file.stem for file in files}
    assert len(files) == 3 * len(names)
    starts = {".png": b"\x89PNG", ".svg": b"<svg", ".pdf": b"%PDF"}
    assert all(file.read_bytes().startswith(starts[file.suffix]) for file in files)


def test_two_reports_of_the_same_rows_are_equal(tmp_path: Path) -> None:
    folder = tmp_path / "results"
    results_in(folder, curve_rows(batch_sizes=(16, 64, 256)))
    one, two = (write_report(folder, tmp_path / name)[0].parent for name in ("one", "two"))
    names = {file.relative_to(one) for file in one.rglob("*.*")}
    assert names == {file.relative_to(two) for file in two.rglob("*.*")}
    assert not (folder / "report").exists()
    for name in names:
        written = [re.sub(rb"20..-..-.. ..:.. UTC", b"", (report / name).read_bytes()) for report in (one, two)]
        assert written[0] == written[1], name


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "holds no results"),
        (["empty"], "no trial"),
        (["foreign"], "incomplete or damaged"),
        (["good", "--formats", "png,gif"], "unknown format gif; valid formats: png, svg, pdf"),
        (["good", "--out", "file/report"], "another folder with --out"),
    ],
)
def test_what_cannot_be_reported_gets_one_clear_line(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    results_in(tmp_path / "empty")
    results_in(tmp_path / "foreign")
    (tmp_path / "foreign" / "trials" / "x.parquet").write_bytes(b"not parquet")
    results_in(tmp_path / "good", curve_rows(batch_sizes=(16,), seeds=(0,)))
    (tmp_path / "file").write_text("in the way")
    refused(capsys, main, arguments, said)


def test_the_module_runs_without_torch_or_ray(tmp_path: Path) -> None:
    folder = results_in(tmp_path / "results").location
    code = (
        "import sys; from analysis.report import main; status = main([sys.argv[1]]); "
        "assert not {'torch', 'ray'} & set(sys.modules); sys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: no trial of")
