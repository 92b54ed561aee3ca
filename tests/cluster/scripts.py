"""Python code run in a process of its own, with this checkout's modules: Ray can be started there from scratch."""

import os
import subprocess
import sys
from pathlib import Path


def run_script(
    script: str, *arguments: str, seconds: float = 280, status: int = 0, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run Python code with arguments and further environment variables; it must exit with `status`."""
    command = [sys.executable, "-c", script, *arguments]
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd()), **environment}
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, env=environment)
    assert done.returncode == status, done.stderr[-3000:]
    return done
