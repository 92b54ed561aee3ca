"""The tables of a paper in LaTeX, for \\input."""

from __future__ import annotations

from pathlib import Path, PurePath

from analysis.findings import Findings
from analysis.output.latex.longtable import document
from analysis.output.latex.tables import claims_table, counterexample_tables, published_tables


def provenance(findings: Findings) -> list[str]:
    """Where the numbers come from: results folder, number of networks, when they were trained, and the code's commits.

    Of a local folder only the name is given, since the source of a paper is public.
    """
    shown = " + ".join(one if "://" in one else PurePath(one).name for one in findings.table.locations)
    trials = findings.table.trials
    commits = sorted(str(sha) for sha in trials["git_sha"].dropna().unique())
    finished = trials["finished_at"].dropna()
    trained = f"; the last one finished on {str(finished.max())[:10]}" if len(finished) else ""
    return [
        f"Results: {shown}; {len(trials)} networks{trained}",
        f"Code: commit {', '.join(commits) or 'unknown'}; written on {findings.made_at:%Y-%m-%d}",
    ]


TABLES = ("claims.tex", "counterexamples.tex", "paper_versus_ours.tex")


def latex_tables(findings: Findings) -> dict[str, str]:
    """File name -> content, of `TABLES`.

    Each file needs the packages booktabs, longtable and array, and fits a text width of 6.5 inches. Text from rows
    never becomes a LaTeX command.
    """
    source = provenance(findings)
    contents = (
        document(source, [claims_table(findings.verdicts)]),
        document(source, counterexample_tables(findings.counterexamples.found)),
        document(source, published_tables(findings.comparisons)),
    )
    return dict(zip(TABLES, contents, strict=True))


def write_latex(findings: Findings, folder: Path) -> None:
    """Write `latex_tables` into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in latex_tables(findings).items():
        (folder / name).write_text(content, encoding="utf-8")
