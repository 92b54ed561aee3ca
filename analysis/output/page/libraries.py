"""Vega's JavaScript for the page, cached on this machine: bundling it takes 1.2 s of CPU, a tenth of a full report."""

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
    """Vega, Vega-Lite and vega-embed as one script; bundled if the cache has no intact copy of these versions."""
    cache = _cache_file()
    script = _read(cache) if cache else None
    if script is None:
        script = str(vl_convert.javascript_bundle(SNIPPET, vl_version=VEGA_LITE))
        if cache:
            _write(script, cache)
    return script


def _cache_file() -> Path | None:
    """Where the script is cached; None for a user without a home folder."""
    name = f"vega-lite-{VEGA_LITE}-vl-convert-{version('vl-convert-python')}.js"
    with suppress(RuntimeError):
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sgd-robustness-study" / name
    return None


def _read(file: Path) -> str | None:
    """The cached script; None if there is none or its digest is wrong."""
    try:
        digest, _, script = file.read_bytes().decode().partition("\n")
    except (OSError, UnicodeDecodeError):
        return None
    return script if digest == _digest(script) else None


def _write(script: str, file: Path) -> None:
    """Cache the script, whole or not at all; errors of the disk are ignored."""
    part = file.with_suffix(f".{os.getpid()}")
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(f"{_digest(script)}\n{script}".encode())
        part.replace(file)


def _digest(script: str) -> str:
    return hashlib.sha256(f"{SNIPPET}\n{script}".encode()).hexdigest()
