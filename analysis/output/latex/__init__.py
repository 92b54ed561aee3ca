"""The tables of a paper in LaTeX, for \\input."""

from __future__ import annotations

from pathlib import Path, PurePath

from analysis.findings import Findings
from analysis.output.latex.claims import claims_table
from analysis.output.latex.counterexamples import counterexample_tables
from analysis.output.latex.longtable import document
from analysis.output.latex.published import absent_notes, published_tables


def provenance(findings: Findings) -> list[str]:
    """Where the numbers come from: the results folder, the code's commits, when it was trained, how many networks.

    Of a local folder only its name: a paper's source is public.
    """
    location = findings.table.location
    shown = location if "://" in location else PurePath(location).name
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

    Each needs the packages booktabs, longtable and array, fits a text width of 6.5 inches, and takes everything from
    rows as text, never as a command.
    """
    source = provenance(findings)
    published = published_tables(findings.comparisons)
    contents = (
        document(source, [claims_table(findings.verdicts)]),
        document(source, counterexample_tables(findings.counterexamples.found)),
        document(source, published, absent_notes(findings.comparisons)),
    )
    return dict(zip(TABLES, contents, strict=True))


def write_latex(findings: Findings, folder: Path) -> list[Path]:
    """Write `latex_tables` into `folder`; returns the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, content in latex_tables(findings).items():
        path = folder / name
        path.write_text(content, encoding="utf-8")
        paths.append(path)
    return paths
