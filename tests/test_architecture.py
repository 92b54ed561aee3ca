"""The rooms import one way: the contracts in pyproject.toml hold."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_import_contracts_hold() -> None:
    code = "import sys; from importlinter.cli import lint_imports_command; sys.exit(lint_imports_command())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_no_file_is_longer_than_300_lines() -> None:
    rooms = ("study", "search_spaces", "analysis", "tests", "benchmarks")
    lengths = {p: len(p.read_text().splitlines()) for room in rooms for p in (ROOT / room).rglob("*.py")}
    assert {str(p): n for p, n in lengths.items() if n > 300} == {}


def test_reading_results_loads_neither_torch_nor_ray() -> None:
    code = "import sys, analysis.report, analysis.tables.table; print({'torch', 'ray'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
