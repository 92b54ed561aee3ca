"""The LaTeX tables: sound LaTeX whatever the rows say, and the numbers of the report."""

from __future__ import annotations

import re
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from analysis.claims import CLAIMS
from analysis.findings import Findings, find
from analysis.output.latex import counterexample_tables, escape, latex_tables
from analysis.published.paper_versus_ours import compare
from analysis.published.printed_rows import PRINTED
from analysis.reports.counterexamples import counterexample_report
from analysis.tables.table import from_rows
from tests.analysis.large_batch import to_the_loss
from tests.analysis.synthetic import curve_rows, line

HOSTILE = "50% of a_b & {c} #1 $x$ ~^\\input{/etc/passwd} <λ₁> ε≥0.3 [b] 中 \n\\end{longtable} --x"
FINISHED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture(scope="module")
def findings() -> Findings:
    """A planted counterexample, a printed table of the papers, and a model whose name is hostile."""
    rising = curve_rows(batch_sizes=(16, 64, 256), fgsm=line(0.3, 0.05), log2_lambda1=line(2.0, 0.7))
    hostile = [
        row | {"model": HOSTILE, "trial_id": f"h{i}", "git_sha": "abc\n\\end", "finished_at": FINISHED}
        for i, row in enumerate(rising)
    ]
    return find(from_rows([*rising, *hostile, *to_the_loss()], location="home/\nnew %line"))


@pytest.fixture(scope="module")
def files(findings: Findings) -> dict[str, str]:
    return latex_tables(findings)


def body(content: str) -> str:
    """The file without its comments."""
    return "\n".join(line for line in content.splitlines() if not line.startswith("%"))


def columns(table: str) -> int:
    """How many columns the longtable declares."""
    (spec,) = re.findall(r"\\begin\{longtable\}\{(.*)\}$", table, flags=re.MULTILINE)
    plain = re.sub(r">\{[^{}]*\}|@\{\}|p\{[^{}]*\}", lambda m: "p" if m[0].startswith("p") else "", spec)
    assert set(plain) <= set("lrcp"), plain
    return len(plain)


def lines(table: str) -> list[list[str]]:
    """The cells of each line of the table's body, split at ampersands that are not escaped."""
    kept = table.split(r"\endlastfoot")[1].split(r"\end{longtable}")[0].strip().splitlines()
    assert all(one.endswith(r" \\") for one in kept)
    return [re.split(r"(?<!\\)&", one[: -len(r" \\")]) for one in kept]


def longtables(content: str) -> list[str]:
    return re.findall(r"\\begin\{longtable\}.*?\\end\{longtable\}", body(content), flags=re.DOTALL)


def test_environments_groups_and_mathematics_are_closed(files: dict[str, str]) -> None:
    for content in files.values():
        text = body(content)
        begun, ended = (re.findall(rf"\\{word}\{{(\w+)\}}", text) for word in ("begin", "end"))
        assert begun == ended
        assert text.count(r"\begingroup") == text.count(r"\endgroup") == len(begun) > 0
        plain = re.sub(r"\\.", "", text.replace("\\\\", ""))
        assert plain.count("{") == plain.count("}")
        assert all(one.count("$") % 2 == 0 for one in plain.splitlines())


def test_every_line_has_as_many_cells_as_the_table_has_columns(files: dict[str, str]) -> None:
    tables = [table for content in files.values() for table in longtables(content)]
    assert len(tables) >= 4
    for table in tables:
        assert lines(table)
        assert {len(cells) for cells in lines(table)} == {columns(table)}


def test_nothing_from_a_row_is_a_command(files: dict[str, str]) -> None:
    for content in files.values():
        text = body(content)
        assert "%" not in re.sub(r"\\%", "", text)
        assert r"\input" not in text
        assert not re.search(r"(?<!\\)[#~]", text)
        assert not re.search(r"(?<!\\)[_^]", re.sub(r"(?<!\\)\$.*?(?<!\\)\$", "", text))
        assert all(ord(sign) < 0x180 for sign in text)
    assert escape(HOSTILE) in files["counterexamples.tex"]


def test_each_table_has_a_caption_and_its_own_label(files: dict[str, str]) -> None:
    labels = [label for content in files.values() for label in re.findall(r"\\label\{([^}]*)\}", content)]
    assert len(labels) == len(set(labels)) == sum(len(longtables(content)) for content in files.values())
    assert {"tab:claims", "tab:counterexamples-training-sharper", "tab:yao-t7-m1-test"} <= set(labels)
    assert all(re.search(r"\\caption\{.+\} \\label", table) for c in files.values() for table in longtables(c))


def test_the_head_says_where_the_numbers_come_from(files: dict[str, str], findings: Findings) -> None:
    for content in files.values():
        head = [one for one in content.splitlines() if one.startswith("%")]
        assert head[0] == f"% Results: new %line; {len(findings.table.trials)} networks; the last one " + (
            "finished on 2026-01-02"
        )
        assert head[1].startswith("% Code: commit abc \\end; written on 20")
        assert "booktabs" in head[2]


def test_claims_are_those_of_the_report(files: dict[str, str], findings: Findings) -> None:
    (table,) = longtables(files["claims.tex"])
    shown = {cells[0].strip() for cells in lines(table)} - {""}
    unrun = re.findall(r"Not run: ([^.]*)\.", files["claims.tex"])[0].split(", ")
    assert shown | set(unrun) == set(CLAIMS)
    assert shown == {v.claim for v in findings.verdicts if v.verdict != "not run"}


def test_counterexamples_are_the_confirmed_ones_strongest_first(files: dict[str, str], findings: Findings) -> None:
    found = findings.counterexamples.found
    mine = found[(found["label"] == "confirmed") & (found["curvature"] == "lambda1_train")]
    mine = mine[mine["direction"] == "sharper, yet more robust"].sort_values("severity", ascending=False, kind="stable")
    table = longtables(files["counterexamples.tex"])[0]
    batches = [cells[7].strip() for cells in lines(table)]
    assert len(batches) > 2
    assert batches == [rf"{i} $\to$ {j}" for i, j in zip(mine["batch_i"], mine["batch_j"], strict=True)]
    first, cells = mine.iloc[0], lines(table)[0]
    mean, low, high = map(float, re.findall(r"[\d.]+", cells[9]))
    assert mean == pytest.approx(100 * first["accuracy_i"], abs=0.05)
    assert (low, high) == pytest.approx((100 * first["accuracy_low_i"], 100 * first["accuracy_high_i"]), abs=0.05)


def test_without_a_confirmed_pair_the_table_says_so() -> None:
    report = counterexample_report(from_rows(curve_rows(batch_sizes=(16, 64), seeds=(0,))))
    (table,) = counterexample_tables(report.found)
    assert "None." in table
    assert table.count(r"\label") == 1


def test_printed_numbers_stand_beside_ours(files: dict[str, str], findings: Findings) -> None:
    printed = next(t for t in PRINTED if (t.table, t.printed_model) == ("Yao-T7", "M1"))
    cells = compare(findings.table, printed, "m1").cells
    first = cells[(cells["split"] == "test") & (cells["metric"] == "clean_acc")].iloc[0]
    tables = longtables(files["paper_versus_ours.tex"])
    label, quantity, paper, ours, limits, seeds, verdict = lines(next(t for t in tables if "yao-t7-m1-test" in t))[0]
    assert (label.strip(), quantity.strip(), seeds.strip()) == (first["row"], r"Clean accuracy, \%", "3")
    assert (first["paper"], first["rounding"], paper.strip()) == (99.21, 0.005, "99.21")  # as printed
    assert float(ours) == pytest.approx(first["ours"], abs=0.005)
    assert limits.strip() == f"{{[}}{first['low']:.2f}, {first['high']:.2f}{{]}}"
    assert verdict.strip() == first["verdict"]
    eigenvalue = cells[(cells["split"] == "train") & (cells["metric"] == "lambda1_theta")].iloc[0]
    train = lines(next(t for t in tables if "yao-t7-m1-train" in t))
    row = next(one for one in train if one[1].strip() == "$\\lambda$$_1$")
    assert (row[2].strip(), float(row[3])) == ("0.49", pytest.approx(eigenvalue["ours"], rel=5e-3))


@pytest.mark.parametrize(
    ("text", "latex"),
    [
        ("a_b & 5%", r"a\_b \& 5\%"),
        ("λ₁ at ε", r"$\lambda$$_1$ at $\varepsilon$"),
        ("\\~^", r"\textbackslash{}\textasciitilde{}\textasciicircum{}"),
        ("é 中", "é ?"),
        ("--grid\nx", "-{}-grid x"),
        ("[1]", "{[}1{]}"),
    ],
)
def test_text_is_printed_as_it_is(text: str, latex: str) -> None:
    assert escape(text) == latex


ENGINE = shutil.which("tectonic") or shutil.which("pdflatex")


@pytest.mark.skipif(ENGINE is None, reason="no LaTeX on this machine")
def test_latex_accepts_them(files: dict[str, str], tmp_path: Path) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    inputs = "\n".join(rf"\input{{{name}}}" for name in files)
    packages = r"\usepackage[margin=1in]{geometry}\usepackage{booktabs,longtable,array}\usepackage[T1]{fontenc}"
    preamble = r"\documentclass{article}" + packages
    text = f"{preamble}\n\\begin{{document}}\n{inputs}\n\\end{{document}}\n"
    (tmp_path / "paper.tex").write_text(text, encoding="utf-8")
    flags = [] if "tectonic" in str(ENGINE) else ["-halt-on-error", "-interaction=nonstopmode"]
    done = subprocess.run([str(ENGINE), *flags, "paper.tex"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
