"""Vega's JavaScript is put together once a machine, and again whenever the copy is not what was written."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis.output.page.libraries import libraries

SCRIPT = "let λ = 1;\r\n"


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One entry for each time that the script was put together."""
    calls: list[str] = []

    def bundle(snippet: str, *, vl_version: str) -> str:
        calls.append(vl_version)
        return SCRIPT

    monkeypatch.setattr("vl_convert.javascript_bundle", bundle)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return calls


def kept(tmp_path: Path) -> Path:
    (file,) = (tmp_path / "cache").rglob("*.js")
    return file


def test_the_second_report_reads_what_the_first_kept(made: list[str], tmp_path: Path) -> None:
    assert [libraries(), libraries()] == [SCRIPT, SCRIPT]
    assert len(made) == 1
    assert [file for file in (tmp_path / "cache").rglob("*") if file.is_file()] == [kept(tmp_path)]


@pytest.mark.parametrize("damage", [b"", b"\xff", b"no digest", b"0" * 64 + b"\nlet other = 1;"])
def test_a_damaged_copy_is_made_anew(made: list[str], tmp_path: Path, damage: bytes) -> None:
    libraries()
    whole = kept(tmp_path).read_bytes()
    kept(tmp_path).write_bytes(damage)
    assert libraries() == SCRIPT
    assert len(made) == 2
    assert kept(tmp_path).read_bytes() == whole


def test_a_torn_copy_is_made_anew(made: list[str], tmp_path: Path) -> None:
    libraries()
    kept(tmp_path).write_bytes(kept(tmp_path).read_bytes()[:-1])
    assert libraries() == SCRIPT
    assert len(made) == 2


def test_without_a_folder_to_keep_it_in_it_is_made_each_time(made: list[str], tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file, no folder")
    assert [libraries(), libraries()] == [SCRIPT, SCRIPT]
    assert len(made) == 2
