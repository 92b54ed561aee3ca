"""A driver of its own: a script in another process, with this checkout's modules."""

import os
import subprocess
import sys
from pathlib import Path


def run_script(script: str, argument: str, *, seconds: float) -> subprocess.CompletedProcess[str]:
    """Run Python code with one argument; it must end well."""
    done = subprocess.run(
        [sys.executable, "-c", script, argument],
        capture_output=True, text=True, timeout=seconds, env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done
