"""The documentation names only what exists: links, headings, files and commands."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path

import pytest

from search_spaces import GRIDS, plan
from study import options

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


def test_the_index_names_every_page() -> None:
    index = set(LINK.findall((ROOT / "docs" / "README.md").read_text(encoding="utf-8")))
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert pages <= index


def commands() -> list[str]:
    """The commands of all pages that run a grid of ours, without those of a cluster's own tools around them."""
    found = []
    for page in PAGES:
        blocks = re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
        lines = re.sub(r"\\\n\s*", " ", "\n".join(blocks))
        for name, value in re.findall(r"^(\w+)=[\"'](.*)[\"']$", lines, re.MULTILINE):
            lines = lines.replace(f"${name}", value)
        found += re.findall(r"python -m study\.run ([^\n#&']*)", lines)
    return sorted({command.strip() for command in found})


@pytest.mark.parametrize("command", commands())
def test_commands_are_accepted(command: str) -> None:
    arguments = options.parser().parse_args(shlex.split(command))
    if arguments.list or arguments.grid not in GRIDS:  # the latter is a grid that a reader adds
        return
    options.run_settings(arguments)
    assert plan(options.request(arguments))
