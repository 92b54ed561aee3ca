"""Vega's JavaScript for the page, kept on this machine: putting it together takes seconds."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import vl_convert

from analysis.output.export import VEGA_LITE

SNIPPET = "window.vegaEmbed = vegaEmbed;"


def libraries() -> str:
    """Vega, Vega-Lite and vega-embed as one script; made anew where no whole copy of it is kept."""
    kept = _file()
    script = _read(kept) if kept else None
    if script is None:
        script = str(vl_convert.javascript_bundle(SNIPPET, vl_version=VEGA_LITE))
        if kept:
            _keep(script, kept)
    return script


def _file() -> Path | None:
    with suppress(RuntimeError):  # nobody's process: no home
        folder = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        name = f"vega-lite-{VEGA_LITE}-vl-convert-{version('vl-convert-python')}.js"
        return Path(folder) / "sgd-robustness-study" / name
    return None


def _read(kept: Path) -> str | None:
    """The script that was kept; None where there is none, or another one than was written."""
    try:
        digest, _, script = kept.read_bytes().decode().partition("\n")
    except (OSError, UnicodeDecodeError):
        return None
    return script if digest == _digest(script) else None


def _keep(script: str, kept: Path) -> None:
    """Write it at once, so that nobody reads a part; a folder that cannot be written to keeps none."""
    part = kept.with_suffix(f".{os.getpid()}")
    with suppress(OSError):
        kept.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(f"{_digest(script)}\n{script}".encode())
        part.replace(kept)


def _digest(script: str) -> str:
    return hashlib.sha256(f"{SNIPPET}\n{script}".encode()).hexdigest()
