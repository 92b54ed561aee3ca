"""The documentation names only what exists: links, headings, files and commands."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
PROSE = [page for page in PAGES if not page.name.startswith("your_own_") and page.name != "CHANGELOG.md"]
"""Pages about files that are there; the others name files that a reader adds, or that were removed."""

LINK = re.compile(r"\]\(([^)\s]+)\)")
FILE = re.compile(r"`((?:study|search_spaces|analysis|tests|benchmarks|docs|cluster)/[\w./*-]*)`")
MODULE = re.compile(r"python -m ((?:study|analysis|benchmarks)[\w.]*)")


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to a page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{link}: no such file"
        assert not anchor or anchor in anchors(target), f"{link}: no such heading"


@pytest.mark.parametrize("page", PROSE, ids=lambda page: str(page.relative_to(ROOT)))
def test_named_files_and_commands_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for name in FILE.findall(text):
        assert list(ROOT.glob(name.rstrip("/"))), f"{name}: no such file"
    for name in MODULE.findall(text):
        assert importlib.util.find_spec(name.rstrip(".")), f"python -m {name}: no such module"
