"""Vega's JavaScript is bundled once a machine, and again if the cached copy is damaged."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis.output.page.libraries import libraries

SCRIPT = "let λ = 1;\r\n"


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The Vega-Lite version of each call that bundled the script."""
    calls: list[str] = []

    def bundle(snippet: str, *, vl_version: str) -> str:
        calls.append(vl_version)
        return SCRIPT

    monkeypatch.setattr("vl_convert.javascript_bundle", bundle)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return calls


def cached(tmp_path: Path) -> Path:
    (file,) = (tmp_path / "cache").rglob("*.js")
    return file


def test_the_second_report_reads_what_the_first_cached(made: list[str], tmp_path: Path) -> None:
    assert [libraries(), libraries()] == [SCRIPT, SCRIPT]
    assert len(made) == 1
    assert [file for file in (tmp_path / "cache").rglob("*") if file.is_file()] == [cached(tmp_path)]


@pytest.mark.parametrize("damage", [b"", b"\xff", b"no digest", b"0" * 64 + b"\nlet other = 1;"])
def test_a_damaged_copy_is_bundled_again(made: list[str], tmp_path: Path, damage: bytes) -> None:
    libraries()
    whole = cached(tmp_path).read_bytes()
    cached(tmp_path).write_bytes(damage)
    assert libraries() == SCRIPT
    assert len(made) == 2
    assert cached(tmp_path).read_bytes() == whole


def test_a_truncated_copy_is_bundled_again(made: list[str], tmp_path: Path) -> None:
    libraries()
    cached(tmp_path).write_bytes(cached(tmp_path).read_bytes()[:-1])
    assert libraries() == SCRIPT
    assert len(made) == 2


def test_without_a_cache_folder_it_is_bundled_each_time(made: list[str], tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file, not a folder")
    assert [libraries(), libraries()] == [SCRIPT, SCRIPT]
    assert len(made) == 2
