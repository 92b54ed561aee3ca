"""Where a row comes from: the code, the packages and the machine that made it."""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("torch", "torchvision", "ray", "numpy", "scipy", "pandas", "pyarrow", "altair")


@cache
def git_sha() -> str | None:
    """The commit of this checkout, with "+dirty" when files differ from it; outside one $STUDY_COMMIT, or None."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return os.environ.get("STUDY_COMMIT")
    try:
        sha = _git(root, "rev-parse", "HEAD")
        return sha + ("+dirty" if _git(root, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=10).stdout.strip()


@cache
def versions() -> str:
    """JSON: package -> version, Python and the processor's architecture included."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return json.dumps(found)


def peak_memory_bytes() -> int:
    """The peak of this process's resident memory so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
